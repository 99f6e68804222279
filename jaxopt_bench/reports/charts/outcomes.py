"""The final results and costs of runs: one dot for each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import polars as pl

from jaxopt_bench.reports.figure import Figure, axis, colour, hideable, shape, spans_orders, without_hidden
from jaxopt_bench.reports.quantity import Quantity, may_be_logarithmic
from jaxopt_bench.reports.style import SeriesStyle
from jaxopt_bench.reports.workload_data import WorkloadData
from jaxopt_bench.statistics import Estimate, estimate

ROW = 22  # pixels
PLUS = "M-1,0H1M0,-1V1"


def final_results(subject: WorkloadData, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    """Returns the result of each seed, with the means and their intervals."""
    headline = subject.headline
    if headline is None:
        return None
    dots = subject.final_runs.select("series", *subject.keys, headline.values().alias("value")).drop_nulls("value")
    if len(dots) < 2:
        return None
    ranking, title = subject.ranking, headline.title
    if ranking is None:
        means = _estimates(dots, headline.limits)
    else:
        found = {s.contender: s.results[headline.name] for s in ranking.standings if headline.name in s.results}
        means = _rows(found, headline.metric.scale)
    tips = _tips(subject.keys)
    direction = "right" if headline.higher_is_better else "left"
    text = (
        f"The {headline.words} of each run; each dot is a run. Below the dots of an optimizer are its mean and the 95% "
        f"interval of the mean, {over(subject)}. Further {direction} is better.{_diverged_note(subject)}"
    )
    if subject.study is not None:
        text += (
            " Each interval is that of a single mean. The table of pairs shows which differences are significant; the "
            "overlap of two intervals does not show this."
        )
    positive = may_be_logarithmic(headline.metric)
    chart = _strip(dots, means, styles, subject.series, title, tips, positive)
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


def cost(subject: WorkloadData, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    """Returns the seconds of each run."""
    runs = subject.ended.filter(pl.col("seconds").is_not_null())
    keys = {"phase": "phase", **subject.keys}
    dots = runs.select("series", *keys, pl.col("seconds").alias("value"), "examples_per_second")
    if len(dots) < 2:
        return None
    text = (
        "The seconds of training and evaluation of each run, including trials and finalists. Each dot is a run; the "
        "mean and its 95% interval are below the dots. Runs that one program trained together share its seconds "
        "equally."
    )
    means = _estimates(dots, (0.0, None))
    chart = _strip(dots, means, styles, subject.series, "seconds a run", _tips(keys), positive=True)
    columns = {"series": "optimizer", **keys, "value": "seconds", "examples_per_second": "examples/s"}
    return Figure("cost", "Cost of a run", text, chart, {"dots": dots, "means": means}, columns, zoomable=False)


def trade_off(subject: WorkloadData, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    """Returns clean training loss against the headline metric, one dot per run."""
    headline = subject.headline
    if headline is None or headline.split == "train_clean":
        return None
    loss = Quantity(subject.measures["train_clean_loss"])
    runs = subject.final_runs.select(
        "series", *subject.keys, loss.values().alias("loss"), headline.values().alias("value")
    ).drop_nulls()
    if len(runs) < 2:
        return None
    means = _means(subject, runs, loss, headline)
    logarithmic = may_be_logarithmic(headline.metric) and spans_orders(runs["value"])
    x = alt.X("loss:Q", title=loss.title, **axis(runs["loss"], logarithmic=spans_orders(runs["loss"])))
    y = alt.Y("value:Q", title=headline.title, **axis(runs["value"], logarithmic=logarithmic))
    tips = [
        alt.Tooltip("series:N", title="optimizer"),
        *_tips(subject.keys),
        alt.Tooltip("loss:Q", title=loss.title, format=".4~g"),
        alt.Tooltip("value:Q", title=headline.title, format=".4~g"),
    ]
    dots = without_hidden(alt.Chart(alt.NamedData("dots")).mark_point(opacity=0.75)).encode(
        x=x, y=y, color=colour(styles, "dot"), shape=shape(styles, "dot"), tooltip=tips
    )
    crosses = without_hidden(
        alt.Chart(alt.NamedData("means")).mark_point(shape=PLUS, filled=False, size=120, strokeWidth=2)
    ).encode(x=x, y=y, color=colour(styles))
    better, worse = ("Up", "lower") if headline.higher_is_better else ("Down", "higher")
    text = (
        f"The clean training loss (the fit to the training examples) and the {headline.words} at the end. Each dot is "
        f"a run, each cross a mean. {better} is better for users of the model; left is better optimization. An "
        f"optimizer further left and {worse} than another fits better and generalizes worse.{_diverged_note(subject)}"
    )
    columns = {"series": "optimizer", **subject.keys, "loss": loss.title, "value": headline.title}
    chart = alt.layer(dots, crosses).add_params(hideable())
    return Figure("trade-off", "Fit and generalization", text, chart, {"dots": runs, "means": means}, columns)


def over(subject: WorkloadData) -> str:
    """Returns the unit of the means: "over seeds" or "over searches"."""
    return "over searches" if subject.study is not None and subject.study.repetitions > 1 else "over seeds"


def _means(subject: WorkloadData, runs: pl.DataFrame, loss: Quantity, headline: Quantity) -> pl.DataFrame:
    """Returns the mean of each optimizer's runs; for a study, the mean from its verdict."""
    if subject.ranking is None:
        return runs.group_by("series", maintain_order=True).agg(pl.col("loss").mean(), pl.col("value").mean())
    found = [
        {
            "series": s.contender,
            "loss": loss.metric.scale * s.results[loss.name].mean,
            "value": headline.metric.scale * s.results[headline.name].mean,
        }
        for s in subject.ranking.standings
        if {loss.name, headline.name} <= s.results.keys()
    ]
    return pl.DataFrame(found, schema={"series": pl.String, "loss": pl.Float64, "value": pl.Float64})


def _tips(columns: Mapping[str, str]) -> list[alt.Tooltip]:
    return [alt.Tooltip(name, type="nominal", title=title) for name, title in columns.items()]


def _diverged_note(subject: WorkloadData) -> str:
    lost = int((subject.final_runs["status"] == "diverged").sum())
    return f" Runs that diverged count as the untrained model: {lost}." if lost else ""


def _strip(
    dots: pl.DataFrame,
    means: pl.DataFrame,
    styles: Mapping[str, SeriesStyle],
    order: tuple[str, ...],
    title: str,
    keys: Sequence[alt.Tooltip],
    positive: bool = False,
) -> alt.TopLevelMixin:
    there = set(dots["series"])
    y = alt.Y("series:N", sort=[name for name in order if name in there], title=None)
    scale = axis(dots["value"], means["low"], logarithmic=positive and spans_orders(dots["value"]))
    x = alt.X("value:Q", title=title, **scale)
    tips = [
        alt.Tooltip("series:N", title="optimizer"),
        *keys,
        alt.Tooltip("value:Q", title=title, format=".5~g"),
    ]
    marks = without_hidden(alt.Chart(alt.NamedData("dots")).mark_point(opacity=0.6, yOffset=-4)).encode(
        x=x, y=y, color=colour(styles), shape=shape(styles), tooltip=tips
    )
    said = [
        alt.Tooltip("series:N", title="optimizer"),
        alt.Tooltip("mean:Q", format=".5~g"),
        alt.Tooltip("low:Q", title="interval from", format=".5~g"),
        alt.Tooltip("high:Q", title="to", format=".5~g"),
        alt.Tooltip("seeds:Q", title="values"),
    ]
    base = without_hidden(alt.Chart(alt.NamedData("means")))
    rules = base.mark_rule(strokeWidth=2, yOffset=6).encode(
        x=alt.X("low:Q", **scale), x2="high:Q", y=y, color=colour(styles), tooltip=said
    )
    ticks = base.mark_tick(thickness=2, height=10, yOffset=6).encode(
        x=alt.X("mean:Q", **scale), y=y, color=colour(styles), tooltip=said
    )
    intervals = [rules] if means["low"].count() else []
    return alt.layer(marks, *intervals, ticks).add_params(hideable()).properties(height=ROW * len(there))


def _estimates(dots: pl.DataFrame, limits: tuple[float | None, float | None]) -> pl.DataFrame:
    """Returns the estimate of each series as a row."""
    groups = dots.group_by("series", maintain_order=True)
    least, greatest = limits
    found = {name: estimate(group["value"].to_list(), least=least, greatest=greatest) for (name,), group in groups}
    return _rows({str(name): each for name, each in found.items()})


def _rows(estimates: Mapping[str, Estimate], unit: float = 1.0) -> pl.DataFrame:
    """Returns estimates as rows, multiplied by `unit`."""
    rows = []
    for name, found in estimates.items():
        low, high = (None, None) if found.interval is None else (unit * found.low, unit * found.high)
        rows.append({"series": name, "mean": unit * found.mean, "low": low, "high": high, "seeds": found.count})
    types = {"series": pl.String, "mean": pl.Float64, "low": pl.Float64, "high": pl.Float64, "seeds": pl.Int64}
    return pl.DataFrame(rows, schema=types)
