"""Charts of the time to reach targets."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import polars as pl

from jaxopt_bench.formatting import capitalise
from jaxopt_bench.reports.figure import Figure, colour, dash, hideable, shape, without_hidden
from jaxopt_bench.reports.style import SeriesStyle
from jaxopt_bench.reports.workload_data import WorkloadData
from jaxopt_bench.statistics.profiles import CREDITED
from jaxopt_bench.verdict import Verdict


def time_to_target(subject: WorkloadData, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    """Returns the median time at which each optimizer reached the workload's target."""
    target = subject.study.target(subject.workload) if subject.study else None
    if target is None or subject.ranking is None or not subject.ranking.standings:
        return None
    standings = subject.ranking.standings
    timed = all(s.seconds is not None for s in standings if s.steps is not None)
    unit = "seconds" if timed else "steps"
    rows = [
        {"series": s.contender, "steps": s.steps, "seconds": s.seconds, "value": s.seconds if timed else s.steps}
        for s in standings
    ]
    table = pl.DataFrame(rows, schema_overrides={"steps": pl.Float64, "seconds": pl.Float64, "value": pl.Float64})
    reached = table.filter(pl.col("value").is_not_null())
    if not len(reached):
        return None
    late = [s.contender for s in standings if s.steps is None]
    y = alt.Y("series:N", sort=list(subject.series), title=None)
    x = alt.X("value:Q", title=unit, scale=alt.Scale(zero=True))
    tips = [alt.Tooltip("series:N", title="optimizer"), alt.Tooltip("steps:Q"), alt.Tooltip("seconds:Q", format=".4~g")]
    base = without_hidden(alt.Chart(alt.NamedData("times")))
    stems = base.mark_rule(strokeWidth=2).encode(x=alt.X("zero:Q"), x2="value:Q", y=y, color=colour(styles))
    stems = stems.transform_calculate(zero="0")
    dots = base.mark_point(size=70, opacity=1).encode(x=x, y=y, color=colour(styles), shape=shape(styles), tooltip=tips)
    measure = subject.measures[target.measure]
    sign = "at least" if measure.higher_is_better else "at most"
    text = (
        f"{capitalise(unit)} until the {measure.words} was {sign} {measure.format(target.value)} at the end of an "
        "epoch, the median over the confirmations."
    )
    if timed:
        text += " The time of a step was measured separately, while nothing else was trained."
    if late:
        text += f" Most runs of {', '.join(late)} did not reach it."
    columns = {"series": "optimizer", "steps": "steps", "seconds": "seconds"}
    chart = alt.layer(stems, dots).add_params(hideable()).properties(height=22 * len(reached))
    return Figure("time-to-target", "Time to the target", text, chart, {"times": reached}, columns, zoomable=False)


def profiles(verdict: Verdict, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    """Returns the performance profiles over a study's workloads."""
    rows = [
        {"series": name, "tau": tau, "share": profile.at(tau)}
        for name, profile in verdict.profiles.items()
        for tau in sorted({1.0, CREDITED, *(t for t in profile.taus if t <= CREDITED)})
    ]
    if not rows:
        return None
    x = alt.X("tau:Q", title="times as long as the fastest (τ)", scale=alt.Scale(domain=[1, CREDITED]))
    y = alt.Y("share:Q", title="share of workloads", scale=alt.Scale(domain=[0, 1]))
    tips = [
        alt.Tooltip("series:N", title="optimizer"),
        alt.Tooltip("tau:Q", title="τ", format=".3~f"),
        alt.Tooltip("share:Q"),
    ]
    base = without_hidden(alt.Chart(alt.NamedData("profiles")))
    line = base.mark_line(interpolate="step-after").encode(
        x=x, y=y, color=colour(styles, "stroke"), strokeDash=dash(styles, "stroke")
    )
    dots = base.mark_point(opacity=0.7).encode(x=x, y=y, color=colour(styles), tooltip=tips)
    text = (
        "The share of workloads whose target an optimizer reached within τ times the time of the fastest (Dolan and "
        "Moré, 2002). Higher is better; at τ = 1 it is the share on which it was the fastest."
    )
    columns = {"series": "optimizer", "tau": "τ", "share": "share of workloads"}
    chart = alt.layer(line, dots).add_params(hideable())
    return Figure("profiles", "Performance profiles", text, chart, {"profiles": pl.DataFrame(rows)}, columns)
