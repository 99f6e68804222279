"""Charts of views: matrices, points and lines that a problem computes from a run's results on examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import polars as pl

from jaxopt_bench.problems.views import Lines, Matrix, Points
from jaxopt_bench.reports.charts.curves import MOST_POINTS, describe_thinning
from jaxopt_bench.reports.figure import LINEAR, LOG, Figure, colour, dash, hideable, unused_name, without_hidden
from jaxopt_bench.reports.style import SeriesStyle
from jaxopt_bench.reports.workload_data import thin_out

MOST_DOTS = 2000
"""The maximum number of dots of a scatter plot. If there are more, evenly spaced ones are selected, in their order."""
MOST_LETTERS = 40
"""The maximum total length of all column names that are written horizontally."""
SQUARE = 400  # the height of a figure that should be about square, in pixels
FILL = "#3d8fe0"  # visible on a light and on a dark background


def matrix_figure(name: str, view: Matrix) -> Figure:
    """Returns a heat map in which each cell shows its share of the row.

    Args:
      name: the name of the figure's files.
      view: the view to draw.
    """
    rows, columns = _distinct(view.rows), _distinct(view.columns)
    at = np.nonzero(view.values)
    counts = view.values[at]
    sums = view.values.sum(1)
    table = pl.DataFrame(
        {
            "row": [rows[int(i)] for i in at[0]],
            "column": [columns[int(i)] for i in at[1]],
            "count": counts,
            "share": 100 * counts / sums[at[0]],
        },
        schema_overrides={"row": pl.String, "column": pl.String},
    )
    side = alt.Axis(labelOverlap="greedy", grid=False, labelLimit=90)
    below = side.copy()
    if sum(map(len, columns)) <= MOST_LETTERS:
        below.labelAngle = 0
    share = f"% of the {view.row_title}"
    chart = alt.Chart(alt.NamedData("cells")).mark_rect(tooltip=True, color=FILL).encode(
        x=alt.X("column:N", title=view.column_title, axis=below, scale=alt.Scale(domain=columns)),
        y=alt.Y("row:N", title=view.row_title, axis=side, scale=alt.Scale(domain=rows)),
        opacity=alt.Opacity(
            "share:Q", scale=alt.Scale(type="sqrt", domain=[0, 100], range=[0, 1]), legend=None
        ),
        tooltip=[alt.Tooltip("row:N", title=view.row_title), alt.Tooltip("column:N", title=view.column_title),
                 alt.Tooltip("count:Q"), alt.Tooltip("share:Q", title=share, format=".1f")],
    )  # fmt: skip
    text = f"{view.text} A stronger colour means a greater share of the {view.row_title}.".strip()
    titles = {"row": view.row_title, "column": view.column_title, "count": "count", "share": share}
    height = min(800, max(24 * len(rows), 320 if len(rows) > 5 else 160))
    return Figure(
        name, view.title, text, chart.add_params(hideable()).properties(height=height), {"cells": table}, titles,
        wide=len(columns) > 20, zoomable=False, square=len(rows) <= 2 * len(columns),
    )  # fmt: skip


def points_figure(name: str, view: Points) -> Figure:
    """Returns a scatter plot, with the line x = y if the view has it.

    Args:
      name: the name of the figure's files.
      view: the view to draw.
    """
    known = np.isfinite(view.x) & np.isfinite(view.y)
    x, y = view.x[known], view.y[known]
    said = [view.text]
    if not known.all():
        said.append(f"{np.sum(~known):,} of {len(known):,} points are not finite and are left out.")
    if len(x) > MOST_DOTS:
        said.append(f"{MOST_DOTS:,} of {len(x):,} points are drawn.")
        chosen = np.linspace(0, len(x) - 1, MOST_DOTS).astype(int)
        x, y = x[chosen], y[chosen]
    data = {"points": pl.DataFrame({"x": x, "y": y}, schema={"x": pl.Float64, "y": pl.Float64})}
    shared = view.diagonal and len(x) > 0
    ends = [float(min(x.min(), y.min())), float(max(x.max(), y.max()))] if shared else []
    side = {**LINEAR, "scale": alt.Scale(domain=ends, nice=False, zero=False, padding=8)} if shared else LINEAR
    at_x, at_y = alt.X("x:Q", title=view.x_title, **side), alt.Y("y:Q", title=view.y_title, **side)
    tips = [alt.Tooltip(f"{n}:Q", title=t, format=".4~g") for n, t in (("x", view.x_title), ("y", view.y_title))]
    dots = alt.Chart(alt.NamedData("points")).mark_point(color=FILL, opacity=0.5, clip=True)
    layers = [dots.encode(x=at_x, y=at_y, tooltip=tips)]
    if shared:
        data["diagonal"] = pl.DataFrame({"x": ends, "y": ends})
        line = alt.Chart(alt.NamedData("diagonal")).mark_line(color="#8a929a", strokeWidth=1, clip=True)
        layers.append(line.encode(x=at_x, y=at_y))
    chart = alt.layer(*layers).add_params(hideable())
    if view.diagonal:
        chart = chart.properties(height=SQUARE)
    columns = {"x": view.x_title, "y": view.y_title}
    return Figure(name, view.title, " ".join(filter(None, said)), chart, data, columns, square=view.diagonal)


def lines_figure(name: str, view: Lines, styles: Mapping[str, SeriesStyle]) -> Figure:
    """Returns curves over a common axis.

    Args:
      name: the name of the figure's files.
      view: the view to draw.
      styles: the styles of the curves, by their names.
    """
    table = pl.DataFrame(
        {
            "series": [name for name in view.lines for _ in view.x],
            "x": np.tile(view.x, len(view.lines)),
            "value": np.concatenate([np.zeros(0), *view.lines.values()]),
        },
        schema={"series": pl.String, "x": pl.Float64, "value": pl.Float64},
    )
    least = 0.0 if view.logarithmic else -np.inf
    known = table.filter(pl.col("value").is_finite(), pl.col("value") > least)
    drawn = thin_out(known, ["series"], "value", MOST_POINTS)
    said = [view.text]
    if len(known) < len(table):
        reason = "are not positive and finite" if view.logarithmic else "are not finite"
        said.append(f"{len(table) - len(known):,} of {len(table):,} values {reason} and are left out.")
    said += describe_thinning(drawn, known)
    tips = [
        alt.Tooltip("series:N", title="curve"),
        alt.Tooltip("x:Q", title=view.x_title, format=".4~g"),
        alt.Tooltip("value:Q", title=view.y_title, format=".4~g"),
    ]
    chart = without_hidden(alt.Chart(alt.NamedData("lines")).mark_line(clip=True, tooltip=True)).encode(
        x=alt.X("x:Q", title=view.x_title, **LINEAR),
        y=alt.Y("value:Q", title=view.y_title, **(LOG if view.logarithmic else LINEAR)),
        color=colour(styles, "stroke"), strokeDash=dash(styles, "stroke"), tooltip=tips,
    )  # fmt: skip
    columns = {"series": "curve", "x": view.x_title, "value": view.y_title}
    chart = chart.add_params(hideable())
    return Figure(name, view.title, " ".join(filter(None, said)), chart, {"lines": drawn}, columns)


def _distinct(names: Sequence[str]) -> list[str]:
    """Returns the names without repetitions: the second "cat" becomes "cat (2)"."""
    found: list[str] = []
    for name in names:
        found.append(unused_name(name, found, "{} ({})"))
    return found
