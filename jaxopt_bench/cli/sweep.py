"""`jaxopt-bench sweep`: trains one experiment at several settings, as one program."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Sequence
from typing import Annotated

import tyro
from rich.console import Console

from jaxopt_bench.cli.command import COMPLETED, DIVERGED, Command
from jaxopt_bench.cli.flags import check_at_least_one, check_folder, parse_flags
from jaxopt_bench.cli.naming import resolve_experiment, with_field_names
from jaxopt_bench.cli.printing import print_plain
from jaxopt_bench.cli.processes import writer_folder
from jaxopt_bench.cli.training_flags import ExperimentFlags, MostRuns
from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import NAMED_PARTS, Experiment
from jaxopt_bench.formatting import format_duration
from jaxopt_bench.optimizers import parse_values
from jaxopt_bench.reports import sweep_table
from jaxopt_bench.results import rows_by_setting
from jaxopt_bench.runs import train_population
from jaxopt_bench.sweep import grid

TEXTS = ("experiments", "out", "data_dir", "process", "coordinator", *NAMED_PARTS)
"""Flags whose values may look like a list or a range of numbers, but are texts."""


@dataclasses.dataclass(frozen=True)
class SweepFlags:
    """Train an experiment at several values of numeric fields of its optimizer or schedule, as one program.

    LOW..HIGH:COUNT instead of a number means COUNT values that are evenly spaced in their logarithm, including both
    ends (--optimizer.learning-rate 1e-4..1e-1:8). A,B,C means the values A, B and C (--optimizer.b1 0.8,0.9). Several
    such flags make a grid. The validation split judges a sweep; the test split is read only with --evaluate-test.
    """

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    training: Annotated[ExperimentFlags, tyro.conf.arg(name="")] = dataclasses.field(default_factory=ExperimentFlags)
    seeds: int = 1
    """Number of seeds at each setting, counted up from the experiment's own seed."""
    largest: MostRuns = None


def parse(words: Sequence[str]) -> Command:
    """Returns the command for the arguments after `sweep`, with a grid of their values; see `resolve_experiment`.

    Raises:
      UserError: for an invalid range, list or number, or a field that cannot be swept.
    """
    values, rest = _values(with_field_names(words))
    experiment, rest = resolve_experiment("sweep", rest, {name: points[0] for name, points in values.items()})
    experiment = dataclasses.replace(experiment, evaluate_test=False, track_test=False)
    flags = parse_flags(SweepFlags, f"sweep {experiment.name}", rest, default=SweepFlags(experiment))
    check_at_least_one("--seeds", flags.seeds)
    if flags.largest is not None:
        check_at_least_one("--largest", flags.largest)
    return functools.partial(sweep, flags, grid(flags.experiment, values, flags.seeds), list(values))


def _values(words: Sequence[str]) -> tuple[dict[str, Sequence[float]], list[str]]:
    """Returns the values of ranges and lists, by the fields of their flags, and the remaining arguments.

    Raises:
      UserError: if a value is invalid, or its flag is given twice.
    """
    values: dict[str, Sequence[float]] = {}
    given: collections.Counter[str] = collections.Counter()
    rest: list[str] = []
    for word in words:
        flag, _, value = word.partition("=") if word.startswith("--") else (rest[-1] if rest else "", "", word)
        if word.startswith("--"):
            given[_field(flag)] += 1
        try:
            found = parse_values(value) if flag.startswith("--") and _field(flag) not in TEXTS else None
        except UserError as error:
            raise UserError(f"{flag}: {error}") from error
        if found is None:
            rest.append(word)
            continue
        if value == word:
            rest.pop()
        values[_field(flag)] = found
    for name in values:
        if given[name] > 1:
            raise UserError(
                f"--{name.replace('_', '-')} is given {given[name]} times. Expected all its values in one flag: "
                "LOW..HIGH:COUNT or A,B,C."
            )
    return values, rest


def _field(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def sweep(flags: SweepFlags, experiments: Sequence[Experiment], fields: Sequence[str]) -> int:
    """Trains the experiments, which differ in some fields and their seeds, and prints a table of them."""
    check_folder("--out", flags.training.out)
    flags.training.processes.join()
    with writer_folder(flags.training.out, flags.experiment.name) as runs_dir:
        console = Console()
        runs = train_population(experiments, flags.training.options(runs_dir, flags.largest))
        rows = rows_by_setting(runs, fields)
        seeds = f", means and 95% intervals over {flags.seeds} seeds" if flags.seeds > 1 else ""
        title = f"{flags.experiment.name}: epoch {flags.experiment.workload.epochs}{seeds}"
        console.print(sweep_table(rows, title, runs[0].problem_metrics))
        seconds = sum(run.summary["seconds"] for run in runs if run.summary)
        console.print(f"{len(runs)} runs, {format_duration(seconds)} of training", highlight=False)
        print_plain(console, str(runs[0].path.parent), soft_wrap=True)
    return DIVERGED if all(row.diverged == row.runs for row in rows) else COMPLETED
