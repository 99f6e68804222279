"""A report: what a page says of a study, of a run, or of any runs, and the files beside it."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import polars as pl

from jaxopt_bench.errors import UserError
from jaxopt_bench.files import replacing
from jaxopt_bench.reports import tables
from jaxopt_bench.reports.charts import CHARTS, profiles
from jaxopt_bench.reports.figure import Figure
from jaxopt_bench.reports.html import Block, Code, Figures, Items, Report, Section, Tabular, Text, page
from jaxopt_bench.reports.run import run_looks, run_sections
from jaxopt_bench.reports.style import Look, looks
from jaxopt_bench.reports.subject import Subject, of_runs, of_study
from jaxopt_bench.results import Document, Results, Verdict, answers, paragraph, protocol, verdict
from jaxopt_bench.results.columns import VERSION
from jaxopt_bench.results.words import scores_in_words, sensitivity_in_words
from jaxopt_bench.runs import load_evaluation, load_run

Shown = TypeVar("Shown", Figure, tables.Table)

PAGE = "index.html"
CONFIG = "config.json"


def write(report: Report, folder: pathlib.Path) -> None:
    """Writes a report: its page, `index.html`, and each figure and table in files of its own.

    Args:
      report: what is written.
      folder: made where it is missing; files of the same names are replaced.
    """
    for name in ("figures", "tables"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for figure in report.figures:
        figure.save(folder / "figures", report.looks)
    for table in report.tables:
        table.save(folder / "tables")
    with replacing(folder / PAGE) as (file, _):  # last: what it says is there
        file.write(page(report).encode())


def report_of(results: Results, name: str) -> Report:
    """Returns the report of whatever was loaded: of a single run, of studies, of runs of none, or of all together.

    Args:
      results: a study's, a run's, or any others together.
      name: of what they are, where no study says it.

    Raises:
      UserError: where two studies have the same name.
    """
    if len(results.runs) == 1 and not results.documents and (pathlib.Path(results.runs["path"][0]) / CONFIG).exists():
        return _of_run(results)
    names = [document.study.name for document in results.documents]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"two studies are called {twice!r}; accepted: the folder of one of them.")
    studies = [_read(results, document) for document in results.documents]
    others = results.runs.filter(pl.col("study").is_null() | ~pl.col("study").is_in(names))
    loose = of_runs(dataclasses.replace(results, runs=others)) if len(others) else []
    if len(loose) + sum(len(each.subjects) for each in studies) > 1:
        studies = [dataclasses.replace(s, subjects=_tagged(s.subjects, f"{s.document.study.name}-")) for s in studies]
        loose = _tagged(loose)
    found = looks(
        list(dict.fromkeys(n for s in [*(s for each in studies for s in each.subjects), *loose] for n in s.series))
    )
    sections = [section for each in studies for section in _study(each, found)]
    sections += [section for subject in loose for section in _loose(subject, found)]
    sections.append(_provenance(results, results.documents))
    only = studies[0].document.study if len(studies) == 1 and not loose else None
    return Report(only.name if only else name, only.question if only else "", tuple(sections), found)


@dataclasses.dataclass(frozen=True)
class _Studied:
    """A study, what it says, and its workloads."""

    document: Document
    results: Results
    verdict: Verdict
    subjects: list[Subject]


def _read(results: Results, document: Document) -> _Studied:
    own = dataclasses.replace(results, runs=results.runs.filter(pl.col("study") == document.study.name))
    found = verdict(own, document)
    return _Studied(document, own, found, of_study(own, document, found))


def _tagged(subjects: Sequence[Subject], prefix: str = "") -> list[Subject]:
    """Returns subjects with tags that are good in file names, whatever the data sets and models are called."""
    tags = [re.sub(r"[^\w.-]+", "_", f"{prefix}{subject.workload}") for subject in subjects]
    return [
        dataclasses.replace(subject, tag=f"{tag}-{i + 1}-" if tags.count(tag) > 1 else f"{tag}-")
        for i, (subject, tag) in enumerate(zip(subjects, tags, strict=True))
    ]


def _of_run(results: Results) -> Report:
    path = pathlib.Path(results.runs["path"][0])
    run, found = load_run(path), run_looks()
    sections = [*run_sections(run, results, load_evaluation(path), found), _provenance(results, [])]
    return Report(run.experiment.name, str(path.name), tuple(sections), found)


def _study(study: _Studied, found: Mapping[str, Look]) -> Iterator[Section]:
    for subject in study.subjects:
        yield Section(f"The answer{_on(subject)}", tuple(_answer(study.verdict, subject)))
    across = profiles(study.verdict, found)
    said = scores_in_words(study.verdict)
    if across is not None and said is not None:
        yield Section("Over all workloads", (Text(said), Figures((across,))))
    if (claimed := tables.claims(answers(study.results, study.document))) is not None:
        yield Section("What others have said", (Tabular(claimed),))
    for subject in study.subjects:
        yield from _charts(subject, found)
    yield Section("Protocol", (Items(tuple(protocol(study.document.study))),))


def _answer(found: Verdict, subject: Subject) -> Iterator[Block]:
    assert subject.ranking is not None, "a study's subjects have one"
    yield Text(paragraph(found, subject.ranking), lead=True)
    if (said := sensitivity_in_words(subject.ranking)) is not None:
        yield Text(said)
    for table in (
        tables.ranking(found, subject.ranking),
        tables.pairs(subject.ranking),
        tables.selected(subject.ranking),
    ):
        if table is not None and table.rows:
            yield Tabular(_renamed(table, subject))


def _loose(subject: Subject, found: Mapping[str, Look]) -> Iterator[Section]:
    lead = Text(
        "These runs belong to no study. Nothing says that their optimizers were tuned alike, so no winner is named.",
        lead=True,
    )
    yield Section(f"Results{_on(subject)}", (lead, Tabular(_renamed(tables.settings(subject), subject))))
    yield from _charts(subject, found)


def _charts(subject: Subject, found: Mapping[str, Look]) -> Iterator[Section]:
    drawn = [figure for chart in CHARTS if (figure := chart(subject, found)) is not None]
    renamed = [_renamed(figure, subject) for figure in drawn]
    costs = [t for t in (tables.diverged(subject), tables.cost(subject)) if t is not None]
    if renamed:
        yield Section(f"Charts{_on(subject)}", (Figures(tuple(renamed)),))
    if costs:
        blocks = tuple(Tabular(_renamed(table, subject)) for table in costs)
        yield Section(f"Divergences and cost{_on(subject)}", blocks)


def _on(subject: Subject) -> str:
    return f" on {subject.workload}" if subject.tag else ""


def _renamed(shown: Shown, subject: Subject) -> Shown:
    """Returns a figure or table whose files no other's replace."""
    return dataclasses.replace(shown, name=f"{subject.tag}{shown.name}")


def _provenance(results: Results, documents: Sequence[Document]) -> Section:
    """Returns where and with what the runs were made, and how to make them again."""
    runs = results.runs
    versions = [n for n in runs.columns if n.startswith(VERSION) and runs[n].count()]
    said = [f"{name.removeprefix(VERSION)} {_values(runs[name])}" for name in versions]
    names = ("backend", "device", "devices", "threads")
    hardware = [f"{name}: {_values(runs[name])}" for name in names if runs[name].count()]
    hardware += [f"code path: {_unquoted(path)}" for path in runs["code_path"].drop_nulls().unique(maintain_order=True)]
    revision = [f"source revision: {_values(runs['revision'])}"] if runs["revision"].count() else []
    blocks: list[Block] = [Items((f"versions: {', '.join(said)}", *hardware, *revision))]
    for document in documents:
        blocks.append(Code(_command(document)))
    return Section("Made with", tuple(blocks))


def _unquoted(text: str) -> str:
    """Returns a JSON object as people write it."""
    return re.sub(r'["{}:]', "", text)


def _values(column: pl.Series) -> str:
    found = column.drop_nulls().unique(maintain_order=True).to_list()
    more = f" and {len(found) - 4} others" if len(found) > 4 else ""
    return ", ".join(map(str, found[:4])) + more


def _command(document: Document) -> str:
    """Returns the command that repeats a study."""
    study = document.study
    words = ["jaxopt-bench", "compare", study.name]
    budget = {"trials": study.trials, "total-epochs": study.total_epochs}
    for flag, value in {**budget, "trial-seeds": study.trial_seeds, "seeds": study.seeds}.items():
        if value is not None:
            words += [f"--{flag}", str(value)]
    if study.repetitions > 1:
        words += ["--repetitions", str(study.repetitions)]
    return shlex.join(words)
