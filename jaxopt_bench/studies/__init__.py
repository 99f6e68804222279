"""Many runs under one protocol."""

from __future__ import annotations

from jaxopt_bench.studies.baselines import challenge, differences, joined, tuning_differences
from jaxopt_bench.studies.cluster import Cluster
from jaxopt_bench.studies.compare import check_shard, compare
from jaxopt_bench.studies.files import STUDIES, find_study
from jaxopt_bench.studies.newcomers import check_forms, newcomer, retuned, with_newcomers
from jaxopt_bench.studies.progress import Progress, progress_for
from jaxopt_bench.studies.question import timed_study
from jaxopt_bench.studies.sweep import grid

__all__ = [
    "STUDIES",
    "Cluster",
    "Progress",
    "challenge",
    "check_forms",
    "check_shard",
    "compare",
    "differences",
    "find_study",
    "grid",
    "joined",
    "newcomer",
    "progress_for",
    "retuned",
    "timed_study",
    "tuning_differences",
    "with_newcomers",
]
