"""What a study is; runs read back as tables; what their numbers say."""

from __future__ import annotations

from jaxopt_bench.results.claims import Answered, answers
from jaxopt_bench.results.document import Document, read_document
from jaxopt_bench.results.protocol import protocol
from jaxopt_bench.results.settings import Row, rows_by_setting
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
from jaxopt_bench.results.study import Association, Claim, Comparison, Contender, Study, Target
from jaxopt_bench.results.tables import Results, load, without_repeats
from jaxopt_bench.results.verdict import Ranking, Standing, Verdict, verdict
from jaxopt_bench.results.words import paragraph

__all__ = [
    "Answered",
    "Association",
    "Claim",
    "Comparison",
    "Contender",
    "Difference",
    "Document",
    "Estimate",
    "Profile",
    "RankCorrelation",
    "Ranking",
    "Results",
    "Row",
    "Sensitivity",
    "Standing",
    "Study",
    "Target",
    "Verdict",
    "algoperf_score",
    "answers",
    "estimate",
    "expected_best",
    "expected_best_is_exact",
    "holm",
    "load",
    "paired_difference",
    "paragraph",
    "performance_profile",
    "probability_better",
    "protocol",
    "read_document",
    "rows_by_setting",
    "seeds_needed",
    "sensitivity",
    "spearman",
    "steps_to_target",
    "turning_budgets",
    "verdict",
    "without_repeats",
]
