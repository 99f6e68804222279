"""Trains the runs of a study, on this machine or on a cluster, and shows the progress."""

from __future__ import annotations

from jaxopt_bench.compare.baselines import (
    differences,
    drawing_difference,
    drop_unfinished_contenders,
    join_results,
    make_newcomer_study,
    tuning_differences,
)
from jaxopt_bench.compare.cluster import ClusterExecutor
from jaxopt_bench.compare.cost_estimate import StudyCost, estimate_study_cost
from jaxopt_bench.compare.jobs import Executor, LocalExecutor
from jaxopt_bench.compare.newcomers import add_newcomers, apply_space_and_schedule_flags, check_forms, make_newcomer
from jaxopt_bench.compare.power import StudyPower, compute_study_power, recorded_noise
from jaxopt_bench.compare.progress import Progress, progress_for
from jaxopt_bench.compare.python_api import run_study
from jaxopt_bench.compare.study_runner import compare
from jaxopt_bench.compare.timed_study import timed_study
from jaxopt_bench.compare.widening import Widening, widen

__all__ = [
    "ClusterExecutor",
    "Executor",
    "LocalExecutor",
    "Progress",
    "StudyCost",
    "StudyPower",
    "Widening",
    "add_newcomers",
    "apply_space_and_schedule_flags",
    "check_forms",
    "compare",
    "compute_study_power",
    "differences",
    "drawing_difference",
    "drop_unfinished_contenders",
    "estimate_study_cost",
    "join_results",
    "make_newcomer",
    "make_newcomer_study",
    "progress_for",
    "recorded_noise",
    "run_study",
    "timed_study",
    "tuning_differences",
    "widen",
]
