"""Runs read back as numbers that can be compared."""

from __future__ import annotations

from jaxopt_bench.results.statistics import (
    Difference,
    Estimate,
    Profile,
    RankCorrelation,
    Sensitivity,
    algoperf_score,
    estimate,
    expected_best,
    expected_best_is_exact,
    holm,
    paired_difference,
    performance_profile,
    probability_better,
    seeds_needed,
    sensitivity,
    spearman,
    steps_to_target,
    turning_budgets,
)
from jaxopt_bench.results.table import Row, rows_by_setting

__all__ = [
    "Difference",
    "Estimate",
    "Profile",
    "RankCorrelation",
    "Row",
    "Sensitivity",
    "algoperf_score",
    "estimate",
    "expected_best",
    "expected_best_is_exact",
    "holm",
    "paired_difference",
    "performance_profile",
    "probability_better",
    "rows_by_setting",
    "seeds_needed",
    "sensitivity",
    "spearman",
    "steps_to_target",
    "turning_budgets",
]
