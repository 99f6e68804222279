"""Curves of metrics over epochs: means over seeds, with bands."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import polars as pl

from jaxopt_bench.formatting import capitalise
from jaxopt_bench.problems import LOSS
from jaxopt_bench.reports.figure import (
    HOVER,
    Figure,
    colour,
    dash,
    extent,
    file_name,
    hideable,
    scale_from,
    spans_orders,
    without_hidden,
)
from jaxopt_bench.reports.quantity import Quantity, as_curve, may_be_logarithmic
from jaxopt_bench.reports.style import SeriesStyle
from jaxopt_bench.reports.workload_data import CURVE_PHASES, WorkloadData, bands, thin_out

MOST_POINTS = 400
"""The maximum number of points of a curve. A longer curve is thinned out; see `thin_out`."""
ROOM = 0.05
"""The share of the range of values that is free space above and below them."""


def training_loss(subject: WorkloadData, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    """Returns the mean loss of the training steps of each epoch."""
    quantity = Quantity(subject.measures["train_loss"])
    return _curve(
        subject, styles, quantity, "The mean loss of the training steps of an epoch, including what is random in "
        "training, such as augmentation and dropout."
    )  # fmt: skip


def clean_training_loss(subject: WorkloadData, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    """Returns the loss on clean training examples after each epoch."""
    quantity = Quantity(subject.measures["train_clean_loss"])
    return _curve(
        subject, styles, quantity, "The loss on a fixed part of the training examples after each epoch, computed "
        "as in evaluation, without randomness. It can be compared between optimizers."
    )  # fmt: skip


def test_curve(subject: WorkloadData, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    """Returns the headline metric of the test split after each epoch, if confirmations measured it."""
    return _curve(
        subject, styles, _headline(subject, "test"), "Measured on the test examples after each epoch. It was "
        "not used to select anything."
    )  # fmt: skip


def validation_curve(subject: WorkloadData, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    """Returns the headline metric of the validation split after each epoch."""
    quantity = _headline(subject, "validation")
    return _curve(subject, styles, quantity, "Measured on the validation examples after each epoch.")


def clean_training_curve(subject: WorkloadData, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    """Returns the headline metric on clean training examples, if it measures the results and is not the loss."""
    headline = subject.headline
    if headline is None or headline.split != "train_clean" or headline.metric.name == LOSS:
        return None
    quantity = _headline(subject, "train_clean")
    return _curve(subject, styles, quantity, "Measured on a fixed part of the training examples after each epoch.")


def _headline(subject: WorkloadData, split: str) -> Quantity:
    return as_curve(subject.measures[f"{split}_{subject.metrics[0].name}"])


def _curve(subject: WorkloadData, styles: Mapping[str, SeriesStyle], quantity: Quantity, text: str) -> Figure | None:
    lines = subject.curves.filter(pl.col("split") == quantity.split)
    lines = lines.with_columns(quantity.values(quantity.metric.name).alias("value"))
    tracked = lines.group_by("path").agg(pl.col("step").n_unique().alias("epochs"))
    if quantity.split == "test" and not (tracked["epochs"] > 2).any():  # two points are the last and the best epoch
        return None
    found = bands(lines, quantity.limits)
    if found["epoch"].n_unique() < 2:
        return None
    logarithmic = may_be_logarithmic(quantity.metric) and spans_orders(found["mean"])
    low, high = _range(found, quantity.limits, logarithmic)
    bottom = pl.col("low").clip(lower_bound=low) if logarithmic else pl.col("low")  # lower values have no logarithm
    found = found.with_columns(bottom.alias("bottom"))
    drawn = thin_out(found.sort("series", "epoch"), ["series"], "mean", MOST_POINTS)
    what = "searches" if lines["repetition"].n_unique() > 1 else "seeds"
    said = [text, "Higher is better." if quantity.higher_is_better else "Lower is better.", _over(found["seeds"], what)]
    lost = subject.runs.filter(pl.col("phase").is_in(CURVE_PHASES), pl.col("shown"), pl.col("status") == "diverged")
    if len(lost):
        several = f"{len(lost)} runs diverged; they count" if len(lost) > 1 else "1 run diverged; it counts"
        said.append(f"{several} up to the last finite value.")
    said += describe_thinning(drawn, found)
    chart = bands_chart(styles, quantity.title, scale_from(low, high, logarithmic), what)
    columns = {
        "series": "optimizer", "epoch": "epoch", "mean": quantity.title, "low": "interval from", "high": "to",
        "seeds": what,
    }  # fmt: skip
    name, title = file_name(quantity.words), capitalise(quantity.words)
    return Figure(name, title, " ".join(said), chart, {"curves": drawn}, columns, over_time=True)


def bands_chart(
    styles: Mapping[str, SeriesStyle],
    y_title: str,
    y_scale: alt.Scale,
    what: str,
    over: str = "epoch",
    ends: tuple[str, str] = ("interval from", "to"),
) -> alt.TopLevelMixin:
    """Returns lines, bands around them, and dots near the pointer.

    Args:
      styles: the styles of the optimizers.
      y_title: the title of the y-axis.
      y_scale: the scale of the y-axis.
      what: the unit over which the bands extend: "seeds" or "searches".
      over: the column of x: "epoch" or "step".
      ends: the names of the lower and the upper end of a band.
    """
    x = alt.X(
        f"{over}:Q", title=over, scale=alt.Scale(zero=False, nice=False), axis=alt.Axis(tickCount=6, format=".6~g")
    )
    y = alt.Y("mean:Q", title=y_title, scale=y_scale)
    base = alt.Chart(alt.NamedData("curves"))
    band = without_hidden(base.mark_area(opacity=0.15, clip=True, line=False)).encode(
        x=x, y=alt.Y("bottom:Q", title=y_title, scale=y_scale), y2="high:Q", color=colour(styles, "stroke")
    )
    line = without_hidden(base.mark_line(clip=True)).encode(
        x=x, y=y, color=colour(styles, "stroke"), strokeDash=dash(styles, "stroke")
    )
    near = alt.selection_point(
        name="near", nearest=True, on="pointerover", clear="pointerout", encodings=["x"], empty=False
    )
    tips = [
        alt.Tooltip("series:N", title="optimizer"),
        alt.Tooltip(f"{over}:Q", format=",.4~f"),
        alt.Tooltip("mean:Q", title=y_title, format=".4~g"),
        alt.Tooltip("low:Q", title=ends[0], format=".4~g"),
        alt.Tooltip("high:Q", title=ends[1], format=".4~g"),
        alt.Tooltip("seeds:Q", title=what),
    ]
    dots = without_hidden(base.mark_point(clip=True, tooltip=True)).encode(
        x=x, y=y, color=colour(styles), tooltip=tips,
        opacity=alt.when(near).then(alt.value(1)).otherwise(alt.value(0)),
    ).add_params(near).properties(name=HOVER)  # fmt: skip
    return alt.layer(band, line, dots).add_params(hideable())


def describe_thinning(drawn: pl.DataFrame, found: pl.DataFrame) -> list[str]:
    """Returns a sentence about the points that `thin_out` left out; none if there are none."""
    if len(drawn) == len(found):
        return []
    return [f"{len(drawn):,} of {len(found):,} points are drawn; each section keeps its least and greatest."]


def _over(seeds: pl.Series, what: str) -> str:
    """Returns a sentence that explains the lines and bands."""
    fewest, most = map(int, extent(seeds))
    if most == 1:
        return "Lines are single runs, one seed each, so there are no bands."
    over = f"{most} {what}" if fewest == most else f"{fewest} to {most} {what}"
    return (
        f"Lines are means over {over}, bands their 95% intervals (Student's t), cut off where they leave the picture."
    )


def _range(found: pl.DataFrame, limits: tuple[float | None, float | None], logarithmic: bool) -> tuple[float, float]:
    """Returns a range that shows all means with some space; the bands do not change it."""
    low, high = extent(found["mean"])
    if logarithmic:
        room = (high / low) ** ROOM
        return low / room, high * room
    room = ROOM * (high - low) or abs(high) * ROOM or 1.0
    return max(low - room, low / 2) if low >= 0 and limits[0] is not None else low - room, high + room
