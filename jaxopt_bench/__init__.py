"""jaxopt_bench: which optimizer should I train this network with, and how sure can I be?"""

from __future__ import annotations

from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.runs import Run, load_run, train

__all__ = ["Experiment", "Run", "UserError", "load_run", "train"]
