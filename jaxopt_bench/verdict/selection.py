"""Selects the best trial of each optimizer. The test split is not used."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from jaxopt_bench.errors import unknown_name
from jaxopt_bench.measures import Measure, measures, split_of
from jaxopt_bench.optimizers import Axis, Space
from jaxopt_bench.problems import LOSS, Metric
from jaxopt_bench.results import Results, metrics_of
from jaxopt_bench.statistics import complete_mean, steps_to_target
from jaxopt_bench.study import STEPS, Study, Target

EDGE = 0.1
"""The share of a range, at either end, that counts as its edge."""


@dataclasses.dataclass(frozen=True)
class Score:
    """How a trial is judged.

    Attributes:
      trial: its index.
      value: what it is judged by, the mean over its seeds; None if one diverged, or never reached the target.
      loss: the mean loss on the split by which trials are judged, None if a seed diverged; it decides if no trial has a
        value.
    """

    trial: int
    value: float | None
    loss: float | None


def judged_by(study: Study, workload: str, metrics: tuple[Metric, ...]) -> Measure:
    """Returns the measure that a workload's trials are judged by.

    Args:
      study: the study.
      workload: its name.
      metrics: of its problem.

    Raises:
      UserError: if the problem has no such metric.
    """
    if study.select == STEPS:
        return Measure(STEPS, Metric(name="steps_to_target", least=0.0), "steps to target")
    known = measures(metrics)
    if study.select not in known:
        raise unknown_name(f"measure in Study.select, on the workload {workload}", study.select, known)
    return known[study.select]


def trial_scores(study: Study, results: Results) -> list[Score]:
    """Returns the scores of a unit's trials, by their indices.

    Args:
      study: says what trials are judged by.
      results: the trials of one contender on one workload in one repetition, all finished.
    """
    scores = []
    metrics = metrics_of(results.runs["metrics"].to_list())
    for rows in seeds_by_trial(results.runs.sort("trial", "seed")):
        workload = rows[0]["workload"]
        losses = complete_mean([final_or_best(study, row, f"{study.judging_split(workload)}_{LOSS}") for row in rows])
        if study.select == STEPS:
            target = study.target(workload)
            assert target is not None, "a study that selects by steps has targets"
            value = complete_mean([steps_of(results.lines(row["path"]), target, metrics) for row in rows])
        else:
            value = complete_mean([final_or_best(study, row, study.select) for row in rows])
        scores.append(Score(rows[0]["trial"], value if losses is not None else None, losses))
    return scores


def seeds_by_trial(runs: pl.DataFrame) -> list[list[dict[str, Any]]]:
    """Returns the rows of trials, one list for each trial: those of its seeds."""
    found: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in runs.to_dicts():
        found.setdefault((row["repetition"], row["trial"]), []).append(row)
    return list(found.values())


def select(scores: Sequence[Score], *, higher: bool) -> Score | None:
    """Returns the winner, the earlier of equals; None if every trial diverged.

    Args:
      scores: of the trials.
      higher: whether higher values are better; see `judged_by`.
    """
    sign = -1 if higher else 1

    def rank(score: Score) -> tuple[float, float]:
        value = math.inf if score.value is None else sign * score.value
        return value, math.inf if score.loss is None else score.loss

    alive = [score for score in scores if score.loss is not None]
    return min(alive, key=rank, default=None)


def final_or_best(study: Study, row: Mapping[str, Any], measure: str) -> float | None:
    """Returns a result of a run at the epoch that the study looks at; None if it diverged or has no such result."""
    return row.get(f"{study.at}.{measure}") if row["status"] == "completed" else None


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


def edges(space: Space, values: Mapping[str, Any]) -> list[str]:
    """Returns the fields whose values lie at an edge of their range, each with the edge: "optimizer.b1 (low)"."""
    found = []
    for field, searched in space.items():
        if isinstance(searched, Axis):
            share = searched.share(values[field])
            if share < EDGE or share > 1 - EDGE:
                at = "low" if (share < EDGE) != (searched.scale == "log_one_minus") else "high"
                found.append(f"{field} ({at})")
    return found
