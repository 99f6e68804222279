"""Runs read back as numbers that can be compared."""

from __future__ import annotations

from jaxopt_bench.results.statistics import (
    Difference,
    Estimate,
    estimate,
    holm,
    paired_difference,
    probability_better,
    seeds_needed,
)
from jaxopt_bench.results.table import Row, rows_by_setting

__all__ = [
    "Difference",
    "Estimate",
    "Row",
    "estimate",
    "holm",
    "paired_difference",
    "probability_better",
    "rows_by_setting",
    "seeds_needed",
]
