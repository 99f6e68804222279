"""What was measured over the epochs: means over seeds, with bands."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import polars as pl

from jaxopt_bench.reports.figure import HOVER, Figure, colour, dash, extent, hideable, shown
from jaxopt_bench.reports.style import Look
from jaxopt_bench.reports.subject import Subject, bands, thinned

MOST_POINTS = 400
"""Of a curve; of a longer one stretches keep their least and their greatest."""
ROOM = 0.05
"""The share of the range of means that is left free above and below them."""


def training_loss(subject: Subject, looks: Mapping[str, Look]) -> Figure | None:
    """Returns the mean loss of the training steps of each epoch."""
    return _curve(
        subject, looks, "train", "loss", "training loss", "The mean loss of an epoch's training steps, in nats per "
        "example: augmented images, dropout on."
    )  # fmt: skip


def clean_training_loss(subject: Subject, looks: Mapping[str, Look]) -> Figure | None:
    """Returns the loss on clean training images after each epoch."""
    return _curve(
        subject, looks, "train_clean", "loss", "clean training loss", "The loss on a fixed part of the training images "
        "after each epoch, in nats per example: no augmentation, no dropout. It can be compared between optimizers."
    )  # fmt: skip


def test_error(subject: Subject, looks: Mapping[str, Look]) -> Figure | None:
    """Returns the test error after each epoch, where confirmations measured it."""
    return _curve(
        subject, looks, "test", "error", "test error", "The share of test images that are classified wrongly after "
        "each epoch. Nothing was chosen by it."
    )  # fmt: skip


def validation_error(subject: Subject, looks: Mapping[str, Look]) -> Figure | None:
    """Returns the validation error after each epoch."""
    return _curve(
        subject, looks, "validation", "error", "validation error", "The share of validation images that are classified "
        "wrongly after each epoch."
    )  # fmt: skip


def _curve(subject: Subject, looks: Mapping[str, Look], split: str, value: str, title: str, text: str) -> Figure | None:
    lines = subject.curves.filter(pl.col("split") == split)
    lines = lines.with_columns((100 * (1 - pl.col("accuracy"))).alias("error"))
    tracked = lines.group_by("path").agg(pl.col("step").n_unique().alias("epochs"))
    if split == "test" and not (tracked["epochs"] > 2).any():  # two are the last and the best epoch
        return None
    found = bands(lines, value)
    if found["epoch"].n_unique() < 2:
        return None
    drawn = thinned(found.sort("series", "epoch"), ["series"], "mean", MOST_POINTS)
    low, high = _range(found)
    percent = value == "error"
    unit = " (%)" if percent else ""
    what = "searches" if lines["repetition"].n_unique() > 1 else "seeds"
    said = [text, _over(found["seeds"], what)]
    lost = subject.runs.filter(pl.col("phase") != "trial", pl.col("shown"), pl.col("status") == "diverged")
    if len(lost):
        said.append(f"{len(lost)} runs diverged; they count up to their last finite value.")
    if len(drawn) < len(found):
        said.append(f"Drawn are {len(drawn):,} of {len(found):,} points; every stretch keeps its least and greatest.")
    x = alt.X(
        "epoch:Q", title="epoch", scale=alt.Scale(zero=False, nice=False), axis=alt.Axis(tickCount=6, format=".6~g")
    )
    y_title, y_scale = f"{title}{unit}", alt.Scale(domain=[low, high], nice=False, zero=False)
    y = alt.Y("mean:Q", title=y_title, scale=y_scale)
    base = alt.Chart(alt.NamedData("curves"))
    band = shown(base.mark_area(opacity=0.15, clip=True, line=False)).encode(
        x=x, y=alt.Y("low:Q", title=y_title, scale=y_scale), y2="high:Q", color=colour(looks, "stroke")
    )
    line = shown(base.mark_line(clip=True)).encode(
        x=x, y=y, color=colour(looks, "stroke"), strokeDash=dash(looks, "stroke")
    )
    near = alt.selection_point(
        name="near", nearest=True, on="pointerover", clear="pointerout", encodings=["x"], empty=False
    )
    tips = [
        alt.Tooltip("series:N", title="optimizer"),
        alt.Tooltip("epoch:Q", format=",.4~f"),
        alt.Tooltip("mean:Q", title=y_title, format=".4~g"),
        alt.Tooltip("low:Q", title="interval from", format=".4~g"),
        alt.Tooltip("high:Q", title="to", format=".4~g"),
        alt.Tooltip("seeds:Q", title=what),
    ]
    dots = shown(base.mark_point(clip=True, tooltip=True)).encode(
        x=x, y=y, color=colour(looks), tooltip=tips,
        opacity=alt.when(near).then(alt.value(1)).otherwise(alt.value(0)),
    ).add_params(near).properties(name=HOVER)  # fmt: skip
    chart = alt.layer(band, line, dots).add_params(hideable())
    columns = {
        "series": "optimizer", "epoch": "epoch", "mean": y_title, "low": "interval from", "high": "to",
        "seeds": what,
    }  # fmt: skip
    return Figure(
        title.replace(" ", "-"), title.capitalize(), " ".join(said), chart, {"curves": drawn}, columns, over_time=True
    )


def _over(seeds: pl.Series, what: str) -> str:
    """Returns what lines and bands are, in words."""
    fewest, most = map(int, extent(seeds))
    if most == 1:
        return "Lines are single runs, one seed each, so there are no bands."
    over = f"{most} {what}" if fewest == most else f"{fewest} to {most} {what}"
    return (
        f"Lines are means over {over}, bands their 95% intervals (Student's t), cut off where they leave the picture."
    )


def _range(found: pl.DataFrame) -> tuple[float, float]:
    """Returns the range that shows all means with some room, whatever the bands do."""
    low, high = extent(found["mean"])
    room = ROOM * (high - low) or abs(high) * ROOM or 1.0
    return max(low - room, low / 2), high + room
