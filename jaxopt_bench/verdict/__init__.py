"""The conclusions from a study's results: winners, rankings, answers to claims, and all of this in words."""

from __future__ import annotations

from jaxopt_bench.verdict.across import Across, SuitePair, across
from jaxopt_bench.verdict.across_words import across_in_words
from jaxopt_bench.verdict.claims import Answered, answers
from jaxopt_bench.verdict.export import verdict_to_json
from jaxopt_bench.verdict.noise import Noise, noise_of
from jaxopt_bench.verdict.pairs import Pair
from jaxopt_bench.verdict.paragraphs import paragraphs
from jaxopt_bench.verdict.ranking import Ranking, Standing
from jaxopt_bench.verdict.recommendation import recommendation, single_setting_in_words
from jaxopt_bench.verdict.reference import REFERENCE, Versus, reference_of, versus_reference
from jaxopt_bench.verdict.scale import REPORTED
from jaxopt_bench.verdict.score_scale import ScoreScale
from jaxopt_bench.verdict.selection import Score, edges, judged_by, ranked, trial_scores
from jaxopt_bench.verdict.shared import Shared, shared_settings
from jaxopt_bench.verdict.verdicts import Verdict, verdict
from jaxopt_bench.verdict.words import (
    evidence_in_words,
    sample,
    scores_in_words,
    seeds_in_words,
    sensitivity_in_words,
)
from jaxopt_bench.verdict.worse import SUITE, Worse, worse_than

__all__ = [
    "REFERENCE",
    "REPORTED",
    "SUITE",
    "Across",
    "Answered",
    "Noise",
    "Pair",
    "Ranking",
    "Score",
    "ScoreScale",
    "Shared",
    "Standing",
    "SuitePair",
    "Verdict",
    "Versus",
    "Worse",
    "across",
    "across_in_words",
    "answers",
    "edges",
    "evidence_in_words",
    "judged_by",
    "noise_of",
    "paragraphs",
    "ranked",
    "recommendation",
    "reference_of",
    "sample",
    "scores_in_words",
    "seeds_in_words",
    "sensitivity_in_words",
    "shared_settings",
    "single_setting_in_words",
    "trial_scores",
    "verdict",
    "verdict_to_json",
    "versus_reference",
    "worse_than",
]
