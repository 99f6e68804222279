"""`jaxopt-bench list`: prints the names that commands accept."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import tyro
from rich.console import Console
from rich.table import Table

from jaxopt_bench import catalog, data
from jaxopt_bench.cli.command import COMPLETED, Command
from jaxopt_bench.cli.flags import bind
from jaxopt_bench.cli.printing import names_table
from jaxopt_bench.config import Config
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.formatting import format_count
from jaxopt_bench.models import MODELS
from jaxopt_bench.optimizers import OPTIMIZERS, SCHEDULES
from jaxopt_bench.problems import PROBLEMS
from jaxopt_bench.reports import optimizers_table
from jaxopt_bench.study import STUDIES, Study

SENTENCE_END = re.compile(r"(?<!et al)\. (?=[A-Z])")
MOST_WORKLOADS = 3
"""The maximum number of workloads of a study that are listed one by one."""
Kind = Literal["all", "experiments", "studies", "problems", "models", "datasets", "optimizers", "schedules"]


@dataclasses.dataclass(frozen=True)
class ListFlags:
    """List the names that commands accept, one table for each kind."""

    kind: tyro.conf.Positional[Kind] = "all"
    experiments: pathlib.Path | None = None
    """Folder of experiment files; the project's own by default."""


def parse(words: Sequence[str]) -> Command:
    """Returns the command for the arguments after `list`."""
    return bind(list_kinds, ListFlags, "list", words)


def list_kinds(flags: ListFlags) -> int:
    """Prints the tables of names."""
    console = Console()
    tables: dict[str, Callable[[], Table]] = {
        "experiments": lambda: _experiments_table(catalog.load_folder(flags.experiments)),
        "studies": lambda: _studies_table(STUDIES.load_folder()),
        "problems": lambda: _configs_table("problems", PROBLEMS),
        "models": lambda: _configs_table("models", MODELS),
        "datasets": _datasets_table,
        "optimizers": lambda: optimizers_table(OPTIMIZERS),
        "schedules": lambda: _configs_table("schedules", SCHEDULES),
    }
    for kind in tables if flags.kind == "all" else [flags.kind]:
        console.print(tables[kind]())
    return COMPLETED


def _experiments_table(experiments: Mapping[str, Experiment]) -> Table:
    table = names_table("experiments", "name", "problem", "optimizer", "epochs", "batch")
    for name, experiment in sorted(experiments.items()):
        workload, optimizer = experiment.workload, OPTIMIZERS.name_of(experiment.optimizer)
        table.add_row(name, workload.problem.title, optimizer, str(workload.epochs), str(workload.batch_size))
    return table


def _studies_table(studies: Mapping[str, Study]) -> Table:
    table = names_table("studies", "name", "question, and how it is answered")
    for name, study in sorted(studies.items()):
        table.add_row(name, f"{study.question}\n{_describe_size(study)}\n{_describe_workloads(study)}")
        table.add_section()
    return table


def _describe_size(study: Study) -> str:
    trials = [format_count(study.trials, "trial")] if study.trials else []
    return ", ".join(
        [format_count(len(study.contenders), "optimizer"), *trials, format_count(study.seeds, "confirmation seed")]
    )


def _describe_workloads(study: Study) -> str:
    if len(study.workloads) > MOST_WORKLOADS:
        lengths = sorted({workload.epochs for workload in study.workloads})
        epochs = str(lengths[0]) if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
        return f"{len(study.workloads)} workloads, {epochs} epochs"
    return "\n".join(f"{workload.name}, {format_count(workload.epochs, 'epoch')}" for workload in study.workloads)


def _datasets_table() -> Table:
    table = names_table("datasets", "name", "training", "test", "classes", "")
    for name, spec in data.DATASETS.items():
        counts = (f"{spec.train_examples:,}", f"{spec.test_examples:,}", str(spec.num_classes))
        table.add_row(name, *counts, spec.description)
    return table


def _configs_table(title: str, configs: Mapping[str, Config]) -> Table:
    table = names_table(title, "name", "", "defaults")
    for name, config in configs.items():
        fields = "\n".join(f"{field} {value}" for field, value in config.to_json().items())
        table.add_row(name, _first_sentence(config), fields)
    return table


def _first_sentence(config: Config) -> str:
    paragraph = " ".join((type(config).__doc__ or "").strip().split("\n\n")[0].split())
    return SENTENCE_END.split(paragraph, maxsplit=1)[0].removesuffix(".")
