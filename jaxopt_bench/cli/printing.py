"""What several commands print: a table of names, a run's result, a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
from rich import box
from rich.console import Console
from rich.table import Table

from jaxopt_bench import data, prng
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.models import parameter_overview
from jaxopt_bench.runs import SPLITS, Run, format_accuracy, format_duration, format_loss
from jaxopt_bench.training import default_backend


def names_table(title: str, *columns: str) -> Table:
    """Returns an empty table whose first column, the names, is never cut.

    Args:
      title: of the table, in the plural.
      *columns: their titles.
    """
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    table.add_column(columns[0], no_wrap=True, overflow="fold", min_width=32 if title == "experiments" else None)
    for column in columns[1:]:
        table.add_column(column)
    return table


def print_result(run: Run, console: Console) -> None:
    """Prints a run's results as a table, its cost, and its path."""
    summary = run.summary
    if summary is None:
        console.print(f"{run.experiment.name}: under way, or killed", markup=False, highlight=False)
    else:
        console.print(f"\n{summary['experiment']}: {summary['status']}", markup=False, highlight=False)
        if summary["status"] == "completed":
            console.print(_result_table(summary))
        if run.divergence is not None:
            console.print(run.divergence, markup=False, highlight=False, soft_wrap=True)
        speed = f", {summary['examples_per_second']:,.0f} examples/s" if summary["examples_per_second"] else ""
        size = f"{summary['parameters']:,} parameters, {summary['steps']:,} steps"
        console.print(f"{size} in {format_duration(summary['seconds'])}{speed}", highlight=False)
    if run.metrics and (summary is None or summary["status"] == "interrupted"):
        last = run.metrics[-1]
        text = f"{last['split']} loss {format_loss(last['loss'])}, accuracy {format_accuracy(last['accuracy'])}"
        console.print(f"last measured at step {last['step']:,}: {text}", highlight=False)
    console.print(str(run.path), markup=False, highlight=False, soft_wrap=True)


def _result_table(summary: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE)
    table.add_column("")
    results = {name: summary[name] for name in ("final", "best") if summary[name] is not None}
    for name, result in results.items():
        table.add_column(f"{name}: epoch {result['epoch']:g}\nloss", justify="right")
        table.add_column("\naccuracy", justify="right")
    for split in SPLITS:
        pairs = [(result[f"{split}_loss"], result[f"{split}_accuracy"]) for result in results.values()]
        cells = [cell for loss, accuracy in pairs for cell in (format_loss(loss), format_accuracy(accuracy))]
        table.add_row(split.replace("_", ", "), *cells)
    return table


def print_overview(experiment: Experiment, console: Console) -> None:
    """Prints the table of the network's parameters, computing none of them."""
    default_backend()  # raises the error that says what to do if there is none
    spec = data.dataset(experiment.dataset)
    module = experiment.model.module(spec.num_classes)
    images = jax.ShapeDtypeStruct((1, *spec.image_shape), "float32")
    key = prng.key(experiment.seed, prng.Purpose.INITIALISATION)
    params = jax.eval_shape(lambda x: module.init(key, x, train=False), images)["params"]
    console.print(parameter_overview(params), markup=False, highlight=False, soft_wrap=True)
