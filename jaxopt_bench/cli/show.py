"""`jaxopt-bench show`: prints a run's record."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Annotated

import tyro
from rich.console import Console

from jaxopt_bench.cli.command import COMPLETED, Command
from jaxopt_bench.cli.flags import bind
from jaxopt_bench.cli.naming import find_run
from jaxopt_bench.cli.printing import print_overview, print_plain, print_result
from jaxopt_bench.experiment import flat_fields
from jaxopt_bench.runs import EVALUATION, load_run

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
        print_overview(found.experiment, console)
    print_result(found, console)
    if (found.path / EVALUATION).exists():
        console.print(f"predictions for each example: {EVALUATION}", highlight=False)
    return COMPLETED
