"""`jaxopt-bench report`: a page and figures of a study, a run, or any runs."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import pathlib
import time
from collections.abc import Sequence

import tyro
from rich.console import Console

from jaxopt_bench import interrupts
from jaxopt_bench.cli.answer import study_document
from jaxopt_bench.cli.command import COMPLETED, Command
from jaxopt_bench.cli.flags import bind
from jaxopt_bench.cli.printing import print_plain
from jaxopt_bench.cli.recorded import load_baselines
from jaxopt_bench.compare import drop_unfinished_contenders, join_results, make_newcomer_study
from jaxopt_bench.errors import UserError
from jaxopt_bench.reports import check_extra
from jaxopt_bench.results import NoRunsError, Results, describe_missing_results, load

EVERY = 5
"""Seconds between two builds of the page while a study is trained."""


@dataclasses.dataclass(frozen=True)
class ReportFlags:
    """Turn results into a page that opens offline, figures (SVG, PDF, PNG) and tables (Markdown, CSV, LaTeX)."""

    path: tyro.conf.Positional[pathlib.Path]
    """The folder of a study, recorded results, the directory of a run, or any folder of these."""
    baselines: pathlib.Path | None = None
    """The folder of recorded results, or their name (digits), if optimizers were compared with recorded results. The
    report includes both."""
    watch: bool = False
    """Build the page again every few seconds while a study or a run is trained, until all runs have ended. The page in
    a browser refreshes itself."""
    out: pathlib.Path | None = None
    """Folder of the report; by default reports/ with the name of PATH."""


def parse(words: Sequence[str]) -> Command:
    """Returns the command for the arguments after `report`."""
    return bind(report, ReportFlags, "report", words)


def report(flags: ReportFlags) -> int:
    """Writes the report and prints its path."""
    check_extra()
    from jaxopt_bench.reports.report import PAGE, report_of, write  # needs the extra

    out = flags.out or pathlib.Path("reports") / flags.path.resolve().name
    if out.exists() and not out.is_dir():
        raise UserError(f"--out is {out}, which is a file. Expected: a folder, which may or may not exist.")
    console = Console()
    if flags.watch:
        _watch(flags, out, console)
    results, recorded = _load(flags)
    made = report_of(results, flags.path.resolve().name, recorded)
    with console.status(f"drawing {len(made.figures)} figures"):  # this takes seconds
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


def _watch(flags: ReportFlags, out: pathlib.Path, console: Console) -> None:
    """Builds the page again and again until all runs have ended, or the user presses Ctrl-C."""
    from jaxopt_bench.reports.report import PAGE, report_of, write_page

    said = (
        f"{out / PAGE} is built again every {EVERY} s until all runs have ended, or until you press Ctrl-C. After "
        "that, all figures and tables are written."
    )
    try:
        for build in itertools.count():
            began = time.monotonic()
            loaded = None
            with contextlib.suppress(NoRunsError):  # they have not started yet
                loaded = _load(flags)
            if build == 0:  # after the folder was read: a wrong path is an error
                print_plain(console, said, soft_wrap=True)
            if loaded is not None:
                results, recorded = loaded
                going_on = (
                    describe_missing_results(results) is not None or "running" in results.runs["status"].to_list()
                )
                made = report_of(results, flags.path.resolve().name, recorded)
                write_page(made, out, refresh=EVERY if going_on else None)
                if not going_on:
                    return
            time.sleep(max(0.0, EVERY - (time.monotonic() - began)))
    except KeyboardInterrupt:
        interrupts.continue_after_interrupt()


def _load(flags: ReportFlags) -> tuple[Results, tuple[str, ...]]:
    """Returns the results for the flags, and the names of the recorded optimizers."""
    results = load(flags.path)
    return (results, ()) if flags.baselines is None else _with_baselines(results, flags.path, flags.baselines)


def _with_baselines(trained: Results, path: pathlib.Path, baselines: pathlib.Path) -> tuple[Results, tuple[str, ...]]:
    """Returns the results of trained and of recorded optimizers together, and the names of the recorded ones.

    Raises:
      UserError: if one of the two does not hold exactly one study, or their conditions differ.
    """
    study = study_document(trained, path, "--baselines").study
    recorded = drop_unfinished_contenders(load_baselines(baselines), [workload.name for workload in study.workloads])
    (document,) = recorded.documents
    make_newcomer_study(study, document, study.contenders)
    return join_results(recorded, trained)[0], tuple(contender.name for contender in document.study.contenders)
