"""The charts of a report, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jaxopt_bench.reports.charts.associations import association
from jaxopt_bench.reports.charts.curves import (
    clean_training_curve,
    clean_training_loss,
    test_curve,
    training_loss,
    validation_curve,
)
from jaxopt_bench.reports.charts.outcomes import cost, final_results, trade_off
from jaxopt_bench.reports.charts.search import budget, hyperparameters, sensitivity, settings_map
from jaxopt_bench.reports.charts.steps import gradient_norm, loss_of_steps
from jaxopt_bench.reports.charts.suite import suite_figures
from jaxopt_bench.reports.charts.targets import profiles, time_to_target
from jaxopt_bench.reports.figure import Figure
from jaxopt_bench.reports.style import SeriesStyle
from jaxopt_bench.reports.workload_data import WorkloadData

Chart = Callable[[WorkloadData, Mapping[str, SeriesStyle]], Figure | None]

CHARTS: tuple[Chart, ...] = (
    loss_of_steps,
    training_loss,
    test_curve,
    validation_curve,
    clean_training_loss,
    clean_training_curve,
    gradient_norm,
    trade_off,
    final_results,
    association,
    sensitivity,
    settings_map,
    budget,
    hyperparameters,
    time_to_target,
    cost,
)
"""Each function draws a chart of a workload, or returns None if there are no data for it."""
SMALL_CHARTS: tuple[Chart, ...] = (validation_curve, clean_training_curve, final_results)
"""The charts of each workload, if a study has many workloads."""

__all__ = ["CHARTS", "SMALL_CHARTS", "Chart", "profiles", "suite_figures"]
