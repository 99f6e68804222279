"""How long a step takes, measured apart from any run: the runs of a population share a clock."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.runs.compilation import keep_compiled_programs
from jaxopt_bench.runs.environment import thread_count
from jaxopt_bench.runs.options import Options
from jaxopt_bench.runs.splits import load_task
from jaxopt_bench.training import Program, initial_states, part_size

BLOCKS, BLOCK_SECONDS = 5, 0.3


def seconds_per_step(experiments: Sequence[Experiment], options: Options) -> float:
    """Returns the median time of a training step of one run, in seconds, evaluation and writing left out.

    Where the members of a population take turns, so do the experiments, and a run's share is returned. Where members
    may have been trained side by side, only as many take turns as one thread trains. So the program is there already,
    from when they were trained. Elsewhere the first one has the device for itself.

    Args:
      experiments: runs that one program can train, alike but for their seeds.
      options: where the data are, and how to compute.
    """
    keep_compiled_programs()
    task, splits = load_task(experiments[0], options)
    divided = task.side_by_side(task.code_path.side_by_side or thread_count()).code_path
    tasks = [dataclasses.replace(task.side_by_side(1), experiment=e) for e in experiments]
    tasks = tasks[: part_size(divided, len(tasks)) if divided.members == "map" else 1]
    count = len(tasks)
    program = Program(tasks[0], count)
    states, metrics = initial_states(tasks), program.empty_metrics()
    order = program.epoch_orders(states.seed, 0)

    def timed(steps: int) -> float:
        nonlocal states, metrics
        began = time.perf_counter()
        states, metrics = program.advance(states, metrics, splits.train, order, jnp.full(count, steps, jnp.int32))
        jax.block_until_ready(metrics)
        states = states.replace(step=jnp.zeros_like(states.step))  # the next block goes through the epoch anew
        return (time.perf_counter() - began) / (steps * count)

    timed(1)  # compiles
    steps = max(1, min(task.steps_per_epoch, round(BLOCK_SECONDS / (count * timed(1)))))
    return statistics.median(timed(steps) for _ in range(BLOCKS))
