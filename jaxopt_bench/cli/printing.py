"""Output of several commands: a table of names, a run's result, the parameters of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxtyping import PyTree
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxopt_bench.formatting import format_duration
from jaxopt_bench.models import parameter_overview
from jaxopt_bench.problems import LOSS, Metric
from jaxopt_bench.runs import SPLITS, Run
from jaxopt_bench.training import default_backend


def names_table(title: str, *columns: str) -> Table:
    """Returns an empty table whose first column, the names, is never cut.

    Args:
      title: the title of the table, in the plural.
      *columns: the titles of the columns.
    """
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    table.add_column(columns[0], no_wrap=True, overflow="fold", min_width=32 if title == "experiments" else None)
    for column in columns[1:]:
        table.add_column(column)
    return table


def print_plain(console: Console, text: str, soft_wrap: bool = False) -> None:
    """Prints a text without changes: in one colour, and without Rich's markup in square brackets.

    Args:
      console: the console to print to.
      text: the text, of one or several lines.
      soft_wrap: whether the terminal wraps long lines, as for paths.
    """
    console.print(text, markup=False, highlight=False, soft_wrap=soft_wrap)


def print_result(run: Run, console: Console) -> None:
    """Prints a run's results as a table, its cost, and its path."""
    summary = run.summary
    if summary is None:
        name = run.config["experiment"]["name"]
        print_plain(console, f"{name}: running, or killed")
    else:
        print_plain(console, f"\n{summary['experiment']}: {summary['status']}")
        if summary["status"] == "completed":
            console.print(_result_table(summary, run.problem_metrics))
        if run.divergence is not None:
            print_plain(console, run.divergence, soft_wrap=True)
        speed = f", {summary['examples_per_second']:,.0f} examples/s" if summary["examples_per_second"] else ""
        size = f"{summary['parameters']:,} parameters, {summary['steps']:,} steps"
        console.print(f"{size} in {format_duration(summary['seconds'])}{speed}", highlight=False)
    if run.metrics and (summary is None or summary["status"] in ("interrupted", "stopped")):
        last = run.metrics[-1]
        values = [
            f"{metric.words} {metric.format(last.get(metric.name))}" for metric in _loss_first(run.problem_metrics)
        ]
        text = f"{last['split'].replace('_', ' ')} {', '.join(values)}"
        print_plain(console, f"last measured at step {last['step']:,}: {text}", soft_wrap=True)
    print_plain(console, str(run.path), soft_wrap=True)


def _result_table(summary: Mapping[str, Any], metrics: Sequence[Metric]) -> Table:
    table = Table(box=box.SIMPLE)
    table.add_column("")
    results = {name: summary[name] for name in ("final", "best") if summary[name] is not None}
    shown = _loss_first(metrics)
    for name, result in results.items():
        for i, metric in enumerate(shown):
            above = f"{name}: epoch {result['epoch']:g}" if i == 0 else ""
            table.add_column(Text(f"{above}\n{metric.words if metric.percent else metric.title()}"), justify="right")
    for split in SPLITS:
        values = [(metric, result.get(f"{split}_{metric.name}")) for result in results.values() for metric in shown]
        table.add_row(split.replace("_", ", "), *(metric.format(value) for metric, value in values))
    return table


def _loss_first(metrics: Sequence[Metric]) -> list[Metric]:
    return sorted(metrics, key=lambda metric: metric.name != LOSS)


def print_overview(shapes: Callable[[], PyTree[Any]], console: Console) -> None:
    """Prints the table of a model's parameters, whose shapes a function returns, without computing them."""
    default_backend()  # raises an error with advice if there is no backend
    print_plain(console, parameter_overview(shapes()), soft_wrap=True)
