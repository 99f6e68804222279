"""Measures the time to 96% on CIFAR-10 with plain ResNet-18: `python -m experiments.speed.record --data-dir DIR`.

It trains `cifar10_resnet18_sgd_record` with 10 seeds as one population, and reports their accuracies and the time of
one seed. With `--predict` it trains nothing: it reports a lower bound of the time of a step on known chips, and how
close this machine comes to its bound.
"""

from __future__ import annotations

import dataclasses
import pathlib
import statistics
import time
from typing import Literal

import jax
import tyro
from rich.table import Table

from experiments.speed.inputs.workloads import Dtype, classification, noise, task_on_images
from experiments.speed.jax_side.networks import forward_jaxpr
from experiments.speed.jax_side.training import Trainer
from experiments.speed.measure import roofline
from experiments.speed.measure.flops import products, training_flops
from experiments.speed.measure.timing import Plan, Spread, alternate
from experiments.speed.output.document import Document, Row, default_path
from experiments.speed.output.tables import console
from jaxopt_bench import Experiment, UserError, catalog, train_population
from jaxopt_bench.formatting import format_value
from jaxopt_bench.models import count_parameters
from jaxopt_bench.runs import Options, Recording
from jaxopt_bench.statistics import estimate
from jaxopt_bench.training import Task, abstract_states, choose_code_path

AIM = 0.96
TRAIN_EXAMPLES = 50_000
NUMBER_BYTES = {"float32": 4, "bfloat16": 2}


@dataclasses.dataclass(frozen=True)
class Flags:
    """Measure the record, or predict it."""

    experiment: str = "cifar10_resnet18_sgd_record"
    """The experiment to train."""
    seeds: int = 10
    """The number of seeds."""
    epochs: int | None = None
    """The number of epochs, in place of the experiment's own number."""
    members: Literal["map", "vmap"] = "map"
    """Whether the program computes the seeds one after the other (map) or together (vmap)."""
    predict: bool = False
    """Predict the time, and train nothing."""
    data_dir: pathlib.Path | None = None
    """Folder of TFDS data sets."""
    runs_dir: pathlib.Path = pathlib.Path("runs/record")
    """Folder of run directories. Existing runs are not trained again."""
    out: pathlib.Path | None = None
    """The JSON document; by default experiments/speed/results/<hardware>-record.json, or -prediction.json."""


def main() -> None:
    """Runs the measurement or the prediction that the command line requests."""
    flags = tyro.cli(Flags, prog="python -m experiments.speed.record")
    experiment = catalog.find(flags.experiment)
    if flags.epochs:
        experiment = experiment.replace(epochs=flags.epochs)
    written = Document.begin("experiments.speed.record")
    if flags.predict:
        written.rows += predicted(experiment)
        show(
            written.rows,
            "chip",
            "dtype",
            "source",
            "step_milliseconds",
            "epoch_seconds",
            "training_seconds",
            "attained",
        )
    else:
        written.rows.append(measured(experiment, flags))
        show(written.rows, "seeds", "accuracy", "accuracy_interval", "reached", "seconds", "training_seconds")
    name = "prediction" if flags.predict else "record"
    out = flags.out or default_path(written.hardware["name"], [name])
    written.write(out)
    print(f"written to {out}")


def predicted(experiment: Experiment) -> list[Row]:
    """Returns a row for each chip, and a row for this machine with its measured rates.

    On a CPU the rates are measured in float32, because a CPU has no products in bfloat16.
    """
    rows = [_bound(_task(experiment), chip) for chip in roofline.CHIPS]
    on_cpu = jax.default_backend() == "cpu"
    problem = classification(experiment)
    dtype: Dtype = "float32" if on_cpu else problem.dtype
    here_only = experiment.replace(problem=dataclasses.replace(problem, dtype=dtype))
    here = _bound(_task(here_only), roofline.this_chip(dtype))
    small = task_on_images(here_only, 4 * experiment.workload.batch_size)
    trainer = Trainer(small, noise(small), choose_code_path())
    timing = alternate({"ours": trainer}, Plan(rounds=5, block_seconds=2.0))["ours"]
    attained = Spread.of([here["step_milliseconds"] / (1e3 * seconds) for seconds in timing.seconds])
    return [*rows, {**here, "path": choose_code_path().layers, **attained.fields("attained")}]


def _bound(task: Task, chip: roofline.Chip) -> Row:
    experiment, forward = task.experiment, forward_jaxpr(task)
    dtype = classification(experiment).dtype
    parameters = count_parameters(abstract_states(task).params)
    seconds = roofline.least_seconds(products(forward), parameters, NUMBER_BYTES[dtype], chip)
    return {
        "section": "prediction",
        "experiment": experiment.name,
        "dtype": dtype,
        "batch_size": experiment.workload.batch_size,
        "chip": chip.name,
        "source": chip.source,
        "flops_per_second": chip.flops,
        "bytes_per_second": chip.bandwidth,
        "step_flops": training_flops(forward),
        "step_milliseconds": 1e3 * seconds,
        "epoch_seconds": seconds * task.steps_per_epoch,
        "training_seconds": seconds * task.steps,
    }


def _task(experiment: Experiment) -> Task:
    return task_on_images(experiment, TRAIN_EXAMPLES, choose_code_path())


def measured(experiment: Experiment, flags: Flags) -> Row:
    """Trains the seeds and returns their accuracies and times."""
    path = dataclasses.replace(choose_code_path(), members=flags.members)
    began = time.perf_counter()
    runs = train_population(
        [dataclasses.replace(experiment, seed=seed) for seed in range(flags.seeds)],
        Options(
            runs_dir=flags.runs_dir,
            data_dir=flags.data_dir,
            recording=Recording(log_every=10**6, keep_checkpoints=1, tensorboard=False),
            code_path=path,
        ),
    )
    wall = time.perf_counter() - began
    ended = [run.summary for run in runs if run.summary and run.summary["status"] == "completed"]
    if not ended:
        raise UserError(f"all {flags.seeds} runs diverged. Expected: settings with which one does not.")
    accuracies = [summary["final"]["test_accuracy"] for summary in ended]
    found = estimate(accuracies, least=0.0, greatest=1.0)
    training = [summary["steps"] * experiment.workload.batch_size / summary["examples_per_second"] for summary in ended]
    return {
        "section": "record",
        "experiment": experiment.name,
        "epochs": experiment.workload.epochs,
        "batch_size": experiment.workload.batch_size,
        "path": path.to_json(),
        "seeds": flags.seeds,
        "accuracies": accuracies,
        "accuracy": found.mean,
        "accuracy_interval": None if found.interval is None else list(found.interval),
        "diverged": flags.seeds - len(ended),
        "reached": sum(accuracy >= AIM for accuracy in accuracies),
        "wall_seconds": wall,
        "seconds": statistics.fmean(summary["seconds"] for summary in ended),
        "training_seconds": statistics.fmean(training),
    }


def show(rows: list[Row], *fields: str) -> None:
    """Prints some fields of rows as a table."""
    table = Table(*(field.replace("_", " ") for field in fields), box=None)
    for row in rows:
        values = (row.get(field) for field in fields)
        table.add_row(*("" if value is None else format_value(value) for value in values))
    console().print(table)


if __name__ == "__main__":
    main()
