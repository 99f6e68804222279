"""The results of single runs, from which winners, rankings and answers to claims are computed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

import polars as pl

from jaxopt_bench.measures import Measure, measures, split_of
from jaxopt_bench.problems import Metric
from jaxopt_bench.results import Results
from jaxopt_bench.results.columns import metric_columns
from jaxopt_bench.statistics import steps_to_target
from jaxopt_bench.study import Phase, Study, Target

RunRow = Mapping[str, Any]
"""A row of the table of runs."""

Key = int  # a seed, or a repetition if there are several


def samples(results: Results, study: Study, workload: str, contender: str, measure: Measure) -> dict[Key, float]:
    """Returns independent results of a contender: one a seed, or with several repetitions the mean of each.

    A run that diverged counts as an untrained model; it is left out if the measure is of curves, or if the value of an
    untrained model is not known.
    """
    by_repetition: dict[int, dict[int, float]] = {}
    for row in ended(results, workload, contender, "confirmation").to_dicts():
        value = measured(results, study, row, measure)
        if value is not None:
            by_repetition.setdefault(row["repetition"], {})[row["seed"]] = value
    if study.repetitions == 1:
        return by_repetition.get(0, {})
    return {repetition: statistics.fmean(values.values()) for repetition, values in by_repetition.items()}


def paired(one: Mapping[Key, float], other: Mapping[Key, float]) -> tuple[list[float], list[float]]:
    """Returns the results of two contenders for the keys that both have."""
    keys = sorted(one.keys() & other.keys())
    return [one[key] for key in keys], [other[key] for key in keys]


def measured(results: Results, study: Study, row: RunRow, measure: Measure) -> float | None:
    """Returns a measure of a run. For a run that diverged it is that of an untrained model. None if it is not known."""
    if measure.of_curves is not None:
        return measure.of_curves(epoch_curves(results.lines(row["path"]))) if row["status"] == "completed" else None
    value = final_or_best(study, row, measure.name)
    return measure.metric.untrained if value is None and row["status"] != "completed" else value


def final_or_best(study: Study, row: RunRow, measure: str) -> float | None:
    """Returns a result of a run at the epoch that `Study.at` names; None if it diverged or has no such result."""
    return row.get(f"{study.at}.{measure}") if row["status"] == "completed" else None


def epoch_curves(lines: pl.DataFrame) -> dict[str, list[float | None]]:
    """Returns the measurements of a run at the ends of its epochs, by `{split}_{metric}`."""
    names = metric_columns(lines.columns)
    ends = lines.select("split", "step", *names).filter(pl.col("split") != "train_steps").sort("step")
    found: dict[str, list[float | None]] = {}
    for line in ends.iter_rows(named=True):
        for name in names:
            found.setdefault(f"{line['split']}_{name}", []).append(line[name])
    return found


def steps_of(lines: pl.DataFrame, target: Target, metrics: tuple[Metric, ...]) -> int | None:
    """Returns the step at which a run reached a target, by its lines; None if it did not.

    Args:
      lines: of the run's metrics.
      target: of its workload.
      metrics: of its problem.
    """
    measure = measures(metrics).get(target.measure)
    found = split_of(target.measure)
    if measure is None or found is None or found[1] not in lines.columns:
        return None
    split, name = found
    known = lines.filter(pl.col("split") == split, pl.col(name).is_not_null()).sort("step")
    return steps_to_target(
        known["step"].to_list(), known[name].to_list(), target.value, higher=measure.higher_is_better
    )


def ended(results: Results, workload: str, contender: str, phase: Phase) -> pl.DataFrame:
    """Returns the runs of a contender in a phase that have ended. Confirmations are those of winners alone."""
    rows = results.runs.filter(
        pl.col("workload") == workload,
        pl.col("contender") == contender,
        pl.col("phase") == phase,
        pl.col("status").is_in(["completed", "diverged"]),
    )
    return rows.filter(pl.col("selected")) if phase == "confirmation" else rows


def seeds_by_trial(runs: pl.DataFrame) -> list[list[RunRow]]:
    """Returns a list for each trial, with the rows of its seeds."""
    found: dict[tuple[int, int], list[RunRow]] = {}
    for row in runs.to_dicts():
        found.setdefault((row["repetition"], row["trial"]), []).append(row)
    return list(found.values())
