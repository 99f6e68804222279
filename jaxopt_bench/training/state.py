"""The train state: all that a step changes or reads beside its batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Integer, PyTree, UInt32

from jaxopt_bench import prng
from jaxopt_bench.data import dataset
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.models import Layers
from jaxopt_bench.optimizers import Hyperparameters, Moment
from jaxopt_bench.training.code_path import options_to_run_once
from jaxopt_bench.training.devices import placed, shardings
from jaxopt_bench.training.population import check_one_program, member, over_members, stack
from jaxopt_bench.training.task import Task


class TrainState(flax.struct.PyTreeNode):
    """A pytree of arrays; hyperparameters, the schedule's numbers and the seed are among them.

    Attributes:
      step: updates made so far.
      params: the network's parameters, float32.
      batch_stats: running statistics of batch normalisation; empty where there is none.
      opt_state: the optimizer's state.
      hyperparameters: the optimizer's float fields.
      schedule: the schedule's float fields.
      seed: seed of every draw.
    """

    step: Integer[Array, ""]
    params: PyTree[Float[Array, "*shape"]]
    batch_stats: PyTree[Float[Array, "*shape"]]
    opt_state: Any
    hyperparameters: Hyperparameters
    schedule: Hyperparameters
    seed: UInt32[Array, ""]


def make_module(task: Task) -> nn.Module:
    """Returns the task's network."""
    return task.experiment.model.module(task.num_classes, Layers(task.experiment.dtype, task.code_path.layers))


def moment(task: Task, schedule: Hyperparameters, seed: UInt32[Array, ""], step: Integer[Array, ""]) -> Moment:
    """Returns what the optimizer is told at a step counted from 0: where the schedule and the training are.

    The epoch is put together from its whole and its fractional part, so that a whole epoch is exact in float32
    however many steps there are.
    """
    epochs, length = task.experiment.epochs, 1 / task.steps_per_epoch

    def epoch_at(step: Integer[Array, ""]) -> Float[Array, ""]:
        whole, part = jnp.divmod(step, task.steps_per_epoch)
        return whole.astype(jnp.float32) + part.astype(jnp.float32) / task.steps_per_epoch

    def multiplier_at(step: Integer[Array, ""]) -> Float[Array, ""]:
        return task.experiment.schedule.multiplier(schedule, epoch_at(jnp.asarray(step)), epochs, length)

    return Moment(
        multiplier=multiplier_at(step),
        progress=epoch_at(step) / epochs,
        ends_epoch=step % task.steps_per_epoch == task.steps_per_epoch - 1,
        key=prng.key(seed, prng.Purpose.OPTIMIZER),
        multiplier_at=multiplier_at,
    )


def initial_states(tasks: Sequence[Task]) -> TrainState:
    """Returns the stacked states before the first step, each a function of its experiment alone.

    Raises:
      UserError: where one program cannot train all tasks.
    """
    check_one_program(tasks)
    states = jax.jit(_of_all(tasks[0], len(tasks)), compiler_options=options_to_run_once())(*_numbers(tasks))
    return placed(states, shardings(tasks[0].code_path, len(tasks))[0])


def initial_state(task: Task) -> TrainState:
    """Returns one run's state before its first step, without an axis of members."""
    return member(initial_states([task]), 0)


def abstract_states(task: Task, members: int = 1) -> TrainState:
    """Returns the stacked states' shapes and types, computing nothing."""
    return jax.eval_shape(_of_all(task, members), *_numbers([task] * members))


def parameter_shapes(experiment: Experiment) -> PyTree[jax.ShapeDtypeStruct]:
    """Returns the shapes and types of a network's parameters. It reads no data and computes nothing."""
    spec = dataset(experiment.dataset)
    module = experiment.model.module(spec.num_classes, Layers(experiment.dtype))
    images = jax.ShapeDtypeStruct((1, *spec.image_shape), jnp.float32)
    return jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False)["params"], images)


def _of_all(task: Task, members: int) -> Callable[..., TrainState]:
    return functools.partial(over_members(functools.partial(_initial_state, task), task.code_path, members), ())


def _numbers(tasks: Sequence[Task]) -> tuple[Hyperparameters, Hyperparameters, UInt32[Array, " members"]]:
    """Returns what tasks of one program differ in, stacked: hyperparameters, the schedule's numbers, seeds."""
    experiments = [task.experiment for task in tasks]
    return (
        stack([experiment.optimizer.hyperparameters() for experiment in experiments]),
        stack([experiment.schedule.numbers() for experiment in experiments]),
        jnp.array([experiment.seed for experiment in experiments], jnp.uint32),
    )


def _initial_state(
    task: Task, hyperparameters: Hyperparameters, schedule: Hyperparameters, seed: UInt32[Array, ""]
) -> TrainState:
    images = jnp.zeros((1, *task.image_shape), jnp.float32)
    variables = make_module(task).init(prng.key(seed, prng.Purpose.INITIALISATION), images, train=False)
    params = variables["params"]
    start = jnp.zeros((), jnp.int32)
    transform = task.experiment.optimizer.transform(hyperparameters, moment(task, schedule, seed, start))
    return TrainState(
        step=start,
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=transform.init(params),
        hyperparameters=dict(hyperparameters),
        schedule=dict(schedule),
        seed=seed,
    )
