"""The measures by which the results on a workload are compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import polars as pl

from jaxopt_bench.measures import Measure, measures
from jaxopt_bench.problems import LOSS
from jaxopt_bench.results import Results, workload_metrics
from jaxopt_bench.study import STEPS, Study
from jaxopt_bench.verdict.samples import final_or_best
from jaxopt_bench.verdict.selection import judged_by

REPORTED = ("test", "validation", "train_clean")
"""Splits by preference: results are reported on the first of them that the problem has."""
POINT = 0.01
"""How much worse than the best a learning rate may be and still count as good: a point of a percentage; for other
units, this share of the difference between the best trial and an untrained model."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """The measures by which the results on a workload are compared.

    Attributes:
      measures: all measures of the workload's runs, by name.
      primary: the measure that ranks contenders, such as the test accuracy.
      judged: the measure of the expected best trial, such as the validation loss.
      headline: the headline metric of the trials, by which learning rates are good or not.
      tolerance: how much worse than the best trial's `headline` that of a good learning rate may be; None if it is not
        known.
    """

    measures: Mapping[str, Measure]
    primary: Measure
    judged: Measure
    headline: Measure
    tolerance: float | None


def scale_of(results: Results, study: Study, workload: str) -> Scale:
    """Returns the measures by which a study's results on a workload are compared."""
    metrics = workload_metrics(results.runs, workload)
    known = measures(metrics)
    split = study.judging_split(workload)
    judged = known[f"{split}_{LOSS}"] if study.select == STEPS else judged_by(study, workload, metrics)
    headline = known[f"{split}_{metrics[0].name}"]
    primary = known[f"{_reported(results, study, workload, metrics[0].name)}_{metrics[0].name}"]
    return Scale(known, primary, judged, headline, _tolerance(results, study, workload, headline))


def _reported(results: Results, study: Study, workload: str, metric: str) -> str:
    """Returns the split on which results are reported: the first that some confirmation has a result of."""
    rows = results.runs.filter(pl.col("workload") == workload, pl.col("phase") == "confirmation")
    columns = {split: f"{study.at}.{split}_{metric}" for split in REPORTED}
    known = (split for split, name in columns.items() if name in rows.columns and rows[name].count())
    return next(known, REPORTED[0])


def _tolerance(results: Results, study: Study, workload: str, headline: Measure) -> float | None:
    """Returns how much worse than the best a good learning rate may be."""
    if headline.metric.percent:
        return POINT
    rows = results.runs.filter(pl.col("workload") == workload, pl.col("phase") == "trial")
    values = [v for row in rows.to_dicts() if (v := final_or_best(study, row, headline.name)) is not None]
    if not values or headline.metric.untrained is None:
        return None
    best = max(values) if headline.higher_is_better else min(values)
    return POINT * abs(best - headline.metric.untrained)
