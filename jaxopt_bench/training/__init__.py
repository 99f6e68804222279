"""Training as pure functions: state, step, loops, populations. They use no files and no clocks, and print nothing."""

from __future__ import annotations

from jaxopt_bench.training.batches import MaskedBatch, padded_batches
from jaxopt_bench.training.code_path import CodePath, choose_code_path, default_backend
from jaxopt_bench.training.devices import check_batch, fetch_to_host, replicated_sharding, shard_over_devices, shardings
from jaxopt_bench.training.loop import make_loop
from jaxopt_bench.training.metrics import NEVER, EvaluationMetrics, StepMetrics
from jaxopt_bench.training.population import check_one_program, copied, largest_population, member, stack
from jaxopt_bench.training.program import Program
from jaxopt_bench.training.side_by_side import part_size
from jaxopt_bench.training.state import (
    TrainState,
    abstract_states,
    compile_initial_states,
    first_state,
    initial_state,
    initial_states,
)
from jaxopt_bench.training.step import make_evaluation_step, make_train_step
from jaxopt_bench.training.task import Task
from jaxopt_bench.training.update import update_parameters

__all__ = [
    "NEVER",
    "CodePath",
    "EvaluationMetrics",
    "MaskedBatch",
    "Program",
    "StepMetrics",
    "Task",
    "TrainState",
    "abstract_states",
    "check_batch",
    "check_one_program",
    "choose_code_path",
    "compile_initial_states",
    "copied",
    "default_backend",
    "fetch_to_host",
    "first_state",
    "initial_state",
    "initial_states",
    "largest_population",
    "make_evaluation_step",
    "make_loop",
    "make_train_step",
    "member",
    "padded_batches",
    "part_size",
    "replicated_sharding",
    "shard_over_devices",
    "shardings",
    "stack",
    "update_parameters",
]
