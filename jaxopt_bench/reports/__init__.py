"""Results for people: tables, pages and pictures."""

from __future__ import annotations

from jaxopt_bench.reports import tables
from jaxopt_bench.reports.conformance import ARRAYS_NOTE, arrays_table, describe_missed_arrays, facts_table
from jaxopt_bench.reports.extra import check_extra
from jaxopt_bench.reports.optimizers import hyperparameters_table, optimizers_table
from jaxopt_bench.reports.results import ResultsTable
from jaxopt_bench.reports.sweep import sweep_table
from jaxopt_bench.reports.terminal import terminal
from jaxopt_bench.reports.trajectories import (
    SURFACES,
    Trajectory,
    check_picture,
    describe_equal_paths,
    equal_paths,
    trajectories_on,
    trajectory,
)

__all__ = [
    "ARRAYS_NOTE",
    "SURFACES",
    "ResultsTable",
    "Trajectory",
    "arrays_table",
    "check_extra",
    "check_picture",
    "describe_equal_paths",
    "describe_missed_arrays",
    "equal_paths",
    "facts_table",
    "hyperparameters_table",
    "optimizers_table",
    "sweep_table",
    "tables",
    "terminal",
    "trajectories_on",
    "trajectory",
]
