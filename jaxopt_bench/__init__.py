"""jaxopt_bench: which optimizer should I train this network with, and how sure can I be?"""

from __future__ import annotations

TYPE_CHECKING = False  # defined here, since importing `typing` is slow: the command line handles Ctrl-C before that
if TYPE_CHECKING:
    from typing import Any

    from jaxopt_bench.compare import run_study
    from jaxopt_bench.errors import UserError
    from jaxopt_bench.experiment import Experiment, Workload
    from jaxopt_bench.problems import Metric, Problem
    from jaxopt_bench.runs import Options, Recording, Run, load_run, train_population
    from jaxopt_bench.runs.train import train
    from jaxopt_bench.study import Study, find_study

__all__ = [
    "Experiment",
    "Metric",
    "Options",
    "Problem",
    "Recording",
    "Run",
    "Study",
    "UserError",
    "Workload",
    "find_study",
    "load_run",
    "run_study",
    "train",
    "train_population",
]

_HOMES = {
    "UserError": "errors",
    "Experiment": "experiment",
    "Workload": "experiment",
    "Metric": "problems",
    "Problem": "problems",
    "Study": "study",
    "find_study": "study",
    "run_study": "compare",
}


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used: importing JAX takes seconds, and not every command needs it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'runs')}"), name)
