"""Many runs under one protocol."""

from __future__ import annotations

from jaxopt_bench.studies.baselines import challenge, differences, joined
from jaxopt_bench.studies.cluster import Cluster
from jaxopt_bench.studies.compare import check_shard, compare
from jaxopt_bench.studies.files import STUDIES, find_study, newcomer
from jaxopt_bench.studies.progress import Progress, progress_for
from jaxopt_bench.studies.sweep import Range, grid, parse_values

__all__ = [
    "STUDIES",
    "Cluster",
    "Progress",
    "Range",
    "challenge",
    "check_shard",
    "compare",
    "differences",
    "find_study",
    "grid",
    "joined",
    "newcomer",
    "parse_values",
    "progress_for",
]
