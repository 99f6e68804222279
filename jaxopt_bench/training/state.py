"""The train state: everything that a step reads or changes, except its batch."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import flax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PyTree, UInt32

from jaxopt_bench import prng
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.optimizers import Hyperparameters, StepContext
from jaxopt_bench.training.code_path import options_to_run_once
from jaxopt_bench.training.devices import shard_over_devices, shardings
from jaxopt_bench.training.population import check_one_program, map_over_members, member, stack
from jaxopt_bench.training.task import Task


class TrainState(flax.struct.PyTreeNode):
    """A pytree of arrays, including hyperparameters, the schedule's numbers and the seed.

    Attributes:
      step: the number of updates made so far.
      params: the model's parameters.
      variables: other arrays of the model, such as running averages; {} if it has none.
      opt_state: the optimizer's state.
      hyperparameters: the optimizer's float fields.
      schedule: the schedule's float fields.
      seed: the seed of every random draw.
    """

    step: Integer[Array, ""]
    params: PyTree[Float[Array, "*shape"]]
    variables: PyTree[Array]
    opt_state: Any
    hyperparameters: Hyperparameters
    schedule: Hyperparameters
    seed: UInt32[Array, ""]


def make_step_context(
    experiment: Experiment,
    steps_per_epoch: int,
    schedule: Hyperparameters,
    seed: UInt32[Array, ""],
    step: Integer[Array, ""],
) -> StepContext:
    """Returns the inputs of the optimizer at a step counted from 0: the state of the schedule and of the training.

    The epoch is the sum of its whole and its fractional part, so that a whole epoch is exact in float32 for any number
    of steps.
    """
    epochs, length = experiment.workload.epochs, 1 / steps_per_epoch

    def epoch_at(step: Integer[Array, ""]) -> Float[Array, ""]:
        whole, part = jnp.divmod(step, steps_per_epoch)
        return whole.astype(jnp.float32) + part.astype(jnp.float32) / steps_per_epoch

    def multiplier_at(step: Integer[Array, ""]) -> Float[Array, ""]:
        return experiment.schedule.multiplier(schedule, epoch_at(jnp.asarray(step)), epochs, length)

    return StepContext(
        multiplier=multiplier_at(step),
        progress=epoch_at(step) / epochs,
        ends_epoch=step % steps_per_epoch == steps_per_epoch - 1,
        key=prng.key(seed, prng.Purpose.OPTIMIZER),
        multiplier_at=multiplier_at,
    )


def initial_states(tasks: Sequence[Task]) -> TrainState:
    """Returns the stacked states before the first step. Each state depends only on its experiment.

    Raises:
      UserError: if one program cannot train all tasks.
    """
    check_one_program(tasks)
    states = _initial_states(tasks[0], len(tasks))(*_numbers(tasks))
    return shard_over_devices(states, shardings(tasks[0].code_path, len(tasks))[0])


def initial_state(task: Task) -> TrainState:
    """Returns one run's state before its first step, without an axis of members."""
    return member(initial_states([task]), 0)


def abstract_states(task: Task, members: int = 1) -> TrainState:
    """Returns the shapes and types of the stacked states, without any computation."""
    found: TrainState = _initial_states(task, members).eval_shape(*_abstract_numbers(task, members))
    return found


def compile_initial_states(task: Task, members: int = 1) -> None:
    """Compiles the functions that `initial_states` needs, without any computation."""
    _initial_states(task, members).lower(*_abstract_numbers(task, members)).compile()


def _initial_states(task: Task, members: int) -> Any:
    """Returns the compiled function that makes the states from their numbers."""
    of_one = functools.partial(_initial_state, task)

    def initial_states(*numbers: Any) -> TrainState:
        return map_over_members(of_one, task.code_path, members)((), *numbers)

    make = functools.partial(jax.jit, initial_states, compiler_options=options_to_run_once())
    return task.make_once(make, "initial_states", task.compiled_fields, members)


def _abstract_numbers(task: Task, members: int) -> Any:
    one = _numbers([task])
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((members, *leaf.shape[1:]), leaf.dtype), one)


def _numbers(tasks: Sequence[Task]) -> tuple[Hyperparameters, Hyperparameters, UInt32[Array, " members"]]:
    """Returns the stacked values that differ between tasks of one program: hyperparameters, schedule numbers, seeds."""
    experiments = [task.experiment for task in tasks]
    return (
        stack([experiment.optimizer.hyperparameters() for experiment in experiments]),
        stack([experiment.schedule.hyperparameters() for experiment in experiments]),
        jnp.array([experiment.seed for experiment in experiments], jnp.uint32),
    )


def _initial_state(
    task: Task, hyperparameters: Hyperparameters, schedule: Hyperparameters, seed: UInt32[Array, ""]
) -> TrainState:
    params, variables = task.problem.initial(prng.key(seed, prng.Purpose.INITIALISATION))
    return first_state(task.experiment, task.steps_per_epoch, params, variables, hyperparameters, schedule, seed)


def first_state(
    experiment: Experiment,
    steps_per_epoch: int,
    params: PyTree[Array],
    variables: PyTree[Array],
    hyperparameters: Hyperparameters,
    schedule: Hyperparameters,
    seed: UInt32[Array, ""],
) -> TrainState:
    """Returns the state before the first step, for given parameters."""
    start = jnp.zeros((), jnp.int32)
    now = make_step_context(experiment, steps_per_epoch, schedule, seed, start)
    return TrainState(
        step=start,
        params=params,
        variables=variables,
        opt_state=experiment.optimizer.transform(hyperparameters, now).init(params),
        hyperparameters=dict(hyperparameters),
        schedule=dict(schedule),
        seed=seed,
    )
