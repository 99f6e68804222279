"""The display of a run, a study, results, and a verdict in a notebook: HTML with tables and pictures, without scripts.

The HTML is stored in the notebook, so it is short: the answer, the table of results, and the most important charts.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterator

import jinja2

from jaxopt_bench.errors import UserError
from jaxopt_bench.reports import tables
from jaxopt_bench.reports.figure import Figure
from jaxopt_bench.reports.html import Block, Figures, Items, Report, Section, Tabular, Text, resource
from jaxopt_bench.reports.report import report_of
from jaxopt_bench.reports.table import Table
from jaxopt_bench.results import Results, load
from jaxopt_bench.runs import Run
from jaxopt_bench.study import Study, protocol
from jaxopt_bench.verdict import Verdict, paragraphs

MOST_FIGURES = 2
"""The maximum number of charts of a section."""


def notebook_html(shown: object) -> str | None:
    """Returns an object as HTML for a notebook.

    Args:
      shown: a run, a study, results, or a verdict.

    Returns:
      The HTML; None if the files of a run cannot be read any more. A notebook then shows the object's `repr`.

    Raises:
      TypeError: for another object.
    """
    path: str | None = None
    try:
        match shown:
            case Run():
                report, path = report_of(load(shown.path), shown.path.name), str(shown.path)
            case Results():
                report, path = report_of(shown, "Runs"), shown.folder
            case Verdict():
                report = _verdict_report(shown)
            case Study():
                rules = Section("Protocol", (Items(tuple(protocol(shown))),), brief=True)
                report = Report(shown.name, shown.question, (rules,), {})
            case _:
                raise TypeError(f"{type(shown).__name__} has no display. Expected: Run, Study, Results or Verdict.")
    except UserError:
        return None
    note = "" if path is None else f"All figures and tables: jaxopt-bench report {path}"
    return _html(report, note)


def _verdict_report(found: Verdict) -> Report:
    sections = []
    for ranking in found.rankings:
        answer, table = paragraphs(found, ranking)[0], tables.ranking_table(found, ranking)
        sections.append(Section(ranking.workload, (Text(answer, lead=True), Tabular(table)), brief=True))
    return Report(found.study.name, found.study.question, tuple(sections), {})


def _html(report: Report, note: str) -> str:
    """Returns the brief sections of a report as HTML. Names and texts are escaped."""

    def picture(figure: Figure) -> str:
        return f"data:image/svg+xml;base64,{base64.b64encode(figure.svg(report.styles).encode()).decode()}"

    def side(table: Table, column: int) -> str:
        return "right" if column in table.numeric else "left"

    sections = [
        dataclasses.replace(section, blocks=tuple(_brief(section))) for section in report.sections if section.brief
    ]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(resource("notebook.html"))
    return template.render(
        title=report.title, question=report.question, sections=sections, note=note, picture=picture, side=side
    )


def _brief(section: Section) -> Iterator[Block]:
    """Yields the blocks of a section that a notebook shows: leading paragraphs, the first table, the first charts."""
    any_table = False
    for block in section.blocks:
        match block:
            case Text(lead=True) | Items():
                yield block
            case Tabular() if not any_table:
                any_table = True
                yield block
            case Figures():
                yield Figures(block.figures[:MOST_FIGURES])
