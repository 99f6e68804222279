"""Reads runs from disk as tables."""

from __future__ import annotations

from jaxopt_bench.results.completeness import incomplete_in_words
from jaxopt_bench.results.metrics import metrics_of, workload_metrics
from jaxopt_bench.results.settings import SettingRow, rows_by_setting
from jaxopt_bench.results.tables import (
    NoRunsError,
    Results,
    combine_results,
    drop_repeated_runs,
    load,
    load_runs,
    repeats_in_words,
)

__all__ = [
    "NoRunsError",
    "Results",
    "SettingRow",
    "combine_results",
    "drop_repeated_runs",
    "incomplete_in_words",
    "load",
    "load_runs",
    "metrics_of",
    "repeats_in_words",
    "rows_by_setting",
    "workload_metrics",
]
