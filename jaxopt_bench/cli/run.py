"""`jaxopt-bench run`: trains one experiment."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import tyro
from rich.console import Console

from jaxopt_bench.cli.command import COMPLETED, DIVERGED, Command
from jaxopt_bench.cli.flags import bind, check_folder
from jaxopt_bench.cli.naming import resolve_experiment, with_field_names
from jaxopt_bench.cli.printing import print_overview, print_result
from jaxopt_bench.cli.processes import writer_folder
from jaxopt_bench.cli.training_flags import ExperimentFlags
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.runs import train


@dataclasses.dataclass(frozen=True)
class RunFlags:
    """Train an experiment, continue it if it was stopped, or show its summary if it has finished.

    --optimizer NAME, --schedule NAME, --problem NAME and --model NAME replace a part of the experiment. The new part
    has its own defaults, and its flags are listed below. `jaxopt-bench list` shows the names; --optimizer
    FILE.py:FUNCTION or MODULE:FUNCTION uses your own optimizer. --experiments DIR looks for the experiment in another
    folder.
    """

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    training: Annotated[ExperimentFlags, tyro.conf.arg(name="")] = dataclasses.field(default_factory=ExperimentFlags)
    overview: bool = False
    """Print the table of the network's parameters first."""


def parse(words: Sequence[str]) -> Command:
    """Returns the command for the arguments after `run`; see `resolve_experiment`."""
    experiment, rest = resolve_experiment("run", with_field_names(words))
    return bind(run, RunFlags, f"run {experiment.name}", rest, default=RunFlags(experiment))


def run(flags: RunFlags) -> int:
    """Trains, prints the result, and returns the exit code."""
    check_folder("--out", flags.training.out)
    flags.training.processes.join()
    with writer_folder(flags.training.out, flags.experiment.name) as runs_dir:
        console = Console()
        if flags.overview:
            print_overview(flags.experiment.workload.problem.parameter_shapes, console)
        result = train(flags.experiment, flags.training.options(runs_dir))
        print_result(result, console)
    return DIVERGED if result.summary and result.summary["status"] == "diverged" else COMPLETED
