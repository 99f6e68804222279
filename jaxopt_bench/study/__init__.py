"""The data of studies: contenders and claims, the search, the planned runs, and the document."""

from __future__ import annotations

from jaxopt_bench.study.catalog import STUDIES, find_study
from jaxopt_bench.study.claims import Association, Claim, Comparison
from jaxopt_bench.study.contender import Contender, experiment_of, space_of
from jaxopt_bench.study.document import DOCUMENT, FORMAT, Document, check_within, read_document
from jaxopt_bench.study.entries import RunEntry, Selection, StudyRun, StudySize, Timing, UnitKey
from jaxopt_bench.study.extension import Extension
from jaxopt_bench.study.growth import merge_studies
from jaxopt_bench.study.halving import HALVING, Rung, rungs, training_epochs
from jaxopt_bench.study.measure_names import STEPS
from jaxopt_bench.study.plan import (
    FOLDERS,
    Phase,
    PlannedRun,
    Unit,
    plan_all_runs,
    plan_confirmations,
    plan_finalists,
    plan_trials,
    points,
    units,
)
from jaxopt_bench.study.protocol import (
    describe_budget,
    describe_extensions,
    describe_space,
    protocol,
    space_size,
)
from jaxopt_bench.study.search import Point
from jaxopt_bench.study.study import Study, Target

__all__ = [
    "DOCUMENT",
    "FOLDERS",
    "FORMAT",
    "HALVING",
    "STEPS",
    "STUDIES",
    "Association",
    "Claim",
    "Comparison",
    "Contender",
    "Document",
    "Extension",
    "Phase",
    "PlannedRun",
    "Point",
    "RunEntry",
    "Rung",
    "Selection",
    "Study",
    "StudyRun",
    "StudySize",
    "Target",
    "Timing",
    "Unit",
    "UnitKey",
    "check_within",
    "describe_budget",
    "describe_extensions",
    "describe_space",
    "experiment_of",
    "find_study",
    "merge_studies",
    "plan_all_runs",
    "plan_confirmations",
    "plan_finalists",
    "plan_trials",
    "points",
    "protocol",
    "read_document",
    "rungs",
    "space_of",
    "space_size",
    "training_epochs",
    "units",
]
