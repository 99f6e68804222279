"""A report: what a page says of a study, of a run, or of any runs, and the files beside it."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import polars as pl

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
    """
    if len(results.runs) == 1 and not results.documents and (pathlib.Path(results.runs["path"][0]) / CONFIG).exists():
        return _of_run(results)
    studies = [(d, v, of_study(results, d, v)) for d in results.documents for v in [verdict(results, d)]]
    others = results.runs.filter(pl.col("study").is_null())
    loose = of_runs(dataclasses.replace(results, runs=others)) if len(others) else []
    subjects = [s for _, _, found in studies for s in found] + loose
    optimizers = list(dict.fromkeys(name for s in subjects for name in s.series))
    found_looks = looks(optimizers)
    sections: list[Section] = []
    for document, found, own in studies:
        several = len(subjects) > 1
        sections += _study(results, document, found, own, found_looks, several)
    for subject in loose:
        sections += _loose(subject, found_looks, len(subjects) > 1)
    sections.append(_provenance(results, [d for d, _, _ in studies]))
    title = studies[0][0].study.name if len(studies) == 1 and not loose else name
    question = studies[0][0].study.question if len(studies) == 1 else ""
    return Report(title, question, tuple(sections), found_looks)


def _of_run(results: Results) -> Report:
    path = pathlib.Path(results.runs["path"][0])
    run, found = load_run(path), run_looks()
    sections = [*run_sections(run, results, load_evaluation(path), found), _provenance(results, [])]
    return Report(run.experiment.name, str(path.name), tuple(sections), found)


def _study(
    results: Results,
    document: Document,
    found: Verdict,
    subjects: Sequence[Subject],
    found_looks: Mapping[str, Look],
    several: bool,
) -> Iterator[Section]:
    answered = answers(results, document)
    for subject in subjects:
        assert subject.ranking is not None, "a study's subjects have one"
        yield Section(f"The answer{_on(subject, several)}", tuple(_answer(found, subject, several)))
    across = [f for f in [profiles(found, found_looks)] if f is not None]
    if across or found.scores:
        said = scores_in_words(found)
        blocks: list[Block] = [Figures(tuple(across))] if across else []
        yield Section("Over all workloads", (*([Text(said)] if said else []), *blocks))
    if (claimed := tables.claims(answered)) is not None:
        yield Section("What others have said", (Tabular(claimed),))
    for subject in subjects:
        yield from _charts(subject, found_looks, several)
    yield Section("Protocol", (Items(tuple(protocol(document.study))),))


def _answer(found: Verdict, subject: Subject, several: bool) -> Iterator[Block]:
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
            yield Tabular(_renamed(table, subject, several))


def _loose(subject: Subject, found_looks: Mapping[str, Look], several: bool) -> Iterator[Section]:
    lead = Text(
        "These runs belong to no study. Nothing says that their optimizers were tuned alike, so no winner is named.",
        lead=True,
    )
    yield Section(
        f"Results{_on(subject, several)}", (lead, Tabular(_renamed(tables.settings(subject), subject, several)))
    )
    yield from _charts(subject, found_looks, several)


def _charts(subject: Subject, found_looks: Mapping[str, Look], several: bool) -> Iterator[Section]:
    drawn = [figure for chart in CHARTS if (figure := chart(subject, found_looks)) is not None]
    renamed = [_renamed(figure, subject, several) for figure in drawn]
    costs = [t for t in (tables.diverged(subject), tables.cost(subject)) if t is not None]
    if renamed:
        yield Section(f"Charts{_on(subject, several)}", (Figures(tuple(renamed)),))
    if costs:
        blocks = tuple(Tabular(_renamed(table, subject, several)) for table in costs)
        yield Section(f"Divergences and cost{_on(subject, several)}", blocks)


def _on(subject: Subject, several: bool) -> str:
    return f" on {subject.workload}" if several else ""


def _renamed(shown: Shown, subject: Subject, several: bool) -> Shown:
    """Returns a figure or table whose files no other's replace."""
    if not several:
        return shown
    study = f"{subject.study.name}-" if subject.study else ""
    return dataclasses.replace(shown, name=f"{study}{subject.workload}-{shown.name}")


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
