"""How long training takes, measured separately from any run, because the runs of a population share a clock."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.runs.compilation import compiling_anew, keep_compiled_programs
from jaxopt_bench.runs.environment import thread_count
from jaxopt_bench.runs.options import Options
from jaxopt_bench.runs.splits import Splits, load_task
from jaxopt_bench.training import Program, TrainState, initial_states, padded_batches, part_size

BLOCKS, BLOCK_SECONDS, LEAST_SECONDS = 5, 0.3, 1e-6


def seconds_per_step(experiments: Sequence[Experiment], options: Options) -> float:
    """Returns the median time of a training step of one run, in seconds, without evaluation and writing.

    If the code path computes the members of a population together, the first experiment is timed alone. If members take
    turns, as many experiments are timed in turn as one thread trains, and the time is divided by their number. This
    uses the program that was already compiled for their training.

    Args:
      experiments: runs that one program can train, which differ only in their seeds.
      options: the folder of the data, and the code path.
    """
    keep_compiled_programs()
    task, splits = load_task(experiments[0], options)
    divided = task.side_by_side(task.code_path.side_by_side or thread_count()).code_path
    tasks = [dataclasses.replace(task.side_by_side(1), experiment=e) for e in experiments]
    tasks = tasks[: part_size(divided, len(tasks)) if divided.members == "map" else 1]
    steps = _Steps(Program(tasks[0], len(tasks)), initial_states(tasks), splits)
    steps.make(1)  # compiles
    return _median_seconds(steps.make, task.steps_per_epoch) / len(tasks)


class TrainingTime(NamedTuple):
    """The duration of training on this machine.

    Attributes:
      program: seconds to compile the programs for training and evaluation, when the data are loaded.
      step: seconds per step of a run.
      evaluation: seconds of the evaluation of a run at the end of an epoch, without the test split.
      steps_per_epoch: steps in an epoch.
    """

    program: float
    step: float
    evaluation: float
    steps_per_epoch: int


def measure_training(experiment: Experiment, options: Options) -> TrainingTime:
    """Measures in some seconds how long compilation, training steps and evaluations take on this machine.

    It does not use the compilation cache. It makes a few steps and evaluates a few batches. It writes nothing, and does
    not read the test split.

    Args:
      experiment: the experiment to train.
      options: the folder of the data, and the code path.
    """
    task, splits = load_task(experiment, options)
    task = task.side_by_side(1)
    began = time.perf_counter()
    with compiling_anew():
        steps = _Steps(Program(task), initial_states([task]), splits)
        steps.make(1)
        parts = _parts_of_evaluation(steps, splits)
        for evaluate, _ in parts:
            evaluate(1)
    program = time.perf_counter() - began
    step = _median_seconds(steps.make, task.steps_per_epoch)
    evaluation = sum(count * _median_seconds(evaluate, count) for evaluate, count in parts)
    return TrainingTime(program, step, evaluation, task.steps_per_epoch)


class _Steps:
    """Makes training steps in the first epoch of some runs, repeatedly."""

    def __init__(self, program: Program, states: TrainState, splits: Splits):
        self.program, self.states, self.data = program, states, splits.train
        self._metrics, self._order = program.empty_metrics(), program.epoch_permutations(states.seed, 0)

    def make(self, steps: int) -> None:
        """Makes some steps of each run, at most an epoch."""
        counts = jnp.full(self.program.members, steps, jnp.int32)
        self.states, self._metrics = self.program.advance(self.states, self._metrics, self.data, self._order, counts)
        jax.block_until_ready(self._metrics)
        self.states = self.states.replace(step=jnp.zeros_like(self.states.step))  # the next call starts the epoch again


Part = tuple[Callable[[int], object], int]
"""A function that evaluates a number of batches, and the total number of batches."""


def _parts_of_evaluation(steps: _Steps, splits: Splits) -> list[Part]:
    """Returns the parts of the evaluation at the end of an epoch."""
    program = steps.program

    def estimate_averages(batches: int) -> TrainState:
        first = lambda indices: itertools.islice(indices, batches)  # noqa: E731
        return program.evaluator.states_to_evaluate(steps.states, steps.data, first)

    def evaluating(split: str) -> Part:
        batches = list(padded_batches(splits.named(split)))
        return lambda count: program.evaluator.evaluate(steps.states, batches[:count]), len(batches)

    averaged = program.task.problem.running_averages and jax.tree.leaves(steps.states.variables)
    averages: list[Part] = [(estimate_averages, program.evaluator.statistics_batches)] if averaged else []
    return averages + [evaluating(split) for split in splits.evaluated]


def _median_seconds(do: Callable[[int], object], most: int) -> float:
    """Returns the median of the seconds per unit of work.

    Args:
      do: does a given number of units; it has been called before, so that everything is compiled.
      most: the largest number of units that it can do at once.
    """

    def timed(units: int) -> float:
        began = time.perf_counter()
        jax.block_until_ready(do(units))
        return (time.perf_counter() - began) / units

    units = max(1, min(most, round(BLOCK_SECONDS / max(timed(1), LEAST_SECONDS))))
    return statistics.median(timed(units) for _ in range(BLOCKS))
