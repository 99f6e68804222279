"""Charts of a single run: its metrics over the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import polars as pl

from jaxopt_bench.formatting import capitalise
from jaxopt_bench.measures import SPLIT_WORDS, Measure
from jaxopt_bench.problems import Metric
from jaxopt_bench.reports.charts.curves import MOST_POINTS, describe_thinning
from jaxopt_bench.reports.figure import (
    HOVER,
    Figure,
    axis,
    colour,
    dash,
    file_name,
    hideable,
    spans_orders,
    without_hidden,
)
from jaxopt_bench.reports.quantity import as_curve, may_be_logarithmic
from jaxopt_bench.reports.style import SeriesStyle
from jaxopt_bench.reports.workload_data import thin_out

SERIES: Mapping[str, str] = {"train_steps": "training steps", **SPLIT_WORDS}
"""The name in words of each `split` of a run's metrics."""

HOW = (
    "Values of training steps are means over the steps between two lines of metrics, including what is random in "
    "training, such as augmentation and dropout. The others are measured at the ends of epochs."
)


def run_charts(curves: pl.DataFrame, metrics: Sequence[Metric], styles: Mapping[str, SeriesStyle]) -> list[Figure]:
    """Returns the charts of a run: of its metrics, the learning rate, and norms.

    Args:
      curves: the lines of the run, see `Results.curves`.
      metrics: the metrics, in the order of the charts.
      styles: the styles of the values of `SERIES`, and of "gradient" and "update".
    """
    lines = _with_clock(curves)
    measured = lines.with_columns(pl.col("split").replace_strict(SERIES, default=None).alias("series"))
    measured = measured.drop_nulls("series")
    training = lines.filter(pl.col("split") == "train_steps")
    norms = pl.concat(
        [
            training.with_columns(pl.lit(name).alias("series"), pl.col(f"{name}_norm").alias("value"))
            for name in ("grad", "update")
        ]
    ).with_columns(pl.col("series").replace({"grad": "gradient"}))
    rates = training.with_columns(pl.lit(SERIES["train_steps"]).alias("series"), pl.col("learning_rate").alias("value"))
    found = [
        *(_metric_chart(metric, measured, styles) for metric in metrics),
        _lines("learning-rate", "Learning rate", "learning rate", "As the schedule sets it.", rates, styles),
        _lines(
            "norms", "Norms of gradient and update", "norm", "Over all parameters, of the steps between two lines of "
            "metrics: of the gradient that the optimizer gets, and of the update that it returns.", norms, styles, True,
        ),
    ]  # fmt: skip
    return [figure for figure in found if figure is not None]


def _metric_chart(metric: Metric, lines: pl.DataFrame, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    if metric.name not in lines.columns:
        return None
    quantity = as_curve(Measure(metric.name, metric, metric.words))  # without a split: the chart shows all
    lines = lines.with_columns(quantity.values().alias("value"))
    better = "Higher" if quantity.higher_is_better else "Lower"
    explained = f"100% minus the {metric.words}. " if quantity.as_error else ""
    known = lines["value"].filter(lines["value"].is_finite())
    log = may_be_logarithmic(metric) and bool(known.count()) and spans_orders(known)
    name = file_name(quantity.words if quantity.as_error else metric.name)
    text = f"{explained}{better} is better. {HOW}"
    return _lines(name, capitalise(quantity.words), quantity.title, text, lines, styles, log)


def _with_clock(curves: pl.DataFrame) -> pl.DataFrame:
    """Returns the lines with the seconds of training until each line."""
    clock = (
        curves.filter(pl.col("split") == "train_steps")
        .sort("step")
        .select("step", pl.col("seconds").cum_sum().alias("seconds"))
    )
    return curves.drop("seconds").join(clock, on="step", how="left").sort("step")


def _lines(
    name: str,
    title: str,
    y_title: str,
    text: str,
    lines: pl.DataFrame,
    styles: Mapping[str, SeriesStyle],
    log: bool = False,
) -> Figure | None:
    known = lines.filter(pl.col("value").is_finite()).select("series", "epoch", "step", "seconds", "value")
    if known["step"].n_unique() < 2:
        return None
    drawn = thin_out(known.sort("series", "step", maintain_order=True), ["series"], "value", MOST_POINTS)
    text = " ".join([text, *describe_thinning(drawn, known)])
    x = alt.X("epoch:Q", title="epoch", scale=alt.Scale(nice=False), axis=alt.Axis(tickCount=6, format=".6~g"))
    y = alt.Y("value:Q", title=y_title, **axis(known["value"], logarithmic=log))
    tips = [
        alt.Tooltip("series:N", title="of"),
        alt.Tooltip("epoch:Q", format=",.4~f"),
        alt.Tooltip("step:Q", format=","),
        alt.Tooltip("value:Q", title=y_title, format=".4~g"),
    ]
    base = without_hidden(alt.Chart(alt.NamedData("lines")))
    line = base.mark_line(clip=True).encode(x=x, y=y, color=colour(styles, "stroke"), strokeDash=dash(styles, "stroke"))
    near = alt.selection_point(name="near", nearest=True, on="pointerover", clear="pointerout", empty=False)
    dots = base.mark_point(clip=True).encode(
        x=x, y=y, color=colour(styles), tooltip=tips,
        opacity=alt.when(near).then(alt.value(1)).otherwise(alt.value(0)),
    ).add_params(near).properties(name=HOVER)  # fmt: skip
    columns = {"series": "of", "epoch": "epoch", "step": "step", "value": y_title}
    chart = alt.layer(line, dots).add_params(hideable())
    return Figure(name, title, text, chart, {"lines": drawn}, columns, over_time=True)
