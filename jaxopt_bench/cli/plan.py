"""`jaxopt-bench compare … --plan`: prints the cost and the power of a study before it is trained."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.table import Table

from jaxopt_bench import catalog
from jaxopt_bench.cli.printing import print_plain
from jaxopt_bench.cli.recorded import recorded_folders
from jaxopt_bench.compare import StudyCost, StudyPower, recorded_noise
from jaxopt_bench.compare.cost_estimate import PhaseCost
from jaxopt_bench.compare.costs import MARGIN
from jaxopt_bench.formatting import format_bytes, format_duration, join_words
from jaxopt_bench.study import Study
from jaxopt_bench.study.growth import BUDGETS
from jaxopt_bench.verdict import Noise


def print_plan(study: Study, cost: StudyCost, power: StudyPower, folder: pathlib.Path, console: Console) -> None:
    """Prints the cost of a study as a table, and in sentences the smallest difference that it can show.

    Args:
      study: the study that the user asked for; the cost can be that of a larger study, see `estimate_study_cost`.
      cost: the cost of the study.
      power: the differences that the study can show.
      folder: the folder of the study. Its results, and those that come with the project, give the size of the noise.
      console: the console to print to.
    """
    console.print()
    console.print(_table(cost))
    sentences = [*_describe_growth(study, cost.study, folder), _describe_costs(cost, folder), power.description]
    if power.least is not None:
        sentences += _describe_noise(cost.study, power, [folder, *recorded_folders()])
    for sentence in sentences:
        print_plain(console, sentence)


def _describe_growth(asked: Study, whole: Study, folder: pathlib.Path) -> list[str]:
    """Returns a sentence if the study in the folder is larger than the requested study; otherwise an empty list."""
    larger = [
        f"{name.replace('_', ' ')} {getattr(whole, name):,} instead of {value:,}"
        for name in BUDGETS
        if (value := getattr(asked, name)) is not None and value != getattr(whole, name)
    ]
    for kind, one, other in (
        ("optimizers", asked.contenders, whole.contenders),
        ("workloads", asked.workloads, whole.workloads),
    ):
        if len(other) > len(one):
            larger.append(f"{len(other)} {kind} instead of {len(one)}")
    if not larger:
        return []
    return [f"{folder} already has a larger study, which is never made smaller. So the plan has {join_words(larger)}."]


def _table(cost: StudyCost) -> Table:
    """Returns a table with a row for each phase, and a row for the total."""
    columns: dict[str, tuple[Callable[[PhaseCost], float], Callable[[float], str]]] = {
        "runs": (lambda phase: phase.runs, "{:,}".format),
        "finished": (lambda phase: phase.finished, "{:,}".format),
        "programs": (lambda phase: phase.programs, "{:,}".format),
        "to compile them": (lambda phase: phase.compiling, format_duration),
        "time in all": (lambda phase: phase.seconds, format_duration),
    }
    if not any(phase.finished for phase in cost.phases):
        del columns["finished"]
    table = Table(box=box.SIMPLE, show_footer=True)
    table.add_column("phase", footer="all")
    for title, (value, form) in columns.items():
        table.add_column(title, footer=form(sum(map(value, cost.phases))), justify="right")
    for phase in (phase for phase in cost.phases if phase.runs):
        table.add_row(f"{phase.phase}s", *(form(value(phase)) for value, form in columns.values()))
    return table


def _describe_costs(cost: StudyCost, folder: pathlib.Path) -> str:
    disk = f"The study needs up to {format_bytes(cost.disk)} in {folder}."
    if not cost.measured:
        return f"All runs have finished. {disk}"
    measured = join_words([f"{contender} on {workload}" for workload, contender in cost.measured.items()])
    return (
        f"The times are estimates for this machine: those of {measured}, measured for a few seconds, "
        f"plus {MARGIN - 1:.0%}, because other optimizers take longer. {disk}"
    )


def _describe_noise(study: Study, power: StudyPower, folders: list[pathlib.Path]) -> list[str]:
    """Returns sentences about the smallest detectable difference on each workload, if records show it."""
    noises = recorded_noise(study, folders)
    said = [_describe_least(workload, power, *known) for workload, known in noises.items()]
    if unknown := [w.name for w in study.workloads if w.name not in noises]:
        said.append(
            f"The smallest difference that can be seen on {join_words(unknown)} is not known, because no results are "
            "recorded."
        )
    return said


def _describe_least(workload: str, power: StudyPower, noise: Noise, folder: pathlib.Path) -> str:
    """Returns the smallest difference on a workload, in the unit of its measure."""
    amount = noise.measure.format_difference
    least, on_new_data = power.least, power.least_on_new_data(noise)
    assert least is not None, "it is what this is about"
    smallest = f"{amount(least * noise.deviation)} of {noise.measure.words}"
    start = f"On {workload}, the smallest difference that can be seen is {smallest}"
    source = (
        f"the standard deviation between results of one optimizer is {amount(noise.deviation)}, from {noise.results} "
        f"results in {_shown(folder)}"
    )
    if on_new_data is None:
        return f"{start} ({source})."
    return f"{start} on the same {noise.examples:,} test examples, and {amount(on_new_data)} on new data ({source})."


def _shown(folder: pathlib.Path) -> pathlib.Path:
    """Returns the path of a folder for display: relative to the project for results that come with the project."""
    project = catalog.experiments_dir().parent
    return folder.relative_to(project) if folder.is_relative_to(project) else folder
