"""The measures that compare the results on a workload."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import polars as pl

from jaxopt_bench.measures import Measure, measures
from jaxopt_bench.problems import LOSS
from jaxopt_bench.results import Results, workload_metrics
from jaxopt_bench.study import STEPS, Study
from jaxopt_bench.verdict.samples import final_or_best
from jaxopt_bench.verdict.selection import judging_measure

REPORTED = ("test", "validation", "train_clean")
"""Splits by preference: results are reported on the first of them that the problem has."""
POINT = 0.01
"""A good learning rate may be worse than the best by this much: a point of a percentage; for other units, this share of
the difference between the best trial and an untrained model."""


@dataclasses.dataclass(frozen=True)
class WorkloadMeasures:
    """The measures that compare the results on a workload.

    Attributes:
      by_name: all measures of the workload's runs, by name.
      primary: the measure that ranks contenders, such as the test accuracy.
      judged: the measure that judges trials, such as the validation loss; if trials are judged by the steps to the
        target, the loss on the split of the target.
      headline: the headline metric of the trials; it decides which learning rates are good.
      tolerance: a good learning rate's `headline` may be worse than the best trial's by this much; None if it is not
        known.
    """

    by_name: Mapping[str, Measure]
    primary: Measure
    judged: Measure
    headline: Measure
    tolerance: float | None


def choose_measures(results: Results, study: Study, workload: str) -> WorkloadMeasures:
    """Returns the measures that compare a study's results on a workload."""
    metrics = workload_metrics(results.runs, workload)
    known = measures(metrics)
    split = study.judging_split(workload)
    judged = known[f"{split}_{LOSS}"] if study.select == STEPS else judging_measure(study, workload, metrics)
    headline = known[f"{split}_{metrics[0].name}"]
    primary = known[f"{_reported(results, study, workload, metrics[0].name)}_{metrics[0].name}"]
    return WorkloadMeasures(known, primary, judged, headline, _tolerance(results, study, workload, headline))


def _reported(results: Results, study: Study, workload: str, metric: str) -> str:
    """Returns the split on which results are reported: the first one for which a confirmation has a result."""
    rows = results.runs.filter(pl.col("workload") == workload, pl.col("phase") == "confirmation")
    columns = {split: f"{study.at}.{split}_{metric}" for split in REPORTED}
    known = (split for split, name in columns.items() if name in rows.columns and rows[name].count())
    return next(known, REPORTED[0])


def _tolerance(results: Results, study: Study, workload: str, headline: Measure) -> float | None:
    """Returns the tolerance of good learning rates; see `WorkloadMeasures.tolerance`."""
    if headline.metric.percent:
        return POINT
    rows = results.runs.filter(pl.col("workload") == workload, pl.col("phase") == "trial")
    values = [v for row in rows.to_dicts() if (v := final_or_best(study, row, headline.name)) is not None]
    if not values or headline.metric.untrained is None:
        return None
    best = max(values) if headline.higher_is_better else min(values)
    return POINT * abs(best - headline.metric.untrained)
