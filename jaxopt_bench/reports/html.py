"""A report as one HTML file. The page loads nothing from outside: the file contains all that it needs."""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import importlib.resources
import json
from collections.abc import Mapping
from typing import Any, ClassVar

import jinja2
import markupsafe
import vl_convert

from jaxopt_bench.reports.figure import VERSION, Figure
from jaxopt_bench.reports.style import SHAPES, SeriesStyle, config
from jaxopt_bench.reports.table import Table


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph; a leading paragraph is larger."""

    text: str
    lead: bool = False
    kind: ClassVar[str] = "text"


@dataclasses.dataclass(frozen=True)
class Items:
    """A list of sentences."""

    sentences: tuple[str, ...]
    kind: ClassVar[str] = "list"


@dataclasses.dataclass(frozen=True)
class Code:
    """A command."""

    text: str
    kind: ClassVar[str] = "code"


@dataclasses.dataclass(frozen=True)
class Tabular:
    """A table."""

    table: Table
    kind: ClassVar[str] = "table"


@dataclasses.dataclass(frozen=True)
class Figures:
    """Charts, side by side if there is room."""

    figures: tuple[Figure, ...]
    kind: ClassVar[str] = "figures"


@dataclasses.dataclass(frozen=True)
class Image:
    """A small picture: its source (a data: URL), its alternative text, and its caption."""

    source: str
    alt: str
    caption: str


@dataclasses.dataclass(frozen=True)
class Images:
    """Small pictures in rows, below a heading and a sentence."""

    title: str
    text: str
    images: tuple[Image, ...]
    kind: ClassVar[str] = "images"


@dataclasses.dataclass(frozen=True)
class Texts:
    """Lines of text in a monospaced font, below a heading and a sentence."""

    title: str
    text: str
    texts: tuple[str, ...]
    kind: ClassVar[str] = "texts"


Block = Text | Items | Code | Tabular | Figures | Images | Texts


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
      title: its title.
      blocks: its content.
      brief: whether a notebook shows it, too.
    """

    title: str
    blocks: tuple[Block, ...]
    brief: bool = False


@dataclasses.dataclass(frozen=True)
class Report:
    """The contents of a page.

    Attributes:
      title: the title of the page.
      question: the question that the page answers.
      sections: the sections from top to bottom.
      styles: the styles of the optimizers, in the order of the legend.
    """

    title: str
    question: str
    sections: tuple[Section, ...]
    styles: Mapping[str, SeriesStyle]

    @property
    def figures(self) -> list[Figure]:
        """All its charts."""
        return [f for s in self.sections for b in s.blocks if isinstance(b, Figures) for f in b.figures]

    @property
    def tables(self) -> list[Table]:
        """All its tables."""
        return [b.table for s in self.sections for b in s.blocks if isinstance(b, Tabular)]


def page(report: Report, refresh: float | None = None) -> str:
    """Returns the page as HTML. Names, configurations and metrics are escaped, so that they are only text.

    Args:
      report: the report to show.
      refresh: the number of seconds after which a browser loads the page again; None for never.
    """
    figures = report.figures
    assert len({figure.name for figure in figures}) == len(figures), "each is found by its name"
    clocks = _clocks(figures)
    drawn = {name for f in figures for t in f.data.values() if "series" in t.columns for name in t["series"]}
    data = {
        "figures": {f.name: _figure(f) for f in figures},
        "series": [name for name in report.styles if name in drawn],
        "themes": {theme: config(theme, report.styles) for theme in ("light", "dark", "paper")},
        "clocks": clocks,
    }
    bundle, script = _in_script(_bundle()) if figures else "", resource("page.js")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(resource("page.html")).render(
        report=report,
        refresh=refresh,
        figures=figures,
        legend={name: look for name, look in report.styles.items() if name in drawn},
        symbols=SHAPES,
        clocks=clocks,
        css=markupsafe.Markup(resource("page.css")),
        data=markupsafe.Markup(in_html(json.dumps(data, allow_nan=False, separators=(",", ":")))),
        bundle=markupsafe.Markup(bundle),
        script=markupsafe.Markup(script),
        script_hashes=markupsafe.Markup(" ".join(script_hash(text) for text in (bundle, script))),
    )


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "spec": figure.spec(),
        "data": figure.values(),
        "columns": dict(figure.columns),
        "over_time": figure.over_time,
        "zoom": figure.zoomable,
    }


def _clocks(figures: list[Figure]) -> dict[str, str]:
    """Returns the possible units of x in charts over time, with words for each; empty if no chart is over time."""
    tables = [table for f in figures if f.over_time for table in f.data.values()]
    names = {"epoch": "epoch", "step": "steps", "seconds": "seconds of training"}
    return {n: words for n, words in names.items() if tables and all(n in t and t[n].count() == len(t) for t in tables)}


@functools.cache
def _bundle() -> str:
    """Returns Vega, Vega-Lite and Vega-Embed as one script."""
    return vl_convert.javascript_bundle(vl_version=VERSION)  # type: ignore[call-arg]  # the stub wants a snippet


def resource(name: str) -> str:
    return (importlib.resources.files("jaxopt_bench.reports") / "page" / name).read_text(encoding="utf-8")


def script_hash(script: str) -> str:
    """Returns a script's hash for the Content-Security-Policy, so that no other script can run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def in_html(text: str) -> str:
    """Returns JSON that cannot end the HTML element around it."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _in_script(script: str) -> str:
    """Returns a script whose strings cannot end the element around it."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
