"""Runs read back as numbers that can be compared."""

from __future__ import annotations

from jaxopt_bench.results.statistics import Estimate, estimate
from jaxopt_bench.results.table import Row, rows_by_setting

__all__ = ["Estimate", "Row", "estimate", "rows_by_setting"]
