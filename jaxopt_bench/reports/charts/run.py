"""A single run: what was measured of it, step by step, and what its network confuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import polars as pl
from jaxtyping import Int

from jaxopt_bench.reports.charts.curves import MOST_POINTS
from jaxopt_bench.reports.figure import HOVER, Figure, axis, colour, dash, hideable, shown
from jaxopt_bench.reports.style import Look
from jaxopt_bench.reports.subject import thinned

SPLITS: Mapping[str, str] = {
    "train_steps": "training steps",
    "train": "training",
    "train_clean": "clean training",
    "validation": "validation",
    "test": "test",
}
"""What a line of metrics is of, in words."""


def run_charts(curves: pl.DataFrame, looks: Mapping[str, Look]) -> list[Figure]:
    """Returns the charts of a run's metrics.

    Args:
      curves: its lines, see `Results.curves`.
      looks: of the values of `SPLITS`, and of "gradient" and "update".
    """
    lines = _timed(curves)
    how = (
        "Training steps are means over the steps between two lines of metrics, augmented and with dropout; the rest is "
        "measured at the ends of epochs."
    )
    measured = lines.with_columns(
        pl.col("split").replace_strict(SPLITS, default=None).alias("series"),
        (100 * (1 - pl.col("accuracy"))).alias("error"),
    ).drop_nulls("series")
    training = lines.filter(pl.col("split") == "train_steps")
    norms = pl.concat(
        [
            training.with_columns(pl.lit(name).alias("series"), pl.col(f"{name}_norm").alias("value"))
            for name in ("grad", "update")
        ]
    ).with_columns(pl.col("series").replace({"grad": "gradient"}))
    rates = training.with_columns(pl.lit(SPLITS["train_steps"]).alias("series"), pl.col("learning_rate").alias("value"))
    found = [
        _lines("loss", "Loss", "loss", f"In nats per example. {how}", _as_value(measured, "loss"), looks),
        _lines("error", "Error", "error (%)", f"The share of mistakes. {how}", _as_value(measured, "error"), looks),
        _lines("learning-rate", "Learning rate", "learning rate", "What the schedule gave.", rates, looks),
        _lines(
            "norms", "Norms of gradient and update", "norm", "Over all parameters, of the steps between two lines of "
            "metrics: of the gradient as the optimizer gets it, and of what it makes of it.", norms, looks, log=True,
        ),
    ]  # fmt: skip
    return [figure for figure in found if figure is not None]


def confusion(matrix: Int[np.ndarray, "labels predictions"], names: Sequence[str], split: str) -> Figure:
    """Returns a confusion matrix: for each class, what its examples were taken for.

    Args:
      matrix: the numbers of examples.
      names: the classes' in order.
      split: of which they are.
    """
    labels, predictions = np.nonzero(matrix)
    counts = matrix[labels, predictions]
    table = pl.DataFrame(
        {
            "label": [names[int(i)] for i in labels],
            "prediction": [names[int(i)] for i in predictions],
            "count": counts,
            "share": 100 * counts / matrix.sum(1)[labels],
        }
    )
    side = alt.Axis(labelOverlap="greedy", grid=False, labelLimit=90)
    order = list(names)
    chart = alt.Chart(alt.NamedData("cells")).mark_rect(tooltip=True, color="#3d8fe0").encode(
        x=alt.X("prediction:N", sort=order, title="prediction", axis=side, scale=alt.Scale(domain=order)),
        y=alt.Y("label:N", sort=order, title="label", axis=side, scale=alt.Scale(domain=order)),
        opacity=alt.Opacity(
            "share:Q", scale=alt.Scale(type="sqrt", domain=[0, 100], range=[0, 1]), legend=None
        ),
        tooltip=[alt.Tooltip("label:N"), alt.Tooltip("prediction:N"), alt.Tooltip("count:Q"),
                 alt.Tooltip("share:Q", title="% of the label", format=".1f")],
    )  # fmt: skip
    text = (
        f"What the {split} images of each class were taken for: the fuller the colour, the greater the share of the "
        "class. Right answers are on the diagonal."
    )
    columns = {"label": "label", "prediction": "prediction", "count": "images", "share": "% of the label"}
    chart = chart.add_params(hideable())
    height = min(800, max(320, 24 * len(names)))
    return Figure(
        "confusion", "Confusion matrix", text, chart.properties(height=height), {"cells": table}, columns,
        wide=len(names) > 20, zoomable=False, square=True,
    )  # fmt: skip


def _timed(curves: pl.DataFrame) -> pl.DataFrame:
    """Returns the lines with the seconds of training until then."""
    clock = (
        curves.filter(pl.col("split") == "train_steps")
        .sort("step")
        .select("step", pl.col("seconds").cum_sum().alias("seconds"))
    )
    return curves.drop("seconds").join(clock, on="step", how="left").sort("step")


def _as_value(lines: pl.DataFrame, column: str) -> pl.DataFrame:
    return lines.with_columns(pl.col(column).alias("value"))


def _lines(
    name: str,
    title: str,
    y_title: str,
    text: str,
    lines: pl.DataFrame,
    looks: Mapping[str, Look],
    log: bool = False,
) -> Figure | None:
    known = lines.filter(pl.col("value").is_finite()).select("series", "epoch", "step", "seconds", "value")
    if known["step"].n_unique() < 2:
        return None
    drawn = thinned(known.sort("series", "step", maintain_order=True), ["series"], "value", MOST_POINTS)
    if len(drawn) < len(known):
        text += f" Drawn are {len(drawn):,} of {len(known):,} points; every stretch keeps its least and greatest."
    x = alt.X("epoch:Q", title="epoch", scale=alt.Scale(nice=False), axis=alt.Axis(tickCount=6, format=".6~g"))
    y = alt.Y("value:Q", title=y_title, **axis(known["value"], logarithmic=log))
    tips = [
        alt.Tooltip("series:N", title="of"),
        alt.Tooltip("epoch:Q", format=",.4~f"),
        alt.Tooltip("step:Q", format=","),
        alt.Tooltip("value:Q", title=y_title, format=".4~g"),
    ]
    base = shown(alt.Chart(alt.NamedData("lines")))
    line = base.mark_line(clip=True).encode(x=x, y=y, color=colour(looks, "stroke"), strokeDash=dash(looks, "stroke"))
    near = alt.selection_point(name="near", nearest=True, on="pointerover", clear="pointerout", empty=False)
    dots = base.mark_point(clip=True).encode(
        x=x, y=y, color=colour(looks), tooltip=tips,
        opacity=alt.when(near).then(alt.value(1)).otherwise(alt.value(0)),
    ).add_params(near).properties(name=HOVER)  # fmt: skip
    columns = {"series": "of", "epoch": "epoch", "step": "step", "value": y_title}
    chart = alt.layer(line, dots).add_params(hideable())
    return Figure(name, title, text, chart, {"lines": drawn}, columns, over_time=True)
