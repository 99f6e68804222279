"""Curves of the training steps within epochs: medians over seeds, with bands from the lowest to the highest value."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import polars as pl

from jaxopt_bench.reports.charts.curves import MOST_POINTS, ROOM, bands_chart, describe_thinning
from jaxopt_bench.reports.figure import Figure, extent, file_name, scale_from, spans_orders
from jaxopt_bench.reports.quantity import Quantity
from jaxopt_bench.reports.style import SeriesStyle
from jaxopt_bench.reports.workload_data import WorkloadData, thin_out

FEW_EPOCHS = 3
"""The largest number of epochs of a training whose loss is shown within epochs."""


def loss_of_steps(subject: WorkloadData, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    """Returns the loss of the training steps against the step, if there are only a few epochs."""
    epochs = subject.steps["epoch"].to_list()
    if not epochs or max(epochs) > FEW_EPOCHS:
        return None
    quantity = Quantity(subject.measures["train_loss"])
    text = "The loss of the training steps, including what is random in training, such as augmentation and dropout."
    return _steps(subject, styles, "train_loss", "Training loss of steps", quantity.title, text)


def gradient_norm(subject: WorkloadData, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    """Returns the norm of the gradient against the step."""
    text = "The Euclidean norm of the gradient over all parameters, as the optimizer gets it."
    return _steps(subject, styles, "grad_norm", "Norm of the gradient", "gradient norm", text)


def _steps(
    subject: WorkloadData, styles: Mapping[str, SeriesStyle], column: str, title: str, y_title: str, text: str
) -> Figure | None:
    """Returns a chart of a column of `WorkloadData.steps`; None if there are fewer than two steps."""
    known = subject.steps.filter(pl.col(column).is_finite())
    if known["step"].n_unique() < 2:
        return None
    value = pl.col(column)
    found = known.group_by("series", "step").agg(
        value.median().alias("mean"), value.min().alias("low"), value.max().alias("high"), pl.len().alias("seeds")
    )
    drawn = thin_out(found.sort("series", "step"), ["series"], "mean", MOST_POINTS)
    drawn = drawn.with_columns(pl.col("low").alias("bottom"))
    said = [text, "Each point is a mean over the steps since the last point."]
    if (found["seeds"] > 1).any():
        said.append("Lines are medians over seeds; bands extend from the lowest to the highest value.")
    said += describe_thinning(drawn, found)
    chart = bands_chart(styles, y_title, _scale(found), "seeds", over="step", ends=("lowest", "highest"))
    columns = {"series": "optimizer", "step": "step", "mean": y_title, "low": "lowest", "high": "highest"}
    columns |= {"seeds": "seeds"}
    return Figure(file_name(title), title, " ".join(said), chart, {"curves": drawn}, columns)


def _scale(found: pl.DataFrame) -> alt.Scale:
    """Returns a scale that shows all values with some space."""
    low, high = extent(pl.concat([found["low"], found["high"]]))
    if spans_orders(found["low"], found["high"]):
        room = (high / low) ** ROOM
        return scale_from(low / room, high * room, logarithmic=True)
    room = ROOM * (high - low) or abs(high) * ROOM or 1.0
    return scale_from(low - room, high + room, logarithmic=False)
