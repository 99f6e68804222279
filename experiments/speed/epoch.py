"""What an epoch of a whole run costs beside its steps alone: evaluation, checkpoints, logging."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jaxopt_bench
from experiments.speed import jax_side
from experiments.speed.bench import Bench, describe
from experiments.speed.document import Row
from experiments.speed.timing import Spread
from experiments.speed.workloads import Workload, noise
from jaxopt_bench import Experiment, catalog
from jaxopt_bench.models import MODELS
from jaxopt_bench.optimizers import OPTIMIZERS
from jaxopt_bench.runs.progress import Reporter
from jaxopt_bench.training import CodePath, Task


class EpochMarks(Reporter):
    """Notes when each epoch's metrics were written."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def measured(self, records: Sequence[dict[str, Any]]) -> None:
        """Notes the time where the lines are an epoch's."""
        if records and records[0]["split"] == "train":
            self.ends.append(time.perf_counter())


def rows(bench: Bench, experiments: tuple[str, ...], epochs: int) -> Iterator[Row]:
    """Yields a row for each experiment; the first epoch, in which everything is compiled, does not count."""
    for name in experiments:
        experiment = dataclasses.replace(catalog.find(name), epochs=epochs)
        with tempfile.TemporaryDirectory() as runs:
            marks = EpochMarks()
            run = jaxopt_bench.train(experiment, runs_dir=runs, data_dir=bench.data_dir, reporter=marks)
            yield _row(experiment, run.task, run.metrics, marks.ends, bench)


def _row(experiment: Experiment, task: Task, metrics: list[dict[str, Any]], ends: list[float], bench: Bench) -> Row:
    whole = [end - begin for begin, end in itertools.pairwise(ends)]
    steps = [r["seconds"] for r in metrics if r["split"] == "train"][1:]
    evaluation = [
        sum(r["seconds"] for r in metrics if r["epoch"] == epoch and r["split"] not in ("train", "train_steps"))
        for epoch in range(2, len(ends) + 1)
    ]
    rest = [w - s - e for w, s, e in zip(whole, steps, evaluation, strict=True)]
    path = jax_side.default_path()
    pure = _pure_epochs(task, path, len(whole))
    return {
        **describe("epoch", _workload(experiment), experiment.dtype, path, bench),
        "epochs": len(whole),
        "steps_per_epoch": task.steps_per_epoch,
        **Spread.of(whole).fields("seconds_per_epoch"),
        **Spread.of(pure).fields("pure_seconds_per_epoch"),
        "epoch_over_pure": Spread.of(whole).median / Spread.of(pure).median,
        "steps_seconds": Spread.of(steps).median,
        "evaluation_seconds": Spread.of(evaluation).median,
        "rest_seconds": Spread.of(rest).median,
    }


def _pure_epochs(task: Task, path: CodePath, count: int) -> list[float]:
    """Returns the seconds of as many steps as an epoch has, with nothing done between them."""
    trainer = jax_side.Trainer(task, noise(task), path)
    trainer.run(1)
    trainer.run(task.steps_per_epoch - 1)
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        trainer.run(task.steps_per_epoch)
        seconds.append(time.perf_counter() - began)
    return seconds


def _workload(experiment: Experiment) -> Workload:
    network, optimizer = MODELS.name_of(experiment.model), OPTIMIZERS.name_of(experiment.optimizer)
    return Workload(network, optimizer, experiment.batch_size, experiment.name)
