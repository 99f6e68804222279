"""Reads runs from disk as tables."""

from __future__ import annotations

from jaxopt_bench.results.completeness import describe_missing_results
from jaxopt_bench.results.loading import NoRunsError, load, load_runs
from jaxopt_bench.results.metrics import metrics_of, workload_metrics
from jaxopt_bench.results.settings import SettingRow, rows_by_setting
from jaxopt_bench.results.tables import Results, combine_results, describe_repeats, drop_repeated_runs

__all__ = [
    "NoRunsError",
    "Results",
    "SettingRow",
    "combine_results",
    "describe_missing_results",
    "describe_repeats",
    "drop_repeated_runs",
    "load",
    "load_runs",
    "metrics_of",
    "rows_by_setting",
    "workload_metrics",
]
