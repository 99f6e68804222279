"""The statistics of a comparison: functions of numbers, which know nothing of runs or charts."""

from __future__ import annotations

from jaxopt_bench.statistics.budgets import expected_best, expected_best_is_exact
from jaxopt_bench.statistics.comparisons import Difference, compare_pairs, count_wins, holm
from jaxopt_bench.statistics.hyperparameters import RankCorrelation, Sensitivity, sensitivity, spearman
from jaxopt_bench.statistics.intervals import Estimate, estimate
from jaxopt_bench.statistics.means import complete_mean
from jaxopt_bench.statistics.planning import (
    SeedRange,
    least_difference,
    pooled_deviation,
    power_of_comparison,
    results_for,
    seed_range,
    seeds_needed,
)
from jaxopt_bench.statistics.profiles import Profile, algoperf_score, performance_profile, steps_to_target
from jaxopt_bench.statistics.resolution import least_deviation, share_step
from jaxopt_bench.statistics.scores import Scores, bootstrap_scores
from jaxopt_bench.statistics.variance import variance_shares

__all__ = [
    "Difference",
    "Estimate",
    "Profile",
    "RankCorrelation",
    "Scores",
    "SeedRange",
    "Sensitivity",
    "algoperf_score",
    "bootstrap_scores",
    "compare_pairs",
    "complete_mean",
    "count_wins",
    "estimate",
    "expected_best",
    "expected_best_is_exact",
    "holm",
    "least_deviation",
    "least_difference",
    "performance_profile",
    "pooled_deviation",
    "power_of_comparison",
    "results_for",
    "seed_range",
    "seeds_needed",
    "sensitivity",
    "share_step",
    "spearman",
    "steps_to_target",
    "variance_shares",
]
