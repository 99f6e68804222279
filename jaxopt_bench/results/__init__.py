"""Runs read back as numbers that can be compared."""

from __future__ import annotations

from jaxopt_bench.results.statistics import (
    Difference,
    Estimate,
    RankCorrelation,
    Sensitivity,
    estimate,
    expected_best,
    expected_best_is_exact,
    holm,
    paired_difference,
    probability_better,
    seeds_needed,
    sensitivity,
    spearman,
    turning_budgets,
)
from jaxopt_bench.results.table import Row, rows_by_setting

__all__ = [
    "Difference",
    "Estimate",
    "RankCorrelation",
    "Row",
    "Sensitivity",
    "estimate",
    "expected_best",
    "expected_best_is_exact",
    "holm",
    "paired_difference",
    "probability_better",
    "rows_by_setting",
    "seeds_needed",
    "sensitivity",
    "spearman",
    "turning_budgets",
]
