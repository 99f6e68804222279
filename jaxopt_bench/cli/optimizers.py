"""`jaxopt-bench optimizers`: shows an optimizer's record, measures its behaviour, and draws paths of optimizers."""

from __future__ import annotations

import dataclasses
import inspect
import json
import pathlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from jaxopt_bench.cli.command import COMPLETED, HELP, MISUSED, Command
from jaxopt_bench.cli.flags import bind, check_at_least_one
from jaxopt_bench.cli.naming import resolve_optimizer
from jaxopt_bench.cli.printing import names_table, print_plain
from jaxopt_bench.cli.recorded import recorded_folders
from jaxopt_bench.cli.streams import check_output_file, write_output
from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.models import MODELS
from jaxopt_bench.optimizers import ImportedOptimizer, measure_optimizer
from jaxopt_bench.optimizers.equivalence import ParametersError
from jaxopt_bench.optimizers.text import describe_schedule
from jaxopt_bench.problems import PROBLEMS, Classification, ProblemConfig
from jaxopt_bench.reports import (
    ARRAYS_NOTE,
    SURFACES,
    Trajectory,
    arrays_table,
    check_picture,
    describe_equal_paths,
    describe_missed_arrays,
    facts_table,
    hyperparameters_table,
    trajectories_on,
)
from jaxopt_bench.results import load as load_results
from jaxopt_bench.runs.compilation import keep_compiled_programs
from jaxopt_bench.training import default_backend
from jaxopt_bench.verdict import compute_single_settings, describe_single_setting

SUITE_STUDY = "suite"
"""The study whose recorded results give the recommended settings."""


@dataclasses.dataclass(frozen=True)
class OptimizerFlags:
    """Show an optimizer: its source, its hyperparameters with recommended search ranges, and a setting that is good on
    many small workloads."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OPTIMIZER")]
    """An optimizer by its name, or FILE.py:FUNCTION or MODULE:FUNCTION."""


@dataclasses.dataclass(frozen=True)
class CheckFlags:
    """Measure an optimizer's behaviour in a few steps on random gradients, without reading any description of it.

    The result shows which rules of the optimizer update which parameters; whether it follows the learning rate and the
    schedule; its weight decay; whether the scale of gradients matters; the size of its updates and of its state;
    whether it is deterministic.
    """

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OPTIMIZER")]
    """An optimizer by its name, or FILE.py:FUNCTION or MODULE:FUNCTION."""
    model: str = "cnn"
    """The name of the network whose parameters are updated."""
    dataset: str = "cifar10"
    """The name of the data set of the network. It is not read."""
    problem: str | None = None
    """Another problem whose parameters are updated: a name, FILE.py:FUNCTION or MODULE:FUNCTION. --model and --dataset
    are ignored then."""
    json: pathlib.Path | None = None
    """Write the facts to this file, as JSON; - is standard output."""


@dataclasses.dataclass(frozen=True)
class PlotFlags:
    """Draw the paths of optimizers on surfaces over two numbers, and their effective step sizes.

    On each surface, each optimizer uses the learning rate with which it descends fastest without leaving the picture.
    The candidates are one and three times the powers of ten.
    """

    names: tyro.conf.Positional[tuple[str, ...]] = ("sgd", "momentum", "nesterov", "adam", "nadam", "amsgrad", "padam")
    """Names of optimizers."""
    surfaces: tuple[str, ...] = tuple(SURFACES)
    """Names of surfaces."""
    steps: int = 200
    """Number of updates."""
    out: pathlib.Path = pathlib.Path("optimizers.png")
    """The picture, PNG or SVG; or an animation: HTML, which opens offline, or GIF."""


def parse(words: Sequence[str]) -> Command:
    """Returns the command for the arguments after `optimizers`.

    Raises:
      UserError: for an unknown command.
    """
    commands: dict[str, tuple[Callable[[Any], int], type]] = {
        "show": (show_optimizer, OptimizerFlags),
        "check": (check_optimizer, CheckFlags),
        "plot": (plot_optimizers, PlotFlags),
    }
    if not words or words[0] in ("-h", "--help"):
        print(HELP)
        raise SystemExit(COMPLETED if words else MISUSED)
    if words[0] not in commands:
        raise unknown_name("optimizers command", words[0], commands)
    return bind(*commands[words[0]], f"optimizers {words[0]}", words[1:])


def show_optimizer(flags: OptimizerFlags) -> int:
    """Prints an optimizer's record."""
    console = Console()
    optimizer = resolve_optimizer(flags.name)
    print_plain(console, _unwrapped(inspect.cleandoc(type(optimizer).__doc__ or "").partition("Args:")[0].strip()))
    print_plain(console, "")
    print_plain(console, f"source: {optimizer.source}")
    schedule, stated = optimizer.schedule, optimizer.user_schedule
    words = (
        f"{schedule.name} ({schedule.source})" if stated is None else f"{describe_schedule(stated)}, as its file states"
    )
    print_plain(console, f"schedule: {words}")
    if isinstance(optimizer, ImportedOptimizer):
        try:
            called = optimizer.in_words
        except ParametersError as error:
            called = f"unknown, because {error} If it is made for one network, a run tries it on that network."
        print_plain(console, f"how it is called: {called}")
    console.print(hyperparameters_table(flags.name, optimizer))
    if (recommended := _recommended(flags.name)) is not None:
        print_plain(console, f"\nrecommended values to start with: {recommended}")
    return COMPLETED


def _unwrapped(text: str) -> str:
    """Returns a text with each paragraph on one line, so that it fills the terminal; formulas keep their lines."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(p if p.startswith((" ", "* ")) else " ".join(p.split()) for p in paragraphs)


def _recommended(name: str) -> str | None:
    """Returns the best single setting of an optimizer in the recorded study of many small workloads.

    None if the study is not recorded, or does not have the optimizer on all workloads.
    """
    folder = {path.name: path for path in recorded_folders()}.get(SUITE_STUDY)
    if folder is None:
        return None
    results = load_results(folder)
    (document,) = results.documents
    study = document.study
    if name not in [contender.name for contender in study.contenders]:
        return None
    shared = compute_single_settings(results, document, [workload.name for workload in study.workloads])
    found = next((each for each in shared if each.contender == name), None)
    return None if found is None else describe_single_setting(study, found)


def check_optimizer(flags: CheckFlags) -> int:
    """Prints the measured behaviour of an optimizer, or writes it as JSON."""
    if flags.json is not None:
        check_output_file(flags.json)
    optimizer = resolve_optimizer(flags.name)
    if flags.problem is None:
        problem: ProblemConfig = Classification(dataset=flags.dataset, model=MODELS[flags.model])
        on, network_name = {"model": flags.model, "dataset": flags.dataset}, f"{flags.model} for {flags.dataset}"
    else:
        problem = PROBLEMS[flags.problem]
        on, network_name = {"problem": flags.problem}, problem.title
    default_backend()  # raises an error with advice if there is no backend
    keep_compiled_programs()
    facts = measure_optimizer(optimizer, problem.parameter_shapes())
    if flags.json is not None:
        about = {"optimizer": flags.name, "settings": optimizer.to_json(), **on}
        write_output(flags.json, (json.dumps({**about, **facts.to_json()}, indent=2, allow_nan=False) + "\n").encode())
        return COMPLETED
    console = Console()
    parts = f"{len(facts.network)} parameter arrays, {facts.numbers:,} numbers"
    print_plain(console, f"{flags.name} on {network_name} ({parts})")
    required = [field.name for field in dataclasses.fields(optimizer) if field.default is dataclasses.MISSING]
    if required:
        print_plain(
            console,
            f"arguments without a default: {', '.join(f'{name} {getattr(optimizer, name)}' for name in required)}",
        )
    warning = describe_missed_arrays(facts)
    if warning is not None:
        console.print(f"\n{warning}", style="bold", markup=False, highlight=False)
    console.print()
    console.print(facts_table(facts))
    console.print()
    if facts.sample:
        console.print(arrays_table("small network (measured here: all but the shares and the state)", facts.arrays))
    console.print(arrays_table(network_name, facts.network))
    print_plain(console, ARRAYS_NOTE)
    return COMPLETED


def plot_optimizers(flags: PlotFlags) -> int:
    """Draws trajectories, and prints their losses."""
    console = Console()
    check_at_least_one("--steps", flags.steps)
    check_picture(flags.out)
    from jaxopt_bench.reports.race import write_race  # these need the extra
    from jaxopt_bench.reports.trajectory_picture import draw_trajectories

    if not flags.surfaces:
        raise UserError(f"--surfaces is empty. Expected: one or more of {', '.join(SURFACES)}.")
    for surface in flags.surfaces:
        if surface not in SURFACES:
            raise unknown_name("surface", surface, SURFACES)
    optimizers = {name: resolve_optimizer(name) for name in flags.names}
    functions = [name.rpartition(":")[2] for name in optimizers]  # for references to functions in files
    short = {name: f if functions.count(f) == 1 else name for name, f in zip(optimizers, functions, strict=True)}
    keep_compiled_programs()
    with ThreadPoolExecutor() as executor:  # XLA compiles without Python's lock
        runs = executor.map(
            lambda name: trajectories_on(flags.surfaces, short[name], optimizers[name], flags.steps), short
        )
        by_optimizer = [*runs]
    drawn = [own[i] for i in range(len(flags.surfaces)) for own in by_optimizer]
    draw = write_race if flags.out.suffix.lower() in (".html", ".gif") else draw_trajectories
    draw(drawn, flags.out)
    console.print(_trajectories_table(drawn))
    for sentence in describe_equal_paths(drawn):
        print_plain(console, sentence)
    print_plain(console, str(flags.out), soft_wrap=True)
    return COMPLETED


def _trajectories_table(drawn: Sequence[Trajectory]) -> Table:
    table = names_table("trajectories", "surface", "optimizer", "learning rate", "at the start", "at the end")
    for t in drawn:
        table.add_row(t.surface, t.optimizer, f"{t.learning_rate:g}", f"{t.losses[0]:.3g}", f"{t.losses[-1]:.3g}")
    return table
