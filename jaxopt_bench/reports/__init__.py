"""Results as people look at them."""

from __future__ import annotations

from jaxopt_bench.reports.sweep import sweep_table

__all__ = ["sweep_table"]
