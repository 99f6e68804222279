"""Which trial wins, by the validation split alone."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from jaxopt_bench.optimizers import Axis, Space
from jaxopt_bench.results.statistics import steps_to_target
from jaxopt_bench.results.study import Study, Target
from jaxopt_bench.results.tables import Results

EDGE = 0.1
"""The share of a range, at either end, that counts as its edge."""


@dataclasses.dataclass(frozen=True)
class Score:
    """How a trial is judged.

    Attributes:
      trial: its index.
      value: what it is judged by, the mean over its seeds; None where one diverged, or never reached the target.
      loss: the mean validation loss, None where a seed diverged; it decides where no trial has a value.
    """

    trial: int
    value: float | None
    loss: float | None


def trial_scores(study: Study, results: Results) -> list[Score]:
    """Returns the scores of a unit's trials, by their indices.

    Args:
      study: says what trials are judged by.
      results: the trials of one contender on one workload in one repetition, all finished.
    """
    scores = []
    for (trial,), seeds in results.runs.sort("trial", "seed").group_by(["trial"], maintain_order=True):
        rows = seeds.to_dicts()
        losses = _mean([final_or_best(study, row, "validation_loss") for row in rows])
        if study.select == "steps_to_target":
            target = study.target(rows[0]["workload"])
            assert target is not None, "a study that selects by steps has targets"
            value = _mean([steps_of(results.lines(row["path"]), target) for row in rows])
        else:
            value = _mean([final_or_best(study, row, study.select) for row in rows])
        scores.append(Score(int(str(trial)), value if losses is not None else None, losses))
    return scores


def select(study: Study, scores: Sequence[Score]) -> Score | None:
    """Returns the winner, the earlier of equals; None where every trial diverged."""
    sign = -1 if study.select == "validation_accuracy" else 1

    def rank(score: Score) -> tuple[float, float]:
        value = math.inf if score.value is None else sign * score.value
        return value, math.inf if score.loss is None else score.loss

    alive = [score for score in scores if score.loss is not None]
    return min(alive, key=rank, default=None)


def final_or_best(study: Study, row: Mapping[str, Any], measure: str) -> float | None:
    """Returns a result of a run at the epoch that the study looks at; None where it diverged."""
    return row.get(f"{study.at}.{measure}") if row["status"] == "completed" else None


def steps_of(lines: pl.DataFrame, target: Target) -> int | None:
    """Returns the step at which a run reached a target, by its lines; None where it did not."""
    split, _, measure = target.measure.rpartition("_")
    known = lines.filter(pl.col("split") == split, pl.col(measure).is_not_null()).sort("step")
    return steps_to_target(
        known["step"].to_list(), known[measure].to_list(), target.value, higher=measure == "accuracy"
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


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None
