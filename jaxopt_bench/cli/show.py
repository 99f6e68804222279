"""`jaxopt-bench show`: prints a run's record."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Annotated, Any

import tyro
from jaxtyping import PyTree
from rich.console import Console

from jaxopt_bench.cli.command import COMPLETED, Command
from jaxopt_bench.cli.flags import bind
from jaxopt_bench.cli.naming import find_run
from jaxopt_bench.cli.printing import print_overview, print_plain, print_result
from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import flat_fields
from jaxopt_bench.runs import EVALUATION, Run, load_run
from jaxopt_bench.user_config import RecordedConfig, field_values

RUNS = pathlib.Path("runs")
"""The folder in which `run` and `sweep` write if --out is not given."""


@dataclasses.dataclass(frozen=True)
class ShowFlags:
    """Show a run: its experiment, its hardware and software, and its results."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """The directory of a run, a folder of runs for the latest of them, or the name of an experiment in runs/."""
    overview: bool = False
    """Also print the table of the model's parameters."""


def parse(words: Sequence[str]) -> Command:
    """Returns the command for the arguments after `show`."""
    return bind(show, ShowFlags, "show", words)


def show(flags: ShowFlags) -> int:
    """Prints a run's record."""
    console = Console()
    found = load_run(find_run(flags.run, RUNS))
    for name, value in flat_fields(found.config["experiment"]).items():
        print_plain(console, f"{name:32} {value}")
    for environment in found.config.get("environments", []):
        versions = ", ".join(f"{name} {version}" for name, version in environment["packages"].items() if version)
        options = "".join(f", {name} {value}" for name, value in environment.get("options", {}).items() if value)
        print_plain(
            console,
            f"from step {environment['step']}: {environment['backend']} ({', '.join(environment['devices'])}), "
            f"{environment['threads']} threads, Python {environment['python']}, {versions}{options}",
        )
    if flags.overview:
        print_overview(functools.partial(_parameter_shapes, found), console)
    print_result(found, console)
    if (found.path / EVALUATION).exists():
        console.print(f"predictions for each example: {EVALUATION}", highlight=False)
    return COMPLETED


def _parameter_shapes(run: Run) -> PyTree[Any]:
    """Returns the shapes of the parameters of a run's model.

    If the model or the problem is the user's, they come from the last checkpoint: showing a run runs no code of it.

    Raises:
      UserError: if such a run has no checkpoint.
    """
    problem = run.experiment.workload.problem
    parts = (problem, *field_values(problem).values())
    own = next((part.reference for part in parts if isinstance(part, RecordedConfig)), None)
    if own is None:
        return problem.parameter_shapes()
    try:
        return run.saved_parameter_shapes()
    except UserError as error:
        raise UserError(f"the code of {own} is not run, so the table needs a checkpoint, but {error}") from error
