"""What an epoch of a whole run costs beside its steps alone: evaluation, checkpoints, logging."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence

import jaxopt_bench
from experiments.speed.inputs.workloads import classification, noise, task_on_images, workload_of
from experiments.speed.jax_side.training import Trainer
from experiments.speed.measure.timing import Spread
from experiments.speed.output.document import Row
from experiments.speed.sections.bench import Bench, describe
from jaxopt_bench import Experiment, catalog
from jaxopt_bench.runs import Options, Reporter
from jaxopt_bench.runs.records import Record
from jaxopt_bench.training import Task, choose_code_path


class EpochMarks(Reporter):
    """Notes when each epoch's metrics were written."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def measured(self, records: Sequence[Record]) -> None:
        """Notes the time where the lines are an epoch's."""
        if records and records[0]["split"] == "train":
            self.ends.append(time.perf_counter())


def rows(bench: Bench, experiments: tuple[str, ...], epochs: int, turns: int) -> Iterator[Row]:
    """Yields a row for each experiment: whole runs and bare steps by turns.

    The first epoch of a run, in which everything is compiled, does not count.
    """
    for name in experiments:
        found = catalog.find(name)
        experiment = found.replace(epochs=epochs)
        runs, bare = [], []
        for _ in range(turns):
            runs.append(_whole_run(experiment, bench))
            bare += bare_epochs(runs[-1].task, epochs - 1)
        yield _row(experiment, runs, bare, bench)


@dataclasses.dataclass(frozen=True)
class WholeRun:
    """What a run took.

    Attributes:
      task: what was trained.
      epochs: seconds of each epoch after the first.
      evaluation: of each, those in which the host waited for evaluations.
    """

    task: Task
    epochs: list[float]
    evaluation: list[float]


def _whole_run(experiment: Experiment, bench: Bench) -> WholeRun:
    with tempfile.TemporaryDirectory() as runs:
        marks = EpochMarks()
        run = jaxopt_bench.train(experiment, Options(runs_dir=runs, data_dir=bench.data_dir, reporter=marks))
    evaluation = [
        sum(r["seconds"] for r in run.metrics if r["epoch"] == epoch and r["split"] not in ("train", "train_steps"))
        for epoch in range(2, experiment.workload.epochs)  # not the last, at whose end the test split is read as well
    ]
    task = task_on_images(experiment, run.config["task"]["train_examples"])
    return WholeRun(task, [end - begin for begin, end in itertools.pairwise(marks.ends)], evaluation)


def _row(experiment: Experiment, runs: list[WholeRun], bare: list[float], bench: Bench) -> Row:
    whole = Spread.of([seconds for run in runs for seconds in run.epochs])
    evaluation = Spread.of([seconds for run in runs for seconds in run.evaluation])
    steps = Spread.of(bare)
    return {
        **describe("epoch", workload_of(experiment), classification(experiment).dtype, choose_code_path(), bench),
        "epochs": len(bare),
        "steps_per_epoch": runs[0].task.steps_per_epoch,
        **whole.fields("seconds_per_epoch"),
        **steps.fields("pure_seconds_per_epoch"),
        "epoch_over_pure": whole.median / steps.median,
        **evaluation.fields("evaluation_seconds"),
        "rest_seconds": whole.median - steps.median - evaluation.median,  # logging, checkpoints; and noise
    }


def bare_epochs(task: Task, count: int) -> list[float]:
    """Returns the seconds of as many steps as an epoch has, with nothing done between them."""
    trainer = Trainer(task, noise(task), choose_code_path())
    trainer.run(task.steps_per_epoch)
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        trainer.run(task.steps_per_epoch)
        seconds.append(time.perf_counter() - began)
    return seconds
