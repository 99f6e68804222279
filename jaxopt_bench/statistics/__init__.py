"""The statistics of a comparison: functions of numbers, which know nothing of runs or charts."""

from __future__ import annotations

from jaxopt_bench.statistics.budgets import expected_best, expected_best_is_exact, turning_budgets
from jaxopt_bench.statistics.comparisons import Difference, holm, paired_difference, probability_better, seeds_needed
from jaxopt_bench.statistics.hyperparameters import RankCorrelation, Sensitivity, sensitivity, spearman
from jaxopt_bench.statistics.intervals import Estimate, estimate
from jaxopt_bench.statistics.means import complete_mean
from jaxopt_bench.statistics.profiles import Profile, algoperf_score, performance_profile, steps_to_target

__all__ = [
    "Difference",
    "Estimate",
    "Profile",
    "RankCorrelation",
    "Sensitivity",
    "algoperf_score",
    "complete_mean",
    "estimate",
    "expected_best",
    "expected_best_is_exact",
    "holm",
    "paired_difference",
    "performance_profile",
    "probability_better",
    "seeds_needed",
    "sensitivity",
    "spearman",
    "steps_to_target",
    "turning_budgets",
]
