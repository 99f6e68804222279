"""How long training takes, measured apart from any run: the runs of a population share a clock."""

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
    steps = _Steps(Program(tasks[0], len(tasks)), initial_states(tasks), splits)
    steps.make(1)  # compiles
    return _median_seconds(steps.make, task.steps_per_epoch) / len(tasks)


class TrainingTime(NamedTuple):
    """How long training takes on this machine.

    Attributes:
      start: seconds until a program is compiled that trains and evaluates, the data being loaded.
      step: seconds a step of a run.
      evaluation: seconds that the evaluation of a run takes at the end of an epoch, without the test split.
      steps_per_epoch: steps in an epoch.
    """

    start: float
    step: float
    evaluation: float
    steps_per_epoch: int


def measure_training(experiment: Experiment, options: Options) -> TrainingTime:
    """Measures within seconds how long training takes, if its programs have not been compiled before.

    It makes a few steps and evaluates a few batches. It writes nothing, and does not read the test split.

    Args:
      experiment: what is trained.
      options: where the data are, and how to compute.
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
    start = time.perf_counter() - began
    step = _median_seconds(steps.make, task.steps_per_epoch)
    evaluation = sum(count * _median_seconds(evaluate, count) for evaluate, count in parts)
    return TrainingTime(start, step, evaluation, task.steps_per_epoch)


class _Steps:
    """Makes training steps in the first epoch of some runs, again and again."""

    def __init__(self, program: Program, states: TrainState, splits: Splits):
        self.program, self.states, self.data = program, states, splits.train
        self._metrics, self._order = program.empty_metrics(), program.epoch_orders(states.seed, 0)

    def make(self, steps: int) -> None:
        """Makes some steps of each run, at most an epoch."""
        counts = jnp.full(self.program.members, steps, jnp.int32)
        self.states, self._metrics = self.program.advance(self.states, self._metrics, self.data, self._order, counts)
        jax.block_until_ready(self._metrics)
        self.states = self.states.replace(step=jnp.zeros_like(self.states.step))  # the next begin the epoch anew


Part = tuple[Callable[[int], object], int]
"""A function that does some batches' work of an evaluation, and how many batches there are."""


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
    """Returns the median of the seconds that a unit of work takes.

    Args:
      do: does so many units; it has been called before, so that all is compiled.
      most: how many units it can do at once.
    """

    def timed(units: int) -> float:
        began = time.perf_counter()
        jax.block_until_ready(do(units))
        return (time.perf_counter() - began) / units

    units = max(1, min(most, round(BLOCK_SECONDS / max(timed(1), LEAST_SECONDS))))
    return statistics.median(timed(units) for _ in range(BLOCKS))
