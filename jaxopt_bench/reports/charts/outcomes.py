"""What runs ended with: every seed a dot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import polars as pl

from jaxopt_bench.reports.figure import Figure, axis, colour, extent, hideable, shape, shown
from jaxopt_bench.reports.style import Look
from jaxopt_bench.reports.subject import Subject
from jaxopt_bench.results import Estimate, estimate
from jaxopt_bench.results.statistics import Domain

ROW = 22  # pixels
PLUS = "M-1,0H1M0,-1V1"
LOG_FROM = 20.0
"""The ratio of the greatest value to the least from which on an axis is logarithmic."""


def final_results(subject: Subject, looks: Mapping[str, Look]) -> Figure | None:
    """Returns what each seed reached, with the means and their intervals."""
    split = measured_split(subject)
    if split is None:
        return None
    accuracy = f"{split}_accuracy"
    title = f"{split} accuracy (%)"
    dots = subject.final_runs.select("series", *subject.keys, (100 * pl.col(accuracy)).alias("value")).drop_nulls(
        "value"
    )
    if len(dots) < 2:
        return None
    ranking = subject.ranking
    if ranking is None:
        means = _estimates(dots, "fraction", 100)
    else:
        found = {s.contender: s.results[accuracy] for s in ranking.standings if accuracy in s.results}
        means = _rows(found, 100)
    tips = _tips(subject.keys)
    text = (
        f"The {split} accuracy of each run, a dot a run. Below the dots of an optimizer are its mean and the 95% "
        f"interval of that, {over(subject)}.{_at_chance(subject)}"
    )
    if subject.study is not None:
        paired = "searches" if subject.study.repetitions > 1 else "seeds"
        text += (
            " Where intervals overlap the difference of the means may be real still: runs are paired by their "
            f"{paired}."
        )
    chart = _strip(dots, means, looks, subject.series, title, tips)
    columns = {"series": "optimizer", **subject.keys, "value": title}
    return Figure(
        "final-results",
        "Final results, every seed",
        text,
        chart,
        {"dots": dots, "means": means},
        columns,
        zoomable=False,
    )


def cost(subject: Subject, looks: Mapping[str, Look]) -> Figure | None:
    """Returns the seconds of each run."""
    runs = subject.ended.filter(pl.col("seconds").is_not_null())
    keys = {"phase": "phase", **subject.keys}
    dots = runs.select("series", *keys, pl.col("seconds").alias("value"), "images_per_second")
    if len(dots) < 2:
        return None
    text = (
        "The seconds of training and evaluation of each run, a dot a run, trials among them; the mean and its 95% "
        "interval below. Runs that one program trained together share its seconds equally."
    )
    means = _estimates(dots, "positive")
    chart = _strip(dots, means, looks, subject.series, "seconds a run", _tips(keys), positive=True)
    columns = {"series": "optimizer", **keys, "value": "seconds", "images_per_second": "images/s"}
    return Figure("cost", "Cost of a run", text, chart, {"dots": dots, "means": means}, columns, zoomable=False)


def trade_off(subject: Subject, looks: Mapping[str, Look]) -> Figure | None:
    """Returns clean training loss against test accuracy, a dot a run."""
    split = measured_split(subject)
    if split is None:
        return None
    accuracy = f"{split}_accuracy"
    runs = subject.final_runs.select(
        "series", *subject.keys, pl.col("train_clean_loss").alias("loss"), (100 * pl.col(accuracy)).alias("value")
    ).drop_nulls()
    if len(runs) < 2:
        return None
    means = _means(subject, runs, accuracy)
    x = alt.X("loss:Q", title="clean training loss", **axis(runs["loss"], logarithmic=_wide(runs["loss"])))
    y = alt.Y("value:Q", title=f"{split} accuracy (%)", **axis(runs["value"], logarithmic=False))
    tips = [
        alt.Tooltip("series:N", title="optimizer"),
        *_tips(subject.keys),
        alt.Tooltip("loss:Q", title="clean training loss", format=".4~g"),
        alt.Tooltip("value:Q", title=f"{split} accuracy (%)", format=".4~g"),
    ]
    dots = shown(alt.Chart(alt.NamedData("dots")).mark_point(opacity=0.75)).encode(
        x=x, y=y, color=colour(looks, "dot"), shape=shape(looks, "dot"), tooltip=tips
    )
    crosses = shown(
        alt.Chart(alt.NamedData("means")).mark_point(shape=PLUS, filled=False, size=120, strokeWidth=2)
    ).encode(x=x, y=y, color=colour(looks))
    text = (
        f"What optimizers make of training images against what they make of others: clean training loss and {split} "
        "accuracy at the end, a dot a run, a cross at each mean. Up is better for whoever uses the network; left is "
        "better optimization. An optimizer further left and lower than another fits better and generalizes worse."
        f"{_at_chance(subject)}"
    )
    columns = {"series": "optimizer", **subject.keys, "loss": "clean training loss", "value": f"{split} accuracy (%)"}
    chart = alt.layer(dots, crosses).add_params(hideable())
    return Figure("trade-off", "Fit and generalization", text, chart, {"dots": runs, "means": means}, columns)


def measured_split(subject: Subject) -> str | None:
    """Returns the split that results are of: test, or where some optimizer left it alone, validation."""
    runs = subject.final_runs
    for split in ("test", "validation"):
        known = runs.group_by("series").agg(pl.col(f"{split}_accuracy").count().alias("runs"))["runs"]
        if len(known) and (known > 0).all():
            return split
    return None


def over(subject: Subject) -> str:
    """Returns what means are over."""
    return "over searches" if subject.study is not None and subject.study.repetitions > 1 else "over seeds"


def _means(subject: Subject, runs: pl.DataFrame, accuracy: str) -> pl.DataFrame:
    """Returns where the mean of each optimizer's runs is; in a study that of its verdict."""
    if subject.ranking is None:
        return runs.group_by("series", maintain_order=True).agg(pl.col("loss").mean(), pl.col("value").mean())
    found = [
        {"series": s.contender, "loss": s.results["train_clean_loss"].mean, "value": 100 * s.results[accuracy].mean}
        for s in subject.ranking.standings
        if {"train_clean_loss", accuracy} <= s.results.keys()
    ]
    return pl.DataFrame(found, schema={"series": pl.String, "loss": pl.Float64, "value": pl.Float64})


def _tips(columns: Mapping[str, str]) -> list[alt.Tooltip]:
    return [alt.Tooltip(name, type="nominal", title=title) for name, title in columns.items()]


def _at_chance(subject: Subject) -> str:
    lost = int((subject.final_runs["status"] == "diverged").sum())
    return f" Runs that diverged stand at chance: {lost}." if lost else ""


def _strip(
    dots: pl.DataFrame,
    means: pl.DataFrame,
    looks: Mapping[str, Look],
    order: tuple[str, ...],
    title: str,
    keys: Sequence[alt.Tooltip],
    positive: bool = False,
) -> alt.TopLevelMixin:
    there = set(dots["series"])
    y = alt.Y("series:N", sort=[name for name in order if name in there], title=None)
    scale = axis(dots["value"], means["low"], logarithmic=positive and _wide(dots["value"]))
    x = alt.X("value:Q", title=title, **scale)
    tips = [
        alt.Tooltip("series:N", title="optimizer"),
        *keys,
        alt.Tooltip("value:Q", title=title, format=".4~f"),
    ]
    marks = shown(alt.Chart(alt.NamedData("dots")).mark_point(opacity=0.6, yOffset=-4)).encode(
        x=x, y=y, color=colour(looks), shape=shape(looks), tooltip=tips
    )
    said = [
        alt.Tooltip("series:N", title="optimizer"),
        alt.Tooltip("mean:Q", format=".4~f"),
        alt.Tooltip("low:Q", title="interval from", format=".4~f"),
        alt.Tooltip("high:Q", title="to", format=".4~f"),
        alt.Tooltip("seeds:Q", title="values"),
    ]
    base = shown(alt.Chart(alt.NamedData("means")))
    rules = base.mark_rule(strokeWidth=2, yOffset=6).encode(
        x=alt.X("low:Q", **scale), x2="high:Q", y=y, color=colour(looks), tooltip=said
    )
    ticks = base.mark_tick(thickness=2, height=10, yOffset=6).encode(
        x=alt.X("mean:Q", **scale), y=y, color=colour(looks), tooltip=said
    )
    intervals = [rules] if means["low"].count() else []
    return alt.layer(marks, *intervals, ticks).add_params(hideable()).properties(height=ROW * len(there))


def _wide(values: pl.Series) -> bool:
    """Returns whether values are so far apart that a logarithmic axis shows them better."""
    least, greatest = extent(values)
    return least > 0 and greatest / least > LOG_FROM


def _estimates(dots: pl.DataFrame, domain: Domain, unit: float = 1.0) -> pl.DataFrame:
    """Returns the estimate of each series as a row; the dots are in a unit of which so many make one."""
    groups = dots.group_by("series", maintain_order=True)
    found = {name: estimate((group["value"] / unit).to_list(), domain=domain) for (name,), group in groups}
    return _rows({str(name): each for name, each in found.items()}, unit)


def _rows(estimates: Mapping[str, Estimate], unit: float = 1.0) -> pl.DataFrame:
    """Returns estimates as rows, in a unit of which so many make one."""
    rows = []
    for name, found in estimates.items():
        low, high = (None, None) if found.interval is None else (unit * found.low, unit * found.high)
        rows.append({"series": name, "mean": unit * found.mean, "low": low, "high": high, "seeds": found.count})
    types = {"series": pl.String, "mean": pl.Float64, "low": pl.Float64, "high": pl.Float64, "seeds": pl.Int64}
    return pl.DataFrame(rows, schema=types)
