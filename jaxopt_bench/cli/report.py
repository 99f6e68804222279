"""`jaxopt-bench report`: a page and figures of a study, a run, or any runs."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import tyro
from rich.console import Console

from jaxopt_bench.cli.answer import study_document
from jaxopt_bench.cli.command import COMPLETED, Command
from jaxopt_bench.cli.flags import bind
from jaxopt_bench.cli.printing import print_plain
from jaxopt_bench.cli.recorded import load_baselines
from jaxopt_bench.compare import challenge, finished_part, joined
from jaxopt_bench.errors import UserError
from jaxopt_bench.reports import check_extra
from jaxopt_bench.results import Results, load


@dataclasses.dataclass(frozen=True)
class ReportFlags:
    """Turn results into a page that opens offline, figures (SVG, PDF, PNG) and tables (Markdown, CSV, LaTeX)."""

    path: tyro.conf.Positional[pathlib.Path]
    """A study's folder, recorded results, a run's directory, or any folder of these."""
    baselines: pathlib.Path | None = None
    """For optimizers that were compared with recorded results: the folder of these results, or their name (digits). The
    report is about all of them together."""
    out: pathlib.Path | None = None
    """Folder of the report; else reports/ and the name of the folder that was read."""


def parse(words: Sequence[str]) -> Command:
    """Returns the command that the words after `report` ask for."""
    return bind(report, ReportFlags, "report", words)


def report(flags: ReportFlags) -> int:
    """Writes the report and says where it is."""
    check_extra()
    from jaxopt_bench.reports.report import PAGE, report_of, write  # needs the extra

    name = flags.path.resolve().name
    out = flags.out or pathlib.Path("reports") / name
    results, recorded = load(flags.path), tuple[str, ...]()
    if flags.baselines is not None:
        results, recorded = _with_baselines(results, flags.path, flags.baselines)
    if out.exists() and not out.is_dir():
        raise UserError(f"--out is {out}, which is a file; accepted: a folder, there or not.")
    made = report_of(results, name, recorded)
    console = Console()
    with console.status(f"drawing {len(made.figures)} figures"):  # seconds in which nothing would be seen
        write(made, out)
    figures, tables = (
        f"{len(made.figures)} figures (SVG, PDF, PNG)",
        f"{len(made.tables)} tables (Markdown, CSV, LaTeX)",
    )
    console.print(
        f"{len(results.runs):,} run{'' if len(results.runs) == 1 else 's'}, {figures}, {tables}", highlight=False
    )
    print_plain(console, str(out / PAGE), soft_wrap=True)
    return COMPLETED


def _with_baselines(trained: Results, path: pathlib.Path, baselines: pathlib.Path) -> tuple[Results, tuple[str, ...]]:
    """Returns the results of optimizers together with those of recorded ones, and the names of these.

    Raises:
      UserError: if one of the two does not hold exactly one study, or their conditions differ.
    """
    study = study_document(trained, path, "--baselines").study
    recorded = finished_part(load_baselines(baselines), [workload.name for workload in study.workloads])
    (document,) = recorded.documents
    challenge(study, document, study.contenders)
    return joined(recorded, trained)[0], tuple(contender.name for contender in document.study.contenders)
