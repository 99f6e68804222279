"""Training as pure functions: state, step, loops. No files, no clocks, no printing."""

from __future__ import annotations

from jaxopt_bench.training.loop import CODE_PATH, make_advance, make_evaluate
from jaxopt_bench.training.metrics import NEVER, EvaluationMetrics, StepMetrics
from jaxopt_bench.training.state import TrainState, abstract_state, initial_state, make_module
from jaxopt_bench.training.step import Batch, make_evaluation_step, make_train_step
from jaxopt_bench.training.task import Task

__all__ = [
    "CODE_PATH",
    "NEVER",
    "Batch",
    "EvaluationMetrics",
    "StepMetrics",
    "Task",
    "TrainState",
    "abstract_state",
    "initial_state",
    "make_advance",
    "make_evaluate",
    "make_evaluation_step",
    "make_module",
    "make_train_step",
]
