"""What a study is; runs read back as tables; what their numbers say."""

from __future__ import annotations

from jaxopt_bench.results.document import Document, read_document
from jaxopt_bench.results.protocol import protocol
from jaxopt_bench.results.settings import Row, rows_by_setting
from jaxopt_bench.results.statistics import Estimate, estimate
from jaxopt_bench.results.study import Association, Claim, Comparison, Contender, Study, Target
from jaxopt_bench.results.tables import Results, load

__all__ = [
    "Association",
    "Claim",
    "Comparison",
    "Contender",
    "Document",
    "Estimate",
    "Results",
    "Row",
    "Study",
    "Target",
    "estimate",
    "load",
    "protocol",
    "read_document",
    "rows_by_setting",
]
