"""How long a step takes, measured apart from any run: the runs of a population share a clock."""

from __future__ import annotations

import pathlib
import statistics
import time

import jax
import jax.numpy as jnp

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.runs.compilation import keep_compiled_programs
from jaxopt_bench.runs.splits import load_task
from jaxopt_bench.training import CodePath, empty_metrics, initial_states, make_advance, make_orders

BLOCKS, BLOCK_SECONDS = 5, 0.3


def seconds_per_step(
    experiment: Experiment, data_dir: pathlib.Path | None = None, code_path: CodePath | None = None
) -> float:
    """Returns the median time of a training step of an experiment, alone on the device, in seconds.

    Evaluation and writing are not in it.

    Args:
      experiment: what is trained.
      data_dir: where TFDS keeps its data sets; TFDS's own default where None.
      code_path: how it is computed; as suits the backend where None.
    """
    keep_compiled_programs()
    task, splits = load_task(experiment, data_dir, code_path)
    advance, order = make_advance(task), make_orders(task)(jnp.asarray([experiment.seed], jnp.uint32), 0)
    states, metrics = initial_states([task]), empty_metrics()

    def timed(steps: int) -> float:
        nonlocal states, metrics
        began = time.perf_counter()
        states, metrics = advance(states, metrics, splits.train, order, jnp.asarray([steps], jnp.int32))
        jax.block_until_ready(metrics)
        states = states.replace(step=jnp.zeros_like(states.step))  # the next block goes through the epoch anew
        return (time.perf_counter() - began) / steps

    timed(1)  # compiles
    steps = max(1, min(task.steps_per_epoch, round(BLOCK_SECONDS / timed(1))))
    return statistics.median(timed(steps) for _ in range(BLOCKS))
