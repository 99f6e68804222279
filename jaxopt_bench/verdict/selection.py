"""Selects the best trial of each optimizer. The test split is not used."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from jaxopt_bench.errors import unknown_name
from jaxopt_bench.measures import Measure, measures
from jaxopt_bench.optimizers import Axis, Space
from jaxopt_bench.problems import LOSS, Metric
from jaxopt_bench.results import Results, metrics_of
from jaxopt_bench.statistics import complete_mean
from jaxopt_bench.study import STEPS, Point, Study
from jaxopt_bench.verdict.samples import result_at, run_steps_to_target, seeds_by_trial

EDGE = 0.1
"""The fraction of a range, at either end, that counts as its edge."""


@dataclasses.dataclass(frozen=True)
class TrialScore:
    """The score of a trial.

    Attributes:
      trial: the index of the trial.
      value: the mean over its seeds of the measure that judges it; None if a seed diverged or never reached the target.
      loss: the mean loss on the split that judges trials; None if a seed diverged. It decides between trials with equal
        values, and between trials without a value, which come last.
    """

    trial: int
    value: float | None
    loss: float | None


def judging_measure(study: Study, workload: str, metrics: tuple[Metric, ...]) -> Measure:
    """Returns the measure that judges a workload's trials.

    Args:
      study: the study.
      workload: the name of the workload.
      metrics: the metrics of its problem.

    Raises:
      UserError: if the problem has no such metric.
    """
    if study.select == STEPS:
        return Measure(STEPS, Metric(name="steps_to_target", least=0.0), "steps to target")
    known = measures(metrics)
    if study.select not in known:
        raise unknown_name(f"measure in Study.select, on the workload {workload}", study.select, known)
    return known[study.select]


def trial_scores(study: Study, results: Results, epoch: int | None = None) -> list[TrialScore]:
    """Returns the scores of a unit's trials, or of its finalists, by their indices.

    Args:
      study: the study, which names the measure that judges trials.
      results: the runs of one contender on one workload in one repetition, all finished: either its trials, or those of
        its finalists with other seeds.
      epoch: use only the records of the runs up to this epoch; None for their results at the end.
    """
    scores = []
    metrics = metrics_of(results.runs["metrics"].to_list())
    for rows in seeds_by_trial(results.runs.sort("trial", "seed")):
        workload = rows[0]["workload"]
        loss = f"{study.judging_split(workload)}_{LOSS}"
        losses = complete_mean([result_at(study, results, row, loss, epoch) for row in rows])
        if study.select == STEPS:
            target = study.target(workload)
            assert target is not None, "a study that selects by steps has targets"
            value = complete_mean([run_steps_to_target(results.lines(row["path"]), target, metrics) for row in rows])
        else:
            value = complete_mean([result_at(study, results, row, study.select, epoch) for row in rows])
        scores.append(TrialScore(rows[0]["trial"], value if losses is not None else None, losses))
    return scores


def rank_trials(scores: Sequence[TrialScore], *, higher: bool) -> list[TrialScore]:
    """Returns the trials that did not diverge, the best first; if trials are equal, the earlier one comes first.

    Args:
      scores: the scores of the trials.
      higher: whether higher values are better; see `judging_measure`.
    """
    sign = -1 if higher else 1

    def rank(score: TrialScore) -> tuple[float, float]:
        value = math.inf if score.value is None else sign * score.value
        return value, math.inf if score.loss is None else score.loss

    return sorted((score for score in scores if score.loss is not None), key=rank)


def find_edges(space: Space, values: Point) -> list[str]:
    """Returns the fields whose values lie at an edge of their range, each with the edge: "optimizer.b1 (low)".

    Args:
      space: `Contender.reach`, so that extensions of the search space count.
      values: the values of a trial.
    """
    found = []
    for field, searched in space.items():
        if isinstance(searched, Axis):
            share = searched.share(values[field])
            if share < EDGE or share > 1 - EDGE:
                at = "low" if (share < EDGE) != (searched.scale == "log_one_minus") else "high"
                found.append(f"{field} ({at})")
    return found
