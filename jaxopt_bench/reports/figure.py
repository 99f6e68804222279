"""A chart as data: one specification for the page and for files."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import pathlib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import altair as alt
import polars as pl
import vl_convert

from jaxopt_bench.files import replacing
from jaxopt_bench.reports.style import Look, config

Format = Literal["svg", "pdf", "png"]
FORMATS: tuple[Format, ...] = ("svg", "pdf", "png")
VERSION = alt.SCHEMA_VERSION.lstrip("v").rpartition(".")[0]  # of Vega-Lite, as vl-convert names it
COLUMN = 250  # points: the width of one of two columns
PAGE_WIDTH = 2 * COLUMN + 20  # points: both columns and the gap between them
HEIGHT = 150
PNG_SCALE = 4  # 288 pixels to the inch
HOVER = "hover"  # the name of a layer that is seen under a pointer alone, so in no file
DIGITS = 6  # significant digits of a number that is drawn


@dataclasses.dataclass(frozen=True)
class Figure:
    """A chart.

    Attributes:
      name: of its files, and in the page's address.
      title: what it is called.
      text: what can be seen in it and how to read it; also for those who do not see it.
      chart: the specification, whose data are named.
      data: the tables by those names.
      columns: what the columns of the first table are called for readers of the numbers; others are left out.
      over_time: whether x is time, and y may be logarithmic.
      wide: whether it needs the width of the page.
      both_columns: whether its files have the width of both columns of a paper.
      zoomable: whether both axes are of numbers.
      square: whether it should be about as high as it is wide.
    """

    name: str
    title: str
    text: str
    chart: alt.TopLevelMixin
    data: Mapping[str, pl.DataFrame]
    columns: Mapping[str, str]
    over_time: bool = False
    wide: bool = False
    both_columns: bool = False
    zoomable: bool = True
    square: bool = False

    def spec(self) -> dict[str, Any]:
        """Returns the specification in Vega-Lite, without data."""
        return self.chart.to_dict(validate=False)

    def values(self) -> dict[str, dict[str, list[Any]]]:
        """Returns the data by table and column, as JSON values; what is not finite is null."""
        return {name: {c: [_value(v) for v in table[c]] for c in table.columns} for name, table in self.data.items()}

    def save(self, folder: pathlib.Path, looks: Mapping[str, Look], formats: Sequence[Format] = FORMATS) -> list[str]:
        """Writes the figure into files, in the width of one of two columns, or of both. Returns the names of the files.

        Args:
          folder: that is there.
          looks: of the optimizers, in the order of the report.
          formats: the ends of the files' names.
        """
        spec = self.spec() | {"config": config("paper", looks)}
        spec |= {"width": PAGE_WIDTH if self.both_columns else COLUMN, "height": spec.get("height", HEIGHT)}
        spec["autosize"] = {"type": "fit-x", "contains": "padding"}
        spec["datasets"] = {
            name: [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            for name, columns in self.values().items()
        }
        if "layer" in spec:
            spec["layer"] = [layer for layer in spec["layer"] if layer.get("name") != HOVER]
        svg = vl_convert.vegalite_to_svg(json.dumps(spec), vl_version=VERSION)
        for form in formats:
            with replacing(folder / f"{self.name}.{form}", follow_links=False) as (file, _):
                file.write(_render(svg, form))
        return [f"{self.name}.{form}" for form in formats]


def colour(looks: Mapping[str, Look], symbol: str | None = None) -> alt.Color:
    """Returns the encoding of optimizers as colours, which a theme's palette names in the same order.

    Args:
      looks: of all optimizers of the report, in their order.
      symbol: that stands for them in a file's legend: "stroke", "dot", or None for a mark that has no part in it.
    """
    legend = None if symbol is None else alt.Legend(**_LEGENDS[symbol])
    return alt.Color("series:N", scale=alt.Scale(domain=list(looks), range="category"), legend=legend)


def shape(looks: Mapping[str, Look], symbol: str | None = None) -> alt.Shape:
    """Returns the encoding of optimizers as shapes; see `colour`."""
    scale = alt.Scale(domain=list(looks), range=[look.shape for look in looks.values()])
    return alt.Shape("series:N", scale=scale, legend=None if symbol is None else alt.Legend(**_LEGENDS[symbol]))


def dash(looks: Mapping[str, Look], symbol: str | None = None) -> alt.StrokeDash:
    """Returns the encoding of optimizers as dashes; see `colour`."""
    scale = alt.Scale(domain=list(looks), range=[list(look.dash) for look in looks.values()])
    return alt.StrokeDash("series:N", scale=scale, legend=None if symbol is None else alt.Legend(**_LEGENDS[symbol]))


LINEAR: Mapping[str, Any] = {
    "scale": alt.Scale(zero=False, nice=False, padding=8),
    "axis": alt.Axis(format=".6~g", tickCount=6),
}
LOG: Mapping[str, Any] = {
    "scale": alt.Scale(type="log", nice=False, padding=8),
    "axis": alt.Axis(format=".4~g", tickCount=5),
}
"""Axes of numbers, none of which begins at zero for its own sake."""

_LEGENDS: Mapping[str, Mapping[str, Any]] = {
    "stroke": {"symbolType": "stroke", "symbolSize": 250, "symbolOpacity": 1},
    "dot": {"symbolOpacity": 1},
}


def hideable() -> alt.Parameter:
    """Returns the parameter that names the optimizers which the page's legend has switched off."""
    return alt.param(name="hidden", value=[])


def without_hidden(chart: alt.Chart) -> alt.Chart:
    """Returns a chart without the optimizers that are switched off."""
    return chart.transform_filter("indexof(hidden, datum.series) < 0")


LOG_FROM = 20.0
"""The ratio of the greatest value to the least from which on an axis is logarithmic."""


def spans_orders(*columns: pl.Series) -> bool:
    """Returns whether numbers are positive, and so far apart that a logarithmic axis shows them better."""
    ends = [extent(column) for column in columns if column.count()]
    least, greatest = min(end[0] for end in ends), max(end[1] for end in ends)
    return least > 0 and greatest / least > LOG_FROM


def scale_from(low: float, high: float, logarithmic: bool) -> alt.Scale:
    """Returns a scale from one number to another."""
    kind = {"type": "log"} if logarithmic else {"zero": False}
    return alt.Scale(domain=[low, high], nice=False, **kind)


def unused_name(name: str, used: Collection[str], form: str) -> str:
    """Returns a name that is not used yet: the name itself, or else the name with the lowest free number from 2.

    Args:
      name: the preferred name.
      used: names that are used already.
      form: how a number is added to the name, such as "{}-{}".
    """
    numbered = (form.format(name, number) for number in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if each not in used)


def file_name(words: str) -> str:
    """Returns words as a name that is safe for files and for the page's address: "test-error"."""
    return re.sub(r"[^\w.-]+", "-", words.lower()).strip("-.")[:60] or "figure"


def axis(*columns: pl.Series, logarithmic: bool = True) -> Mapping[str, Any]:
    """Returns scale and axis of some numbers: logarithmic where that is asked for and all of them have logarithms."""
    values = [column.drop_nulls() for column in columns]
    return LOG if logarithmic and all(extent(v)[0] > 0 for v in values if len(v)) else LINEAR


def extent(numbers: pl.Series) -> tuple[float, float]:
    """Returns the least and the greatest of some numbers, which must be there."""
    values = numbers.drop_nulls().to_numpy()
    return float(values.min()), float(values.max())


def _render(svg: str, form: Format) -> bytes:
    if form == "svg":
        return svg.encode()
    if form == "pdf":
        return vl_convert.svg_to_pdf(svg)
    return vl_convert.svg_to_png(svg, scale=PNG_SCALE)


def _value(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
