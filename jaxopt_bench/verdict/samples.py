"""The results of single runs. Winners, rankings and answers to claims are computed from them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import polars as pl
from jaxtyping import Float

from jaxopt_bench.measures import Measure, measures, split_of
from jaxopt_bench.problems import LOSS, Metric
from jaxopt_bench.results import Results, workload_metrics
from jaxopt_bench.results.columns import metric_columns
from jaxopt_bench.runs import SPLITS
from jaxopt_bench.statistics import least_deviation, steps_to_target
from jaxopt_bench.study import Document, Phase, Study, Target

RunRow = Mapping[str, Any]
"""A row of the table of runs."""
T = TypeVar("T", float, np.ndarray)


def samples(results: Results, document: Document, workload: str, measure: Measure) -> dict[str, list[float]]:
    """Returns independent results of each contender: one per seed, or with several repetitions the mean of each.

    Args:
      results: the results of the study.
      document: the document of the study.
      workload: the name of the workload.
      measure: the measure of the confirmations.

    Returns:
      The results of the contenders that have results; see `by_search`.
    """
    several = document.study.repetitions > 1
    return {
        name: [statistics.fmean(seeds) for seeds in searches] if several else [v for seeds in searches for v in seeds]
        for name, searches in by_search(results, document, workload, measure).items()
    }


def by_search(results: Results, document: Document, workload: str, measure: Measure) -> dict[str, list[list[float]]]:
    """Returns the results of each contender: a list for each search, with a result for each seed.

    A run that diverged counts as `worst_result`. With several repetitions, so does a search without a winner, because
    all its trials diverged. They are left out if `worst_result` is not known.

    Args:
      results: the results of the study.
      document: the document of the study.
      workload: the name of the workload.
      measure: the measure of the confirmations.

    Returns:
      The results of the contenders that have results.
    """

    def of_run(row: RunRow) -> float | None:
        return run_value(results, document.study, row, measure)

    return _by_search(results, document, workload, measure, of_run, lambda worst: worst)


def example_samples(
    results: Results, document: Document, workload: str, measure: Measure
) -> dict[str, Float[np.ndarray, "results examples"]] | None:
    """Returns the results of each test example in each of the results of `samples`.

    If a result counts as `worst_result`, every example has this value.

    Args:
      results: the results of the study.
      document: the document of the study.
      workload: the name of the workload.
      measure: the measure of the confirmations.

    Returns:
      An array for each contender; None if the measure is not the headline metric of the test split, or the results of
      single examples are not recorded for all completed confirmations.
    """
    study = document.study
    headline = workload_metrics(results.runs, workload)[0].name
    completed = (
        select_ended_runs(results, workload, None, "confirmation").filter(pl.col("status") == "completed").to_dicts()
    )
    known = [_examples_of(results, study, row) for row in completed]
    counts = {len(own) for own in known if own is not None}
    if measure.name != f"test_{headline}" or len(counts) != 1 or any(own is None for own in known):
        return None
    (count,) = counts

    def of_run(row: RunRow) -> np.ndarray | None:
        return _examples_of(results, study, row) if row["status"] == "completed" else None

    def of_worst(worst: float) -> np.ndarray:
        return np.full(count, worst)

    searches = _by_search(results, document, workload, measure, of_run, of_worst)
    several = study.repetitions > 1
    return {
        name: np.stack([np.mean(seeds, axis=0) for seeds in own] if several else [v for seeds in own for v in seeds])
        for name, own in searches.items()
    }


def _examples_of(results: Results, study: Study, row: RunRow) -> np.ndarray | None:
    step = row.get(f"{study.at}.step")
    return None if step is None else results.examples_of(row["path"], step)


def _by_search(
    results: Results,
    document: Document,
    workload: str,
    measure: Measure,
    of_run: Callable[[RunRow], T | None],
    of_worst: Callable[[float], T],
) -> dict[str, list[list[T]]]:
    """Returns the results of each contender by search and seed; see `by_search`.

    Args:
      results: the results of the study.
      document: the document of the study.
      workload: the name of the workload.
      measure: the measure that determines the worst result.
      of_run: a function that returns the result of a confirmation; None if it is not known.
      of_worst: a function that returns the result of a run with the worst value.
    """
    study = document.study
    found = {c.name: _by_repetition(results, workload, c.name, of_run) for c in study.contenders}
    lost = {name: lost_searches(document, workload, name) if own else () for name, own in found.items()}
    known = {name: own | {repetition: {0: None} for repetition in lost[name]} for name, own in found.items() if own}
    worst = None
    if any(value is None for own in known.values() for seeds in own.values() for value in seeds.values()):
        worst = worst_result(results, study, workload, measure)
    instead = None if worst is None else of_worst(worst)
    searches = {name: _known_or_worst(own, instead) for name, own in known.items()}
    return {name: values for name, values in searches.items() if values}


def _by_repetition(
    results: Results, workload: str, contender: str, of_run: Callable[[RunRow], T | None]
) -> dict[int, dict[int, T | None]]:
    """Returns the results of a contender's confirmations, by repetition and seed; None for a run that diverged."""
    found: dict[int, dict[int, T | None]] = {}
    for row in select_ended_runs(results, workload, contender, "confirmation").to_dicts():
        value = of_run(row)
        if value is not None or row["status"] != "completed":
            found.setdefault(row["repetition"], {})[row["seed"]] = value
    return found


def _known_or_worst(by_repetition: Mapping[int, Mapping[int, T | None]], worst: T | None) -> list[list[T]]:
    """Returns the results of the seeds of each search, with `worst` for those that are None."""
    found = []
    for _, by_seed in sorted(by_repetition.items()):
        values = [worst if value is None else value for _, value in sorted(by_seed.items())]
        known = [value for value in values if value is not None]
        found += [known] if known else []
    return found


def worst_result(results: Results, study: Study, workload: str, measure: Measure) -> float | None:
    """Returns the result that counts for a run that diverged.

    It is the result of an untrained model. If this is not known, or a completed confirmation has a worse result, it is
    the worst result of the completed confirmations: a run that diverged is not better than any of them.

    Returns:
      The result; None if neither is known.
    """
    rows = select_ended_runs(results, workload, None, "confirmation").filter(pl.col("status") == "completed").to_dicts()
    known = [run_value(results, study, row, measure) for row in rows]
    candidates = [value for value in (*known, measure.metric.untrained) if value is not None]
    return min(candidates, default=None) if measure.higher_is_better else max(candidates, default=None)


def lost_searches(document: Document, workload: str, contender: str) -> tuple[int, ...]:
    """Returns the repetitions in which all trials of a contender diverged."""
    return tuple(s.repetition for s in document.selections_of(workload, contender) if s.trial is None)


def deviation_floor(
    results: Results, workload: str, measure: Measure, values_by_contender: Mapping[str, Sequence[float]]
) -> float:
    """Returns the smallest possible deviation of results of a measure due to rounding; see `least_deviation`.

    Args:
      results: the results of the study. The number of examples is found from all its values of an accuracy.
      workload: the name of the workload.
      measure: the measure of the results.
      values_by_contender: the results. For other measures than accuracies, their rounding to float32 counts. Other runs
        do not count: the loss of a trial that nearly diverged can be larger by any factor.
    """
    values = [value for own in values_by_contender.values() for value in own]
    metric = measure.metric
    shares = metric.resampling == "examples" and (metric.least, metric.greatest) == (0.0, 1.0)
    if shares:
        rows = results.runs.filter(pl.col("workload") == workload)
        columns = [name for at in ("final", "best") if (name := f"{at}.{measure.name}") in rows.columns]
        known = [value for name in columns for value in rows[name].drop_nulls().to_list() if math.isfinite(value)]
        values = known or values
    return least_deviation(values, shares=shares) if values else 0.0


def run_value(results: Results, study: Study, row: RunRow, measure: Measure) -> float | None:
    """Returns a measure of a run; None if it diverged, or the measure is not known."""
    if measure.of_curves is not None:
        return measure.of_curves(epoch_curves(results.lines(row["path"]))) if row["status"] == "completed" else None
    return final_or_best(study, row, measure.name)


def final_or_best(study: Study, row: RunRow, measure: str) -> float | None:
    """Returns a result of a run at the epoch that `Study.at` names; None if it diverged or has no such result."""
    return row.get(f"{study.at}.{measure}") if row["status"] == "completed" else None


def result_at(study: Study, results: Results, row: RunRow, measure: str, epoch: int | None) -> float | None:
    """Returns the result of a run at its end, or at the end of an earlier epoch.

    Args:
      study: the study. `Study.at` sets whether the result is that of the last or of the best epoch up to then.
      results: the results of the study.
      row: the row of the run.
      measure: "{split}_{metric}".
      epoch: the epoch, counted from 1. Only records up to its end count. None for the end of the run.

    Returns:
      The result; None if the run had not reached the epoch, or had diverged by then.
    """
    if epoch is None:
        return final_or_best(study, row, measure)
    found, lines = split_of(measure), results.lines(row["path"])
    ends = lines.filter(pl.col("split").is_in(SPLITS), pl.col("epoch") <= epoch)
    validated = ends.filter(pl.col("split") == "validation", pl.col(LOSS).is_not_null()).sort(LOSS, "step")
    best_step = validated["step"].head(1).to_list()
    last, best = ends.filter(pl.col("epoch") == epoch), ends.filter(pl.col("step").is_in(best_step))
    reported = best if study.at == "best" else last
    if found is None or found[1] not in lines.columns or any(each[LOSS].has_nulls() for each in (last, best)):
        return None
    values = reported.filter(pl.col("split") == found[0])[found[1]]
    return values[-1] if len(last) and len(values) else None


def epoch_curves(lines: pl.DataFrame) -> dict[str, list[float | None]]:
    """Returns the measurements of a run at the ends of its epochs, by `{split}_{metric}`."""
    names = metric_columns(lines.columns)
    ends = lines.select("split", "step", *names).filter(pl.col("split") != "train_steps").sort("step")
    found: dict[str, list[float | None]] = {}
    for line in ends.iter_rows(named=True):
        for name in names:
            found.setdefault(f"{line['split']}_{name}", []).append(line[name])
    return found


def run_steps_to_target(lines: pl.DataFrame, target: Target, metrics: tuple[Metric, ...]) -> int | None:
    """Returns the step at which a run reached a target, from its lines; None if it did not.

    Args:
      lines: the lines of the run's metrics.
      target: the target of its workload.
      metrics: the metrics of its problem.
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


def select_ended_runs(results: Results, workload: str, contender: str | None, phase: Phase) -> pl.DataFrame:
    """Returns the runs in a phase that have ended or were stopped, of one contender or, for None, of all.

    For confirmations, only those of winners are returned.
    """
    rows = results.runs.filter(
        pl.col("workload") == workload,
        pl.lit(True) if contender is None else pl.col("contender") == contender,
        pl.col("phase") == phase,
        pl.col("status").is_in(["completed", "diverged", "stopped"]),
    )
    return rows.filter(pl.col("selected")) if phase == "confirmation" else rows


def seeds_by_trial(runs: pl.DataFrame) -> list[list[RunRow]]:
    """Returns a list for each trial, with the rows of its seeds."""
    found: dict[tuple[int, int], list[RunRow]] = {}
    for row in runs.to_dicts():
        found.setdefault((row["repetition"], row["trial"]), []).append(row)
    return list(found.values())
