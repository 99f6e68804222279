"""The conclusions from a study's results: winners, rankings, answers to claims, and all of this in words."""

from __future__ import annotations

from jaxopt_bench.verdict.claims import ClaimResult, judge_claims
from jaxopt_bench.verdict.export import verdict_to_json
from jaxopt_bench.verdict.noise import Noise, noise_of
from jaxopt_bench.verdict.pairs import Pair
from jaxopt_bench.verdict.paragraphs import paragraphs
from jaxopt_bench.verdict.ranking import Ranking, Standing
from jaxopt_bench.verdict.recommendation import describe_single_setting, recommendation
from jaxopt_bench.verdict.reference import REFERENCE, ReferenceComparison, compare_with_reference, reference_of
from jaxopt_bench.verdict.score_scale import ScoreScale
from jaxopt_bench.verdict.selection import TrialScore, find_edges, judging_measure, rank_trials, trial_scores
from jaxopt_bench.verdict.single_settings import SingleSetting, compute_single_settings
from jaxopt_bench.verdict.suite import SuitePair, SuiteVerdict, compute_suite_verdict
from jaxopt_bench.verdict.suite_text import describe_suite_verdict
from jaxopt_bench.verdict.text import (
    describe_evidence,
    describe_scores,
    describe_seeds,
    describe_sensitivity,
    sample,
)
from jaxopt_bench.verdict.verdict import Verdict, verdict
from jaxopt_bench.verdict.workload_measures import REPORTED
from jaxopt_bench.verdict.worse import SUITE, WorseContender, find_worse_contenders

__all__ = [
    "REFERENCE",
    "REPORTED",
    "SUITE",
    "ClaimResult",
    "Noise",
    "Pair",
    "Ranking",
    "ReferenceComparison",
    "ScoreScale",
    "SingleSetting",
    "Standing",
    "SuitePair",
    "SuiteVerdict",
    "TrialScore",
    "Verdict",
    "WorseContender",
    "compare_with_reference",
    "compute_single_settings",
    "compute_suite_verdict",
    "describe_evidence",
    "describe_scores",
    "describe_seeds",
    "describe_sensitivity",
    "describe_single_setting",
    "describe_suite_verdict",
    "find_edges",
    "find_worse_contenders",
    "judge_claims",
    "judging_measure",
    "noise_of",
    "paragraphs",
    "rank_trials",
    "recommendation",
    "reference_of",
    "sample",
    "trial_scores",
    "verdict",
    "verdict_to_json",
]
