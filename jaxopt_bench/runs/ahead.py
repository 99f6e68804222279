"""Compiles the program of later runs in advance, so that these runs need not wait for the compiler."""

from __future__ import annotations

from collections.abc import Sequence

import jax

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.runs.compilation import keep_compiled_programs
from jaxopt_bench.runs.memory import largest_that_fits
from jaxopt_bench.runs.options import Options
from jaxopt_bench.runs.splits import load_task
from jaxopt_bench.training import compile_initial_states


def compile_ahead(experiments: Sequence[Experiment], options: Options) -> None:
    """Compiles the programs for training some experiments, and for their initial states, in advance on a CPU.

    `train_population` uses the compiled programs if it gets the same experiments and options. For a single experiment
    only the program for the initial state is compiled. This function does nothing on other backends, because the
    compiler needs the device that is training at that time. It also does nothing if several processes or devices are
    used, or if `options.largest` is given.

    Args:
      experiments: runs that one program can train.
      options: options that contain `Problems`, which keeps the compiled functions.

    Raises:
      Exception: the same exceptions as training, if the program cannot be compiled.
    """
    if jax.default_backend() != "cpu" or jax.process_count() > 1 or options.largest is not None:
        return
    keep_compiled_programs()
    task, _ = load_task(experiments[0], options)
    if task.code_path.devices == 1:
        largest_that_fits(task, jax.eval_shape(lambda data: data, task.problem.train), len(experiments))
        compile_initial_states(task, len(experiments))
