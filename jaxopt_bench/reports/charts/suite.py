"""All workloads of a study together: scores, ranks, and a map of optimizers by workloads."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from jaxopt_bench.reports.figure import Figure, colour, dash, hideable, shape, without_hidden
from jaxopt_bench.reports.style import SeriesStyle
from jaxopt_bench.statistics import Aggregate
from jaxopt_bench.verdict import SuiteVerdict

ROW = 18
"""The height of an optimizer's row, in pixels."""
DARK_FROM = 0.55
"""The share of the colour scale above which cells are so dark that their numbers are white."""
PALEST_AT_MOST = 0.95
"""The upper limit for the score with the palest colour, so that colours do not exaggerate tiny differences."""


def suite_figures(found: SuiteVerdict, styles: Mapping[str, SeriesStyle]) -> tuple[Figure, ...]:
    """Returns the charts of all workloads together, in the order of a page.

    Args:
      found: the verdict over all workloads.
      styles: the styles of the optimizers, in the order of the report.
    """
    return (score_map(found), scores(found, styles), ranks(found, styles), score_profiles(found, styles))


def score_map(found: SuiteVerdict) -> Figure:
    """Returns the mean score of each optimizer on each workload, as numbers in coloured cells."""
    names, workloads = [*found.runs], [*found.workloads]
    rows = [
        {"series": name, "workload": workload, "score": score}
        for name in names
        for workload, score in found.mean_scores(name).items()
    ]
    above = alt.Axis(orient="top", labelAngle=-35, labelLimit=140, labelOverlap=False)
    x = alt.X("workload:N", sort=workloads, title=None, axis=above)
    y = alt.Y("series:N", sort=names, title=None)
    tips = [
        alt.Tooltip("series:N", title="optimizer"),
        alt.Tooltip("workload:N"),
        alt.Tooltip("score:Q", format=".3f"),
    ]
    base = without_hidden(alt.Chart(alt.NamedData("scores")))
    palest = min(max(float(np.quantile([row["score"] for row in rows], 0.1)), 0.0), PALEST_AT_MOST)
    blues = alt.Scale(scheme="blues", domain=[palest, 1], clamp=True)
    cells = base.mark_rect().encode(x=x, y=y, color=alt.Color("score:Q", scale=blues, legend=None), tooltip=tips)
    dark = palest + DARK_FROM * (1 - palest)
    ink = alt.condition(f"datum.score < {dark}", alt.value("#000000"), alt.value("#ffffff"))
    numbers = base.mark_text(fontSize=8).encode(x=x, y=y, text=alt.Text("score:Q", format=".2f"), color=ink)
    text = (
        "The mean score of each optimizer on each workload; darker is better. 0 is an untrained model (or the worst "
        "optimizer, if its result is not known), 1 the mean of the best optimizer. Losses count by their logarithm. "
        f"The optimizers are in the order of their score over all workloads. Colours are from {palest:.2f} to 1."
    )
    chart = alt.layer(cells, numbers).add_params(hideable()).properties(height=ROW * len(names))
    columns = {"series": "optimizer", "workload": "workload", "score": "mean score"}
    title = "Optimizers by workloads"
    data = {"scores": pl.DataFrame(rows)}
    return Figure("scores-by-workload", title, text, chart, data, columns, wide=True, both_columns=True, zoomable=False)


def scores(found: SuiteVerdict, styles: Mapping[str, SeriesStyle]) -> Figure:
    """Returns the score of each optimizer over all workloads, with both intervals."""
    table = _aggregates(found.scores, "score")
    x = alt.X("score:Q", title="score (interquartile mean)", scale=alt.Scale(zero=False, nice=True))
    text = (
        "The interquartile mean of the scores of all runs on all workloads (Agarwal et al., 2021); further right is "
        "better. The thick line is the 95% interval for other seeds on these workloads, the thin line that for other "
        "workloads of this kind (stratified bootstrap)."
    )
    chart = _dots(table, x, "score", styles, [*found.scores])
    columns = {"series": "optimizer", "score": "score", **_ENDS}
    return Figure("scores", "Score over all workloads", text, chart, {"scores": table}, columns, zoomable=False)


def ranks(found: SuiteVerdict, styles: Mapping[str, SeriesStyle]) -> Figure:
    """Returns the mean rank of each optimizer, with bars of half a critical difference on each side."""
    names = sorted(found.ranks, key=lambda name: found.ranks[name].value)
    half = found.friedman.critical_difference / 2
    rows = [
        {"series": name, "rank": (rank := found.ranks[name].value), "low": rank - half, "high": rank + half}
        for name in names
    ]
    table = pl.DataFrame(rows)
    y = alt.Y("series:N", sort=names, title=None)
    scale = alt.Scale(zero=False, nice=False, padding=6)
    x = alt.X("rank:Q", title="mean rank (1 is the best)", scale=scale)
    tips = [alt.Tooltip("series:N", title="optimizer"), alt.Tooltip("rank:Q", title="mean rank", format=".2f")]
    base = without_hidden(alt.Chart(alt.NamedData("ranks")))
    bars = base.mark_rule(strokeWidth=5, opacity=0.35).encode(
        x=alt.X("low:Q", scale=scale), x2="high:Q", y=y, color=colour(styles)
    )
    dots = base.mark_point(opacity=1).encode(x=x, y=y, color=colour(styles), shape=shape(styles), tooltip=tips)
    text = (
        "The mean over workloads of each optimizer's rank. If the bars of two optimizers overlap, their ranks do not "
        f"differ significantly: each bar is as long as the critical difference, {2 * half:.2f} (Nemenyi's test at 5%, "
        f"Demšar, 2006). Friedman's test of whether all are equal has the p value {found.friedman.p_value:.2g}."
    )
    chart = alt.layer(bars, dots).add_params(hideable()).properties(height=ROW * len(names))
    columns = {"series": "optimizer", "rank": "mean rank"}
    return Figure("ranks", "Mean rank", text, chart, {"ranks": table}, columns, zoomable=False)


def score_profiles(found: SuiteVerdict, styles: Mapping[str, SeriesStyle]) -> Figure:
    """Returns the share of runs above each score."""
    rows = [
        {"series": name, "tau": tau, "share": share}
        for name, profile in found.profiles.items()
        for tau, share in zip(profile.taus, profile.shares, strict=True)
    ]
    x = alt.X("tau:Q", title="score τ")
    y = alt.Y("share:Q", title="share of runs above τ", scale=alt.Scale(domain=[0, 1]))
    tips = [
        alt.Tooltip("series:N", title="optimizer"),
        alt.Tooltip("tau:Q", title="τ", format=".2f"),
        alt.Tooltip("share:Q", format=".2f"),
    ]
    base = without_hidden(alt.Chart(alt.NamedData("profiles")))
    lines = base.mark_line().encode(
        x=x, y=y, color=colour(styles, "stroke"), strokeDash=dash(styles, "stroke"), tooltip=tips
    )
    text = (
        "The share of runs whose score is above τ, the mean over workloads (performance profile of Agarwal et al., "
        "2021). Higher is better; a line that is above another one everywhere is the better optimizer on runs of every "
        "quality."
    )
    columns = {"series": "optimizer", "tau": "τ", "share": "share of runs"}
    chart = lines.add_params(hideable())
    data = {"profiles": pl.DataFrame(rows)}
    return Figure("score-profiles", "Performance profiles of scores", text, chart, data, columns)


_ENDS: Mapping[str, str] = {
    "seeds_low": "low (seeds)",
    "seeds_high": "high (seeds)",
    "workloads_low": "low (workloads)",
    "workloads_high": "high (workloads)",
}


_LINES: Mapping[str, Mapping[str, Any]] = {
    "workloads": {"strokeWidth": 1},
    "seeds": {"strokeWidth": 4, "opacity": 0.6},
}
"""The line styles of intervals, by their kind."""


def _aggregates(found: Mapping[str, Aggregate], value: str) -> pl.DataFrame:
    """Returns a row for each optimizer, with the ends of its intervals (null if there is no interval)."""
    rows = []
    for name, own in found.items():
        ends = itertools.chain(own.over_seeds or (None, None), own.over_workloads or (None, None))
        rows.append({"series": name, value: own.value, **dict(zip(_ENDS, ends, strict=True))})
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(_ENDS, pl.Float64))


def _dots(
    table: pl.DataFrame, x: alt.X, value: str, styles: Mapping[str, SeriesStyle], order: list[str]
) -> alt.TopLevelMixin:
    """Returns a dot for each optimizer, in rows, with a thick and a thin interval."""
    y = alt.Y("series:N", sort=order, title=None)
    base = without_hidden(alt.Chart(alt.NamedData("scores")))
    lines = [
        base.mark_rule(**look).encode(x=alt.X(f"{kind}_low:Q"), x2=f"{kind}_high:Q", y=y, color=colour(styles))
        for kind, look in _LINES.items()
        if table[f"{kind}_low"].count()
    ]
    tips = [alt.Tooltip("series:N", title="optimizer"), alt.Tooltip(f"{value}:Q", format=".3f")]
    dots = base.mark_point(opacity=1).encode(x=x, y=y, color=colour(styles), shape=shape(styles), tooltip=tips)
    return alt.layer(*lines, dots).add_params(hideable()).properties(height=ROW * len(table))
