"""Results of optimizers that differ in one hyperparameter, if a claim of the study is about it."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import polars as pl

from jaxopt_bench.formatting import short_names
from jaxopt_bench.reports.charts.outcomes import over
from jaxopt_bench.reports.figure import Figure, axis, colour, hideable, shape, without_hidden
from jaxopt_bench.reports.quantity import Quantity
from jaxopt_bench.reports.style import SeriesStyle
from jaxopt_bench.reports.workload_data import WorkloadData


def association(subject: WorkloadData, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    """Returns the results of contenders against a hyperparameter: of the first association over contenders."""
    claims = () if subject.study is None else subject.study.claims
    part = next((each for claim in claims for each in claim.associations if each.contenders), None)
    if subject.study is None or subject.ranking is None or part is None or part.measure not in subject.measures:
        return None
    quantity = Quantity(subject.measures[part.measure])
    scale, rows = quantity.metric.scale, []
    for standing in subject.ranking.standings:
        found = standing.results.get(part.measure)
        if standing.contender in part.contenders and found is not None:
            value = subject.study.contender(standing.contender).fixed_value(part.field)
            low, high = (None, None) if found.interval is None else (scale * found.low, scale * found.high)
            row = {"series": standing.contender, "value": value, "mean": scale * found.mean, "low": low, "high": high}
            rows.append(row | {"seeds": found.count})
    if len(rows) < 2:
        return None
    means = pl.DataFrame(rows, schema_overrides={"low": pl.Float64, "high": pl.Float64}).sort("value")
    field = short_names([part.field])[part.field]
    direction = "Higher" if quantity.higher_is_better else "Lower"
    text = (
        f"{quantity.words[0].upper()}{quantity.words[1:]}: the mean of each optimizer, {over(subject)}, with its 95% "
        f"interval, against its {field}. The optimizers differ in this hyperparameter. {direction} is better."
    )
    columns = {"series": "optimizer", "value": field, "mean": quantity.title, "low": "interval from", "high": "to"}
    columns |= {"seeds": "values"}
    chart = _chart(styles, means, field, quantity.title)
    return Figure("association", f"Results against {field}", text, chart, {"means": means}, columns)


def _chart(styles: Mapping[str, SeriesStyle], means: pl.DataFrame, field: str, title: str) -> alt.TopLevelMixin:
    tips = [
        alt.Tooltip("series:N", title="optimizer"),
        alt.Tooltip("value:Q", title=field, format=".4~g"),
        alt.Tooltip("mean:Q", format=".5~g"),
        alt.Tooltip("low:Q", title="interval from", format=".5~g"),
        alt.Tooltip("high:Q", title="to", format=".5~g"),
    ]
    x = alt.X("value:Q", title=field, **axis(means["value"], logarithmic=False))
    on_y = axis(means["mean"], means["low"], means["high"], logarithmic=False)
    base = without_hidden(alt.Chart(alt.NamedData("means")))
    rules = base.mark_rule(strokeWidth=2, opacity=0.6).encode(
        x=x, y=alt.Y("low:Q", title=title, **on_y), y2="high:Q", color=colour(styles), tooltip=tips
    )
    dots = base.mark_point(size=60).encode(
        x=x, y=alt.Y("mean:Q", title=title, **on_y), color=colour(styles), shape=shape(styles), tooltip=tips
    )
    return alt.layer(*([rules] if means["low"].count() else []), dots).add_params(hideable())
