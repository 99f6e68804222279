"""Results as people look at them."""

from __future__ import annotations

from jaxopt_bench.reports.compare import claims_table, ranking_table, selected_table
from jaxopt_bench.reports.extra import check_extra
from jaxopt_bench.reports.optimizers import hyperparameters_table, optimizers_table
from jaxopt_bench.reports.results import results_table
from jaxopt_bench.reports.sweep import sweep_table
from jaxopt_bench.reports.trajectories import SURFACES, Trajectory, check_picture, draw_trajectories, trajectory

__all__ = [
    "SURFACES",
    "Trajectory",
    "check_extra",
    "check_picture",
    "claims_table",
    "draw_trajectories",
    "hyperparameters_table",
    "optimizers_table",
    "ranking_table",
    "results_table",
    "selected_table",
    "sweep_table",
    "trajectory",
]
