"""A report: the page about a study, a run, or any other runs, and the files beside it."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeVar

import polars as pl

from jaxopt_bench.errors import UserError
from jaxopt_bench.files import remove_leftovers, replacing
from jaxopt_bench.reports import tables
from jaxopt_bench.reports.charts import CHARTS, SMALL_CHARTS, Chart, profiles, suite_figures
from jaxopt_bench.reports.figure import Figure, unused_name
from jaxopt_bench.reports.html import Block, Code, Figures, Items, Report, Section, Tabular, Text, page
from jaxopt_bench.reports.run import assign_run_styles, run_sections
from jaxopt_bench.reports.style import GREY, MOST_HUES, SeriesStyle, assign_styles
from jaxopt_bench.reports.suite_table import suite_table
from jaxopt_bench.reports.table import Table
from jaxopt_bench.reports.workload_data import WorkloadData, split_runs, split_study
from jaxopt_bench.results import Results, describe_repeats, drop_repeated_runs
from jaxopt_bench.results.columns import VERSION
from jaxopt_bench.runs import load_evaluation, load_run
from jaxopt_bench.strict_json import json_text, parse_json
from jaxopt_bench.study import HALVING, Document
from jaxopt_bench.user_config import UserDefined
from jaxopt_bench.verdict import (
    SuiteVerdict,
    Verdict,
    compute_suite_verdict,
    describe_scores,
    describe_sensitivity,
    describe_suite_verdict,
    judge_claims,
    paragraphs,
    verdict,
)

FigureOrTable = TypeVar("FigureOrTable", Figure, Table)

PAGE = "index.html"
FILES = "files.json"
"""The file of a report that names its figures and tables."""
CONFIG = "config.json"
FEW_WORKLOADS = 3
"""A page shows all tables and charts of each workload if the study has at most this number of workloads."""
MOST_HIGHLIGHTED = 5
"""The number of optimizers with colours if there are more than `MOST_HUES`; the others are grey."""
JSON_MARKS = r'["{}:]'
"""The characters of a JSON object that the page leaves out."""


def write(report: Report, folder: pathlib.Path) -> None:
    """Writes a report: its page, `index.html`, and a set of files for each figure and table.

    Args:
      report: the report to write.
      folder: the folder of the report; created if it is missing. Files with the same names are replaced. `FILES` names
        the figures and tables of an earlier report; those that this report does not have are removed. Nothing else is
        changed.

    Raises:
      UserError: if one of these names is a symbolic link.
      OSError: if one of these names is a folder, or the file system refuses.
    """
    for subfolder in (folder / "figures", folder / "tables"):
        subfolder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(subfolder)
    remove_leftovers(folder)
    written = [f"figures/{name}" for each in report.figures for name in each.save(folder / "figures", report.styles)]
    written += [f"tables/{name}" for table in report.tables for name in table.save(folder / "tables")]
    for name in set(_written_before(folder)).difference(written):
        (folder / name).unlink()
    with replacing(folder / FILES, follow_links=False) as (file, _):
        file.write(json_text(written).encode())
    write_page(report, folder)  # last, because the page refers to the other files


def write_page(report: Report, folder: pathlib.Path, refresh: float | None = None) -> None:
    """Writes only the page of a report, into a folder that is created if it is missing.

    Args:
      report: the report to write.
      folder: the folder of the page.
      refresh: the number of seconds after which a browser loads the page again; None for never.

    Raises:
      UserError: if the page's name is a symbolic link.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / PAGE, follow_links=False) as (file, _):
        file.write(page(report, refresh).encode())


def _written_before(folder: pathlib.Path) -> list[str]:
    """Returns the names of the regular files that an earlier report wrote into the subfolders of a folder."""
    try:
        names = parse_json((folder / FILES).read_text())
    except (OSError, ValueError):  # there is no such file, an earlier version wrote it, or a person changed it
        return []
    own = [name for name in names if isinstance(name, str) and re.fullmatch(r"(figures|tables)/[^/]+", name)]
    return [name for name in own if (folder / name).is_file() and not (folder / name).is_symlink()]


def report_of(results: Results, name: str, recorded: Collection[str] = ()) -> Report:
    """Returns the report of the loaded results: of a single run, of studies, of runs of no study, or of all of these.

    Args:
      results: the results of a study, of a run, or of any runs together.
      name: the title of the report if there is not exactly one study to give it.
      recorded: contenders whose runs were recorded before those of the others; their seconds are marked.

    Raises:
      UserError: if two studies have the same name and are not copies of the same study.
    """
    results, repeats = drop_repeated_runs(results)
    if len(results.runs) == 1 and not results.documents and (pathlib.Path(results.runs["path"][0]) / CONFIG).exists():
        return _of_run(results)
    names = [document.study.name for document in results.documents]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"two studies are called {twice!r}. Expected: the folder of one of them.")
    studies = [_read_study(results, document, recorded) for document in results.documents]
    others = results.runs.filter(pl.col("study").is_null() | ~pl.col("study").is_in(names))
    loose = split_runs(dataclasses.replace(results, runs=others)) if len(others) else []
    if len(loose) + sum(len(each.subjects) for each in studies) > 1:
        tags = _Tags()
        several = len(studies) + len(loose) > 1
        studies = [each.tagged(tags, several) for each in studies]
        loose = [dataclasses.replace(subject, tag=tags.new(subject.workload)) for subject in loose]
    subjects = [subject for each in studies for subject in each.subjects] + loose
    names = list(dict.fromkeys(name for each in studies for name in each.best_first))
    names = list(dict.fromkeys([*names, *(name for subject in subjects for name in subject.series)]))
    shown = {name for subject in subjects for name in subject.runs["series"]}
    highlighted = [name for each in studies for name in each.highlighted] if len(shown) > MOST_HUES else []
    with_runs = assign_styles([name for name in names if name in shown], highlighted)
    found = {name: with_runs.get(name, GREY) for name in names}
    sections = [section for each in studies for section in _study_sections(each, found)]
    sections += [section for subject in loose for section in _unstudied_sections(subject, found)]
    sections.append(_provenance(results, results.documents, repeats))
    only = studies[0].document.study if len(studies) == 1 and not loose else None
    return Report(only.name if only else name, only.question if only else "", tuple(sections), found)


class _Tags:
    """Prefixes of file names. They contain only safe characters, and no prefix is used twice."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def new(self, *names: str) -> str:
        """Returns a new tag made of some names."""
        base = re.sub(r"[^\w.-]+", "_", "-".join(names))[:80]
        tag = unused_name(base, self._given, "{}-{}")
        self._given.add(tag)
        return f"{tag}-"


@dataclasses.dataclass(frozen=True)
class _StudyReport:
    """A study, its verdict and its workloads. The tag is empty if the report is only about this study."""

    document: Document
    results: Results
    verdict: Verdict
    suite: SuiteVerdict | None
    subjects: list[WorkloadData]
    recorded: Collection[str] = ()
    tag: str = ""

    def tagged(self, tags: _Tags, several: bool) -> _StudyReport:
        own = [self.document.study.name] if several else []
        subjects = [dataclasses.replace(s, tag=tags.new(*own, s.workload)) for s in self.subjects]
        return dataclasses.replace(self, subjects=subjects, tag=tags.new(*own) if own else "")

    @property
    def best_first(self) -> list[str]:
        """The contenders in the order of their score over all workloads; empty if there are no scores."""
        return [] if self.suite is None else [*self.suite.scores]

    @property
    def highlighted(self) -> list[str]:
        """The contenders with colours if there are many: those of the user, the reference, and the best."""
        contenders = self.document.study.contenders
        own = [c.name for c in contenders if isinstance(c.optimizer, UserDefined)]
        reference = [] if self.suite is None or self.suite.reference is None else [self.suite.reference]
        return list(dict.fromkeys([*own, *reference, *self.best_first]))[: max(MOST_HIGHLIGHTED, len(own) + 1)][
            :MOST_HUES
        ]

    @property
    def suffix(self) -> str:
        """The end of the titles of the study's sections."""
        return f" ({self.document.study.name})" if self.tag else ""


def _read_study(results: Results, document: Document, recorded: Collection[str]) -> _StudyReport:
    own = dataclasses.replace(results, runs=results.runs.filter(pl.col("study") == document.study.name))
    found = verdict(own, document)
    return _StudyReport(
        document, own, found, compute_suite_verdict(own, document, found), split_study(own, document, found), recorded
    )


def _of_run(results: Results) -> Report:
    path = pathlib.Path(results.runs["path"][0])
    run, evaluation = load_run(path), load_evaluation(path)
    found = assign_run_styles(evaluation)
    sections = [*run_sections(run, results, evaluation, found), _provenance(results, [])]
    return Report(run.config["experiment"]["name"], str(path.name), tuple(sections), found)


def _study_sections(study: _StudyReport, found: Mapping[str, SeriesStyle]) -> Iterator[Section]:
    end = study.suffix
    if study.tag and study.document.study.question:
        yield Section(study.document.study.name, (Text(study.document.study.question),))
    many = study.suite is not None and len(study.subjects) > FEW_WORKLOADS
    if study.suite is not None:
        together = tuple(_answer_over_all(study, study.suite, found))
        yield Section(f"The answer over all workloads{end}", together, brief=True)
    for subject in study.subjects:
        if many:
            yield from _small_section(study, subject, found, end)
        else:
            yield Section(f"The answer{_on_workload(subject)}{end}", tuple(_answer(study, subject)), brief=True)
    if (claimed := tables.claims_table(judge_claims(study.results, study.document))) is not None:
        yield Section(f"Claims{end}", (Tabular(_with_prefix(claimed, study.tag)),))
    for subject in [] if many else study.subjects:
        yield from _chart_sections(subject, found, end)
    yield Section(f"Protocol{end}", (Items(tuple(study.document.protocol)),))


def _answer_over_all(study: _StudyReport, together: SuiteVerdict, found: Mapping[str, SeriesStyle]) -> Iterator[Block]:
    """Yields the answer over all workloads, in words, as tables and as charts."""
    yield Text(describe_suite_verdict(together), lead=True)
    yield Tabular(_with_prefix(suite_table(together), study.tag))
    figures = [*suite_figures(together, found)]
    if (said := describe_scores(study.verdict)) is not None:
        yield Text(said)
        figures += [figure] if (figure := profiles(study.verdict, found)) is not None else []
    yield Figures(tuple(_with_prefix(figure, study.tag) for figure in figures))


def _small_section(
    study: _StudyReport, subject: WorkloadData, found: Mapping[str, SeriesStyle], end: str
) -> Iterator[Section]:
    """Yields the section of one of many workloads: its table of results, and a few charts."""
    assert subject.ranking is not None, "a study's subjects have one"
    table = tables.ranking_table(study.verdict, subject.ranking, study.recorded)
    blocks: list[Block] = [Tabular(_with_prefix(table, subject.tag))] if table.rows else []
    if figures := _drawn(SMALL_CHARTS, subject, found):
        blocks.append(Figures(figures))
    if blocks:
        yield Section(f"{subject.workload}{end}", tuple(blocks))


def _drawn(charts: Sequence[Chart], subject: WorkloadData, found: Mapping[str, SeriesStyle]) -> tuple[Figure, ...]:
    """Returns the charts of a workload that have data to show."""
    drawn = [figure for chart in charts if (figure := chart(subject, found)) is not None]
    return tuple(_with_prefix(figure, subject.tag) for figure in drawn)


def _answer(study: _StudyReport, subject: WorkloadData) -> Iterator[Block]:
    found = study.verdict
    assert subject.ranking is not None, "a study's subjects have one"
    answer, *more = paragraphs(found, subject.ranking)
    yield Text(answer, lead=True)
    yield from map(Text, more)
    if (said := describe_sensitivity(subject.ranking)) is not None:
        yield Text(said)
    for table in (
        tables.ranking_table(found, subject.ranking, study.recorded),
        tables.pairs_table(found, subject.ranking),
        tables.selection_table(subject.ranking),
        tables.finalists_table(found, subject.ranking),
    ):
        if table is not None and table.rows:
            yield Tabular(_with_prefix(table, subject.tag))


def _unstudied_sections(subject: WorkloadData, found: Mapping[str, SeriesStyle]) -> Iterator[Section]:
    lead = Text(
        "These runs are not part of a study. Their optimizers may be tuned in different ways, so no winner is named.",
        lead=True,
    )
    table = Tabular(_with_prefix(tables.settings_table(subject), subject.tag))
    yield Section(f"Results{_on_workload(subject)}", (lead, table), brief=True)
    yield from _chart_sections(subject, found)


def _chart_sections(subject: WorkloadData, found: Mapping[str, SeriesStyle], end: str = "") -> Iterator[Section]:
    renamed = _drawn(CHARTS, subject, found)
    costs = [t for t in (tables.divergence_table(subject), tables.cost_table(subject)) if t is not None]
    if renamed:
        yield Section(f"Charts{_on_workload(subject)}{end}", (Figures(renamed),), brief=True)
    if costs:
        blocks = tuple(Tabular(_with_prefix(table, subject.tag)) for table in costs)
        yield Section(f"Divergences and cost{_on_workload(subject)}{end}", blocks)


def _on_workload(subject: WorkloadData) -> str:
    return f" on {subject.workload}" if subject.tag else ""


def _with_prefix(item: FigureOrTable, tag: str) -> FigureOrTable:
    """Returns a figure or table with a tag before its name, so that file names are unique."""
    return dataclasses.replace(item, name=f"{tag}{item.name}")


def _provenance(results: Results, documents: Sequence[Document], repeats: int = 0) -> Section:
    """Returns the hardware and software of the runs, the number of omitted repeats, and commands to repeat the runs."""
    runs = results.runs
    versions = [n for n in runs.columns if n.startswith(VERSION) and runs[n].count()]
    said = [f"{name.removeprefix(VERSION)} {_values(runs[name])}" for name in versions]
    names = ("backend", "device", "devices", "threads")
    hardware = [f"{name}: {_values(runs[name])}" for name in names if runs[name].count()]
    paths = runs["code_path"].drop_nulls().unique(maintain_order=True)
    hardware += [f"code path: {re.sub(JSON_MARKS, '', path)}" for path in paths]
    revision = [f"source revision: {_values(runs['revision'])}"] if runs["revision"].count() else []
    moved = int((runs["environments"] > 1).sum())
    elsewhere = [
        f"{moved:,} of {len(runs):,} runs were continued in another environment; the last one is shown"
    ] * bool(moved)
    left_out = [f"{describe_repeats(repeats)} left out"] * bool(repeats)
    blocks: list[Block] = [Items((f"versions: {', '.join(said)}", *hardware, *revision, *elsewhere, *left_out))]
    blocks += [Code(_command(document)) for document in documents if not _was_widened(document)]
    if documents:
        again = "If you have the folder of a study, jaxopt-bench compare FOLDER --out NEW trains all its runs again."
        blocks.append(Text(again))
    return Section("Software, hardware and commands", tuple(blocks))


def _values(column: pl.Series) -> str:
    found = column.drop_nulls().unique(maintain_order=True).to_list()
    more = f" and {len(found) - 4} others" if len(found) > 4 else ""
    return ", ".join(map(str, found[:4])) + more


def _was_widened(document: Document) -> bool:
    """Returns whether search spaces have extensions, which the flags of a command cannot repeat."""
    return any(contender.extensions for contender in document.study.contenders)


def _command(document: Document) -> str:
    """Returns the command that repeats a study, if it is one of the project's or is in a file of that name."""
    study = document.study
    words = ["jaxopt-bench", "compare", study.name]
    budget = {"trials": study.trials, "total-epochs": study.total_epochs, "trial-seeds": study.trial_seeds}
    again = {"finalists": study.finalists} | ({"finalist-seeds": study.finalist_seeds} if study.finalists else {})
    numbers = {**budget, **again, "seeds": study.seeds, "repetitions": study.repetitions}
    words += [word for flag, value in numbers.items() if value is not None for word in (f"--{flag}", str(value))]
    epochs = {workload.epochs for workload in study.workloads}
    words += ["--epochs", str(*epochs)] if len(epochs) == 1 else []
    words += ["--search", study.search]
    if study.search == HALVING:
        words += ["--halving-factor", str(study.halving_factor)]
        words += ["--halving-rungs", str(study.halving_rungs)]
    words += ["--workloads", *(w.name for w in study.workloads)]
    return shlex.join([*words, "--optimizers", *(c.name for c in study.contenders)])
