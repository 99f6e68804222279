"""Results as people look at them."""

from __future__ import annotations

from jaxopt_bench.reports import tables
from jaxopt_bench.reports.extra import check_extra
from jaxopt_bench.reports.optimizers import hyperparameters_table, optimizers_table
from jaxopt_bench.reports.results import results_table
from jaxopt_bench.reports.sweep import sweep_table
from jaxopt_bench.reports.terminal import terminal
from jaxopt_bench.reports.trajectories import SURFACES, Trajectory, check_picture, draw_trajectories, trajectory

__all__ = [
    "SURFACES",
    "Trajectory",
    "check_extra",
    "check_picture",
    "draw_trajectories",
    "hyperparameters_table",
    "optimizers_table",
    "results_table",
    "sweep_table",
    "tables",
    "terminal",
    "trajectory",
]
