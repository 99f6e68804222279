"""Trains the runs of a study, on this machine or on a cluster, and shows the progress."""

from __future__ import annotations

from jaxopt_bench.compare.baselines import (
    challenge,
    differences,
    drawing_difference,
    finished_part,
    joined,
    tuning_differences,
)
from jaxopt_bench.compare.cluster import Cluster
from jaxopt_bench.compare.jobs import Executor, Local
from jaxopt_bench.compare.newcomers import check_forms, newcomer, retuned, with_newcomers
from jaxopt_bench.compare.outlook import Outlook, outlook_of, recorded_noise
from jaxopt_bench.compare.plan import Plan, plan_of
from jaxopt_bench.compare.progress import Progress, progress_for
from jaxopt_bench.compare.python_api import run_study
from jaxopt_bench.compare.question import timed_study
from jaxopt_bench.compare.widening import Widening, widen
from jaxopt_bench.compare.work import compare

__all__ = [
    "Cluster",
    "Executor",
    "Local",
    "Outlook",
    "Plan",
    "Progress",
    "Widening",
    "challenge",
    "check_forms",
    "compare",
    "differences",
    "drawing_difference",
    "finished_part",
    "joined",
    "newcomer",
    "outlook_of",
    "plan_of",
    "progress_for",
    "recorded_noise",
    "retuned",
    "run_study",
    "timed_study",
    "tuning_differences",
    "widen",
    "with_newcomers",
]
