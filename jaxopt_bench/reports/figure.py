"""A chart as data: the page and the files use the same specification."""

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
from jaxopt_bench.reports.style import SeriesStyle, config

Format = Literal["svg", "pdf", "png"]
FORMATS: tuple[Format, ...] = ("svg", "pdf", "png")
VERSION = alt.SCHEMA_VERSION.lstrip("v").rpartition(".")[0]  # of Vega-Lite, as vl-convert names it
COLUMN = 250  # points: the width of one of two columns
PAGE_WIDTH = 2 * COLUMN + 20  # points: both columns and the gap between them
HEIGHT = 150
PNG_SCALE = 4  # 288 pixels to the inch
HOVER = "hover"  # the name of a layer that is visible only under the pointer, so not in files
DIGITS = 6  # significant digits of drawn numbers


@dataclasses.dataclass(frozen=True)
class Figure:
    """A chart.

    Attributes:
      name: the name of its files, and its name in the address of the page.
      title: the title of the chart.
      text: a description of the chart and how to read it; also for people who cannot see it.
      chart: the specification, with named data.
      data: the data tables, by name.
      columns: the titles of the columns of the first table, for readers of the numbers; other columns are left out.
      over_time: whether x is time, so that y may be logarithmic.
      wide: whether it needs the width of the page.
      both_columns: whether its files have the width of both columns of a paper.
      zoomable: whether both axes are numeric.
      square: whether its height should be about equal to its width.
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
        """Returns the data by table and column, as JSON values; values that are not finite become null."""
        return {name: {c: [_value(v) for v in table[c]] for c in table.columns} for name, table in self.data.items()}

    def save(
        self, folder: pathlib.Path, styles: Mapping[str, SeriesStyle], formats: Sequence[Format] = FORMATS
    ) -> list[str]:
        """Writes the figure to files, one or two columns of a paper wide. Returns the names of the files.

        Args:
          folder: an existing folder.
          styles: the styles of the optimizers, in the order of the report.
          formats: the formats, which are also the file extensions.
        """
        svg = self.svg(styles)
        for form in formats:
            with replacing(folder / f"{self.name}.{form}", follow_links=False) as (file, _):
                file.write(_render(svg, form))
        return [f"{self.name}.{form}" for form in formats]

    def svg(self, styles: Mapping[str, SeriesStyle]) -> str:
        """Returns the figure as SVG, one or two columns of a paper wide, without the parts for a pointer."""
        spec = self.spec() | {"config": config("paper", styles)}
        spec |= {"width": PAGE_WIDTH if self.both_columns else COLUMN, "height": spec.get("height", HEIGHT)}
        spec["autosize"] = {"type": "fit-x", "contains": "padding"}
        spec["datasets"] = {
            name: [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            for name, columns in self.values().items()
        }
        if "layer" in spec:
            spec["layer"] = [layer for layer in spec["layer"] if layer.get("name") != HOVER]
        drawn = {name for table in self.data.values() if "series" in table.columns for name in table["series"]}
        _limit_legends(spec, [name for name in styles if name in drawn])
        return vl_convert.vegalite_to_svg(json.dumps(spec), vl_version=VERSION)


def colour(styles: Mapping[str, SeriesStyle], symbol: str | None = None) -> alt.Color:
    """Returns the colour encoding of optimizers. The palette of a theme lists the colours in the same order.

    Args:
      styles: the styles of all optimizers of the report, in their order.
      symbol: the symbol in the legend of a file: "stroke", "dot", or None for a mark without a legend entry.
    """
    return alt.Color("series:N", scale=alt.Scale(domain=list(styles), range="category"), legend=_legend(symbol))


def shape(styles: Mapping[str, SeriesStyle], symbol: str | None = None) -> alt.Shape:
    """Returns the shape encoding of optimizers; see `colour`."""
    scale = alt.Scale(domain=list(styles), range=[look.shape for look in styles.values()])
    return alt.Shape("series:N", scale=scale, legend=_legend(symbol))


def dash(styles: Mapping[str, SeriesStyle], symbol: str | None = None) -> alt.StrokeDash:
    """Returns the dash encoding of optimizers; see `colour`."""
    scale = alt.Scale(domain=list(styles), range=[list(look.dash) for look in styles.values()])
    return alt.StrokeDash("series:N", scale=scale, legend=_legend(symbol))


LINEAR: Mapping[str, Any] = {
    "scale": alt.Scale(zero=False, nice=False, padding=8),
    "axis": alt.Axis(format=".6~g", tickCount=6),
}
LOG: Mapping[str, Any] = {
    "scale": alt.Scale(type="log", nice=False, padding=8),
    "axis": alt.Axis(format=".4~g", tickCount=5),
}
"""Numeric axes. They do not have to start at zero."""
EQUAL_MARGIN = 0.02
"""The share of a number that an axis shows on each side if all drawn numbers are equal."""

_LEGENDS: Mapping[str, Mapping[str, Any]] = {
    "stroke": {"symbolType": "stroke", "symbolSize": 250, "symbolOpacity": 1},
    "dot": {"symbolOpacity": 1},
}


def _legend(symbol: str | None) -> alt.Legend | None:
    return None if symbol is None else alt.Legend(**_LEGENDS[symbol])


def hideable() -> alt.Parameter:
    """Returns the parameter that lists the optimizers hidden by the legend of the page."""
    return alt.param(name="hidden", value=[])


def without_hidden(chart: alt.Chart) -> alt.Chart:
    """Returns a chart without the hidden optimizers."""
    return chart.transform_filter("indexof(hidden, datum.series) < 0")


LOG_FROM = 20.0
"""An axis is logarithmic if the ratio of the largest value to the smallest is above this."""


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
    """Returns an unused name: the name itself, or the name with the lowest free number from 2.

    Args:
      name: the preferred name.
      used: the names that are already used.
      form: how a number is added to the name, such as "{}-{}".
    """
    numbered = (form.format(name, number) for number in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if each not in used)


def file_name(words: str) -> str:
    """Returns text as a name that is safe for files and for the address of the page: "test-error"."""
    return re.sub(r"[^\w.-]+", "-", words.lower()).strip("-.")[:60] or "figure"


def axis(*columns: pl.Series, logarithmic: bool = True) -> Mapping[str, Any]:
    """Returns the scale and axis of some numbers: logarithmic if `logarithmic` is true and all numbers are positive.

    If all numbers are equal, the axis is linear and extends beyond them, so that its labels are round numbers.
    Otherwise the number itself would be the only label, such as 95.8333.
    """
    ends = [extent(column) for column in columns if column.count()]
    least, greatest = min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=0.0)
    if ends and least == greatest:
        margin = EQUAL_MARGIN * abs(least) or 1.0
        return {**LINEAR, "scale": alt.Scale(domain=[least - margin, least + margin], nice=False)}
    return LOG if logarithmic and all(low > 0 for low, _ in ends) else LINEAR


def extent(numbers: pl.Series) -> tuple[float, float]:
    """Returns the smallest and the largest of some numbers; there must be at least one."""
    values = numbers.drop_nulls().to_numpy()
    return float(values.min()), float(values.max())


def _limit_legends(spec: Any, names: Sequence[str]) -> None:
    """Changes the legends of optimizers in a specification: they list only these names."""
    if isinstance(spec, dict):
        if spec.get("field") == "series" and spec.get("legend"):
            spec["legend"] = {**spec["legend"], "values": list(names)}
        spec = list(spec.values())
    if isinstance(spec, list):
        for part in spec:
            _limit_legends(part, names)


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
