"""The results of a contender's trials on a workload."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import polars as pl

from jaxopt_bench.measures import Measure
from jaxopt_bench.statistics import Sensitivity, complete_mean, expected_best, sensitivity
from jaxopt_bench.study import Study
from jaxopt_bench.verdict.samples import final_or_best, seeds_by_trial
from jaxopt_bench.verdict.scale import Scale

LEARNING_RATE = "optimizer.learning_rate"


@dataclasses.dataclass(frozen=True)
class Trials:
    """A contender's trials on a workload, those of all repetitions.

    Attributes:
      count: how many there are.
      diverged: how many of them diverged.
      expected_best: the expected result of the best of 1, 2, … trials, in `Scale.judged`; empty for a grid, of which a
        part is no grid, and if no result is known.
      good_learning_rates: those of trials that are nearly as good as the best one, see `Scale.tolerance`; None if
        they are not known.
    """

    count: int
    diverged: int
    expected_best: tuple[float, ...]
    good_learning_rates: Sensitivity | None


def trials_of(study: Study, workload: str, rows: pl.DataFrame, scale: Scale) -> Trials:
    """Returns the results of a contender's trials; the result of a trial is the mean over its seeds."""
    trials = seeds_by_trial(rows)

    def means(measure: str) -> list[float | None]:
        return [complete_mean([final_or_best(study, seed, measure) for seed in seeds]) for seeds in trials]

    values = means(scale.judged.name)
    good = None
    if LEARNING_RATE in rows.columns and scale.tolerance is not None:
        reached = means(scale.headline.name)
        rates = [seeds[0][LEARNING_RATE] for seeds in trials]
        if min(rates) > 0:
            good = sensitivity(rates, reached, scale.tolerance, higher=scale.headline.higher_is_better)
    curve = [] if study.search == "grid" else _expected_best(values, scale.judged)  # no part of a grid is a grid
    budget = study.trials_on(study.workload(workload))
    return Trials(len(trials), sum(v is None for v in values), tuple(curve[:budget]), good)


def _expected_best(values: Sequence[float | None], judged: Measure) -> list[float]:
    """Returns the expected result of the best of 1, 2, … trials; one that diverged counts as an untrained model."""
    higher, worst = judged.higher_is_better, judged.metric.untrained
    known = [value for value in values if value is not None]
    if worst is None:
        worst = min(known, default=None) if higher else max(known, default=None)
    if worst is None:
        return []
    bad = -math.inf if higher else math.inf
    return expected_best([bad if v is None else v for v in values], higher=higher, worst=worst)
