"""The cost of an epoch of a complete run, compared with its steps alone: evaluation, checkpoints, logging."""

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
from jaxopt_bench.runs.records import MetricsLine
from jaxopt_bench.training import Task, choose_code_path


class EpochMarks(Reporter):
    """Records the times at which the metrics of each epoch were written."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def report_metrics(self, records: Sequence[MetricsLine]) -> None:
        """Records the time if the lines belong to an epoch."""
        if records and records[0]["split"] == "train":
            self.ends.append(time.perf_counter())


def rows(bench: Bench, experiments: tuple[str, ...], epochs: int, turns: int) -> Iterator[Row]:
    """Yields a row for each experiment. Complete runs and bare steps alternate.

    The first epoch of a run does not count, because it includes the compilation.
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
    """The measured times of a run.

    Attributes:
      task: the training task.
      epochs: the seconds of each epoch after the first.
      evaluation: the seconds of each epoch in which the host waited for evaluations.
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
        for epoch in range(2, experiment.workload.epochs)  # without the last one, which also reads the test split
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
    """Returns the seconds of epochs that consist only of steps."""
    trainer = Trainer(task, noise(task), choose_code_path())
    trainer.run(task.steps_per_epoch)
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        trainer.run(task.steps_per_epoch)
        seconds.append(time.perf_counter() - began)
    return seconds
