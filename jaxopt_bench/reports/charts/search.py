"""Charts of the search: learning rates, budgets, and the winners within their search spaces."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import numpy as np
import polars as pl

from jaxopt_bench.formatting import format_value, short_names
from jaxopt_bench.optimizers import Axis, Choice
from jaxopt_bench.reports.figure import Figure, axis, colour, dash, hideable, shape, without_hidden
from jaxopt_bench.reports.quantity import Quantity, may_be_logarithmic
from jaxopt_bench.reports.style import SeriesStyle
from jaxopt_bench.reports.workload_data import WorkloadData
from jaxopt_bench.statistics import expected_best_is_exact
from jaxopt_bench.study import STEPS

ROW = 22  # pixels


def sensitivity(subject: WorkloadData, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    """Returns the results of runs against their learning rates: of a study's trials, or of all runs."""
    tried = subject.trials if subject.study else subject.ended
    stopped = int((tried["status"] == "stopped").sum())
    tried = tried.filter(pl.col("learning_rate") > 0, pl.col("status") != "stopped")
    quantity = _judged_by(subject)
    measure = quantity.name
    alive = tried.filter(pl.col("status") == "completed", pl.col(measure).is_not_null())
    rates = alive.group_by("series").agg(pl.col("learning_rate").n_unique())["learning_rate"]
    if not (rates > 1).any():
        return None
    several = subject.study is not None and subject.study.trial_seeds > 1
    keys = {"trial": "trial", **{n: t for n, t in subject.keys.items() if n != "seed" or several}}
    dots = alive.select(
        "series", "learning_rate", *keys, quantity.values().alias("value"), pl.col("selected").fill_null(False)
    )
    lost = tried.filter((pl.col("status") == "diverged") | pl.col(measure).is_null())
    lost = lost.select("series", "learning_rate", *keys)
    what = "run" if not subject.study else "trial" if subject.study.trial_seeds == 1 else "seed of a trial"
    direction = "Higher" if quantity.higher_is_better else "Lower"
    said = [f"The final {quantity.words} of each {what} against its learning rate. {direction} is better."]
    if dots["selected"].any():
        said.append("Rings mark the winners.")
    if subject.study is not None and any(len(subject.study.contender(name).searched) > 1 for name in subject.series):
        said.append("Other hyperparameters vary too, so neighbours may differ.")
    if len(lost):
        said.append(f"Crosses at the top are the {len(lost)} that diverged, or ended without a finite result.")
    if stopped:
        said.append(f"The {stopped} trials that successive halving stopped before their last epoch are left out.")
    columns = {"series": "optimizer", "learning_rate": "learning rate", "value": quantity.title, **keys}
    chart = _rates_chart(styles, quantity, tried, dots, lost, keys)
    return Figure(
        "learning-rate",
        "Sensitivity to the learning rate",
        " ".join(said),
        chart,
        {"dots": dots, "lost": lost},
        columns,
    )


def _rates_chart(
    styles: Mapping[str, SeriesStyle],
    quantity: Quantity,
    tried: pl.DataFrame,
    dots: pl.DataFrame,
    lost: pl.DataFrame,
    keys: Mapping[str, str],
) -> alt.TopLevelMixin:
    """Returns a dot for each result, a ring around each winner, and a cross at the top for each run without a result.

    Args:
      styles: the styles of the optimizers.
      quantity: the quantity of the results.
      tried: all runs, for the axis of learning rates.
      dots: the results.
      lost: the runs without a result.
      keys: the columns of `dots` and `lost` that identify runs, with their titles.
    """
    title = quantity.title
    x = alt.X("learning_rate:Q", title="learning rate", **axis(tried["learning_rate"]))
    y = alt.Y("value:Q", title=title, **axis(dots["value"], logarithmic=may_be_logarithmic(quantity.metric)))
    tips = [
        alt.Tooltip("series:N", title="optimizer"),
        alt.Tooltip("learning_rate:Q", title="learning rate", format=".3~g"),
        alt.Tooltip("value:Q", title=title, format=".4~g"),
        *(alt.Tooltip(f"{name}:Q", title=word) for name, word in keys.items()),
    ]
    base = without_hidden(alt.Chart(alt.NamedData("dots")))
    marks = base.mark_point(opacity=0.8).encode(
        x=x, y=y, color=colour(styles, "dot"), shape=shape(styles, "dot"), tooltip=tips
    )
    rings = base.transform_filter("datum.selected").mark_point(filled=False, shape="circle", size=150).encode(
        x=x, y=y, color=colour(styles)
    )  # fmt: skip
    layers = [marks, rings] if dots["selected"].any() else [marks]
    if len(lost):
        crosses = without_hidden(alt.Chart(alt.NamedData("lost")))
        layers.append(
            crosses.mark_text(text="×", fontSize=14, y=6).encode(
                x=x, color=colour(styles), tooltip=[*tips[:2], *tips[3:]]
            )
        )
    return alt.layer(*layers).add_params(hideable())


def settings_map(subject: WorkloadData, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    """Returns the results of a sweep over two numeric fields, as numbers in coloured cells."""
    if len(subject.varied) != 2:
        return None
    quantity, (across, up) = _judged_by(subject), subject.varied
    table = (
        subject.ended.with_columns(quantity.values().alias("value"))
        .group_by(across, up)
        .agg(pl.col("value").mean(), pl.col("value").null_count().alias("lost"), pl.len().alias("runs"))
        .with_columns(pl.when(pl.col("lost") > 0).then(None).otherwise(pl.col("value")).alias("value"))
        .sort(across, up)
    )
    if table["value"].count() < 2:
        return None
    values = table["value"].to_numpy()
    logarithmic = may_be_logarithmic(quantity.metric) and np.nanmin(values) > 0
    position = np.log(values) if logarithmic else values
    low, high = np.nanmin(position), np.nanmax(position)
    share = (position - low) / (high - low) if high > low else np.ones(len(position))
    titles = short_names([across, up])
    cells = pl.DataFrame(
        {
            "across": [format_value(value) for value in table[across]],
            "up": [format_value(value) for value in table[up]],
            "value": table["value"],
            "share": share if quantity.higher_is_better else 1 - share,
            "shown": ["diverged" if value is None else format_value(value) for value in table["value"]],
            "runs": table["runs"],
        }
    )
    flat = alt.Axis(labelAngle=0)
    x = alt.X("across:O", sort=list(dict.fromkeys(cells["across"])), title=titles[across].replace("_", " "), axis=flat)
    ups = [format_value(value) for value in sorted(table[up].unique(), reverse=True)]
    y = alt.Y("up:O", sort=ups, title=titles[up].replace("_", " "))
    tips = [
        alt.Tooltip("across:O", title=titles[across].replace("_", " ")),
        alt.Tooltip("up:O", title=titles[up].replace("_", " ")),
        alt.Tooltip("value:Q", title=quantity.title, format=".4~g"),
        alt.Tooltip("runs:Q"),
    ]
    base = alt.Chart(alt.NamedData("cells"))
    blues = alt.Scale(scheme="blues", domain=[0, 1])
    rectangles = base.mark_rect().encode(x=x, y=y, color=alt.Color("share:Q", scale=blues, legend=None), tooltip=tips)
    ink = alt.condition("datum.share > 0.55", alt.value("#ffffff"), alt.value("#000000"))
    numbers = base.mark_text(fontSize=9).encode(x=x, y=y, text="shown:N", color=ink)
    several = "the mean over seeds of " if (table["runs"] > 1).any() else ""
    text = (
        f"Each cell is a setting: {several}the {quantity.words} at the end. Darker is better. A setting has no "
        "number if one of its runs diverged."
    )
    columns = {
        "across": titles[across].replace("_", " "),
        "up": titles[up].replace("_", " "),
        "value": quantity.title,
        "runs": "runs",
    }
    chart = alt.layer(rectangles, numbers).properties(height=ROW * max(4, len(ups)))
    return Figure("settings", "All settings", text, chart, {"cells": cells}, columns, zoomable=False)


def budget(subject: WorkloadData, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    """Returns the expected result of the best of fewer trials."""
    if subject.ranking is None or subject.study is None:
        return None
    quantity = _judged_by(subject)
    rows = [
        {"series": s.contender, "trials": k, "value": quantity.metric.scale * value}
        for s in subject.ranking.standings
        if s.trials is not None
        for k, value in enumerate(s.trials.expected_best, start=1)
    ]
    if len({row["trials"] for row in rows}) < 2:
        return None
    table = pl.DataFrame(rows)
    exact = expected_best_is_exact(subject.study.search)
    title = f"expected best {quantity.title}"
    x = alt.X("trials:Q", title="trials", axis=alt.Axis(tickMinStep=1, format="d"), scale=alt.Scale(zero=False))
    y = alt.Y("value:Q", title=title, **axis(table["value"], logarithmic=may_be_logarithmic(quantity.metric)))
    tips = [
        alt.Tooltip("series:N", title="optimizer"),
        alt.Tooltip("trials:Q"),
        alt.Tooltip("value:Q", title=title, format=".4~g"),
    ]
    base = without_hidden(alt.Chart(alt.NamedData("budgets")))
    line = base.mark_line().encode(x=x, y=y, color=colour(styles, "stroke"), strokeDash=dash(styles, "stroke"))
    dots = base.mark_point().encode(x=x, y=y, color=colour(styles), tooltip=tips)
    assumed = (
        "The trials are independent draws, so any number of them is a search of its own." if exact else
        "This assumes that trials are independent draws. These are points of a Sobol sequence, and a search of its own "
        "with fewer points spreads them more evenly and finds better ones."
    )  # fmt: skip
    text = (
        "The expected result of the best of a number of trials, over all ways to choose them from those that were made "
        f"(Dodge et al., 2019, without replacement). {assumed} The curves have no intervals: their order can be "
        "due to chance."
    )
    columns = {"series": "optimizer", "trials": "trials", "value": title}
    chart = alt.layer(line, dots).add_params(hideable())
    return Figure("budget", "Expected best against the budget", text, chart, {"budgets": table}, columns)


def hyperparameters(subject: WorkloadData, styles: Mapping[str, SeriesStyle]) -> Figure | None:
    """Returns the values of the winners within their search spaces."""
    if subject.ranking is None or subject.study is None:
        return None
    winners, spaces = [], []
    for standing in subject.ranking.standings:
        space = subject.study.contender(standing.contender).reach
        short = short_names(space)
        for field, searched in space.items():
            row = f"{standing.contender}: {short[field]}"
            low, high = format_value(searched.value(0)), format_value(searched.value(1))
            spaces.append({"row": row, "series": standing.contender, "low": low, "high": high})
            for winner in standing.winners:
                value = winner.winning_values.get(field)
                share = _share(searched, value)
                if share is not None:
                    winners.append(
                        {"row": row, "series": standing.contender, "share": share, "value": format_value(value)}
                    )
    if not winners:
        return None
    order = [space["row"] for space in sorted(spaces, key=lambda s: s["row"].partition(": ")[2])]
    y = alt.Y("row:N", sort=order, title=None, axis=alt.Axis(labelLimit=220, domain=False, ticks=False))
    scale = alt.Scale(domain=[0, 1], nice=False, padding=47)
    rule = without_hidden(alt.Chart(alt.NamedData("spaces"))).transform_calculate(zero="0", one="1")
    x = alt.X("zero:Q", scale=scale, axis=None)
    ranges = rule.mark_rule(strokeWidth=2, opacity=0.5).encode(x=x, x2="one:Q", y=y, color=colour(styles))
    lows = rule.mark_text(align="right", dx=-4).encode(x=x, y=y, text="low:N")
    highs = rule.mark_text(align="left", dx=4).encode(x=alt.X("one:Q", scale=scale, axis=None), y=y, text="high:N")
    base = without_hidden(alt.Chart(alt.NamedData("winners")))
    at_share = alt.X("share:Q", scale=scale, axis=None)
    dots = base.mark_point(size=60, opacity=1).encode(
        x=at_share, y=y, color=colour(styles), shape=shape(styles),
        tooltip=[alt.Tooltip("row:N", title="hyperparameter"), alt.Tooltip("value:N")],
    )  # fmt: skip
    labels = base.mark_text(dy=-7).encode(x=at_share, y=y, text="value:N")
    several = subject.study.repetitions > 1
    text = (
        "The place of each winner in the search space, on the scale of the search, with the ends of the space and its "
        "extensions. "
        + ("Each dot is a repetition of the search. " if several else "")
        + "The best of a few trials can lie at an end by chance; the answer says where results improve towards it."
    )
    chart = alt.layer(ranges, lows, highs, dots, *([] if several else [labels])).add_params(hideable())
    columns = {"row": "hyperparameter", "value": "value", "share": "share of the range"}
    return Figure(
        "hyperparameters", "The best hyperparameters found", text, chart.properties(height=ROW * len(spaces)),
        {"winners": pl.DataFrame(winners), "spaces": pl.DataFrame(spaces)}, columns, wide=True, zoomable=False,
    )  # fmt: skip


def _judged_by(subject: WorkloadData) -> Quantity:
    """Returns the quantity that selects trials; for runs of no study, the first measured loss of some splits."""
    if subject.study is not None and subject.ranking is not None:
        steps = subject.study.select == STEPS  # which are not a value at the end of a run
        split = subject.study.judging_split(subject.workload)
        return Quantity(subject.measures[f"{split}_loss"] if steps else subject.ranking.measures.judged)
    known = (m for m in ("validation_loss", "test_loss") if subject.runs[m].is_not_null().any())
    return Quantity(subject.measures[next(known, "train_loss")])


def _share(searched: Axis | Choice, value: object) -> float | None:
    if isinstance(searched, Axis):
        return searched.share(value) if isinstance(value, (int, float)) and value in searched else None
    values = list(searched.values)
    held = tuple(value) if isinstance(value, list) else value
    return values.index(held) / max(1, len(values) - 1) if held in values else None
