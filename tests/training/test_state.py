"""The steps at which schedules change, the limits of a task, and the contents of the state."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import Exponential, MultiStep
from jaxopt_bench.training import Task, abstract_states, initial_state, initial_states
from jaxopt_bench.training.state import make_step_context
from tests.tasks import changed, task_on


@pytest.mark.parametrize("schedule", [MultiStep(boundaries=(150, 200), factor=0.1), Exponential(every=50, factor=0.1)])
def test_a_boundary_acts_at_the_first_step_of_its_epoch_even_of_long_epochs(tiny, schedule):
    experiment = changed(tiny, batch_size=4, epochs=300, schedule=schedule)
    task = task_on(experiment, 50_000)
    numbers = schedule.hyperparameters()
    ours = [
        float(
            make_step_context(
                experiment, task.steps_per_epoch, numbers, jnp.uint32(0), jnp.int32(epoch * 12_500 + step)
            ).multiplier
        )
        for epoch in (150, 200)
        for step in (-1, 0)
    ]
    expected = [1, 0.1, 0.1, 0.01] if isinstance(schedule, MultiStep) else [1e-2, 1e-3, 1e-3, 1e-4]
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


@pytest.mark.parametrize(("steps_per_epoch", "period"), [(10, (3, 10)), (49, (1, 7)), (390, (3, 5))])
def test_a_drop_within_an_epoch_acts_at_the_first_step_at_or_after_it(tiny, steps_per_epoch, period):
    """The expected steps are exact, in integers. A division in float32 is one step late at some of these drops."""
    steps, (numerator, denominator) = np.arange(10 * steps_per_epoch), period
    drops = steps * denominator // (steps_per_epoch * numerator)
    boundaries = tuple(k * numerator / denominator for k in range(1, 10))
    for schedule, expected in (
        (Exponential(every=numerator / denominator, factor=0.5), drops),
        (MultiStep(boundaries=boundaries, factor=0.5), np.minimum(drops, 9)),
    ):
        experiment = changed(tiny, batch_size=1, epochs=10, schedule=schedule)
        numbers = schedule.hyperparameters()
        multipliers = jax.vmap(
            lambda step, e=experiment, n=numbers: (
                make_step_context(e, steps_per_epoch, n, jnp.uint32(0), step).multiplier
            )
        )
        found = np.asarray(jax.jit(multipliers)(steps), np.float64)
        np.testing.assert_array_equal(np.rint(-np.log2(found)), expected)


def test_hyperparameters_schedule_and_seed_are_arrays_in_the_state(tiny):
    state = initial_state(task_on(dataclasses.replace(tiny, seed=7)))
    assert {k: float(v) for k, v in state.hyperparameters.items()} == pytest.approx(
        {"learning_rate": 5e-3, "weight_decay": 0.01, "b1": 0.9, "b2": 0.999, "eps": 1e-8}, rel=1e-6
    )
    assert {k: float(v) for k, v in state.schedule.items()} == {"warmup": 0.5, "final": 0.0}
    assert int(state.seed) == 7
    for leaf in jax.tree.leaves((state.hyperparameters, state.schedule)):
        assert leaf.dtype == jnp.float32


def test_the_abstract_state_has_the_shapes_of_the_real_one(tiny):
    task = task_on(tiny)
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), initial_states([task, task]))
    assert shapes == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), abstract_states(task, 2))


def test_a_batch_larger_than_the_training_split_is_refused(tiny):
    with pytest.raises(UserError, match=r"batch_size is 64\. Expected at most 63"):
        task_on(tiny, 63)


def test_accumulating_more_steps_than_the_training_has_is_refused(tiny):
    """Training has two epochs of three steps. One update can accumulate six steps, but not seven."""

    def task(accumulate: int) -> Task:
        optimizer = dataclasses.replace(tiny.optimizer, accumulate=accumulate)
        return task_on(dataclasses.replace(tiny, optimizer=optimizer), 200)

    assert task(6).steps == 6
    with pytest.raises(UserError, match=r"accumulate is 7, but .* has 6 steps \(2 × 3, .* from 1 to 6\."):
        task(7)


def test_an_epoch_drops_the_last_partial_batch(tiny):
    task = task_on(tiny, 200)
    assert (task.steps_per_epoch, task.steps) == (3, 6)
