"""What a study is; runs read back as tables; what their numbers say."""

from __future__ import annotations

from jaxopt_bench.results.claims import Answered, answers
from jaxopt_bench.results.document import Document, read_document
from jaxopt_bench.results.protocol import protocol
from jaxopt_bench.results.settings import Row, rows_by_setting
from jaxopt_bench.results.statistics import Estimate, estimate
from jaxopt_bench.results.study import Association, Claim, Comparison, Contender, Study, Target
from jaxopt_bench.results.tables import Results, load, together
from jaxopt_bench.results.verdict import Ranking, Standing, Verdict, verdict
from jaxopt_bench.results.words import paragraph

__all__ = [
    "Answered",
    "Association",
    "Claim",
    "Comparison",
    "Contender",
    "Document",
    "Estimate",
    "Ranking",
    "Results",
    "Row",
    "Standing",
    "Study",
    "Target",
    "Verdict",
    "answers",
    "estimate",
    "load",
    "paragraph",
    "protocol",
    "read_document",
    "rows_by_setting",
    "together",
    "verdict",
]
