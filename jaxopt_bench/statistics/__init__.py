"""The statistics of a comparison: functions of numbers, independent of runs and charts."""

from __future__ import annotations

from jaxopt_bench.statistics.aggregates import (
    Aggregate,
    Aggregates,
    aggregate_ranks,
    aggregate_scores,
)
from jaxopt_bench.statistics.budgets import expected_best, expected_best_is_exact
from jaxopt_bench.statistics.checks import CONFIDENCE
from jaxopt_bench.statistics.comparisons import Difference, compare_pairs, count_wins, holm
from jaxopt_bench.statistics.hyperparameters import RankCorrelation, Sensitivity, sensitivity, spearman
from jaxopt_bench.statistics.intervals import Estimate, estimate
from jaxopt_bench.statistics.means import complete_mean
from jaxopt_bench.statistics.planning import (
    SeedRange,
    minimum_detectable_difference,
    pooled_deviation,
    power_of_comparison,
    results_needed,
    seed_range,
    seeds_needed,
)
from jaxopt_bench.statistics.profiles import Profile, algoperf_score, performance_profile, steps_to_target
from jaxopt_bench.statistics.ranks import Friedman, average_ranks, critical_difference, friedman
from jaxopt_bench.statistics.resolution import least_deviation, share_step
from jaxopt_bench.statistics.score_profiles import ScoreProfile, score_profiles
from jaxopt_bench.statistics.scores import Scores, bootstrap_scores
from jaxopt_bench.statistics.shared_settings import SharedSetting, shared_setting
from jaxopt_bench.statistics.signed_ranks import signed_rank_p_value
from jaxopt_bench.statistics.speedups import SpeedUp, median_speed_up, speed_up
from jaxopt_bench.statistics.variance import variance_shares

__all__ = [
    "CONFIDENCE",
    "Aggregate",
    "Aggregates",
    "Difference",
    "Estimate",
    "Friedman",
    "Profile",
    "RankCorrelation",
    "ScoreProfile",
    "Scores",
    "SeedRange",
    "Sensitivity",
    "SharedSetting",
    "SpeedUp",
    "aggregate_ranks",
    "aggregate_scores",
    "algoperf_score",
    "average_ranks",
    "bootstrap_scores",
    "compare_pairs",
    "complete_mean",
    "count_wins",
    "critical_difference",
    "estimate",
    "expected_best",
    "expected_best_is_exact",
    "friedman",
    "holm",
    "least_deviation",
    "median_speed_up",
    "minimum_detectable_difference",
    "performance_profile",
    "pooled_deviation",
    "power_of_comparison",
    "results_needed",
    "score_profiles",
    "seed_range",
    "seeds_needed",
    "sensitivity",
    "share_step",
    "shared_setting",
    "signed_rank_p_value",
    "spearman",
    "speed_up",
    "steps_to_target",
    "variance_shares",
]
