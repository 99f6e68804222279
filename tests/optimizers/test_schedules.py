"""Schedules against optax's, where it has them, and against their formulas."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_bench.optimizers import SCHEDULES, Constant, Cosine, Exponential, MultiStep, OneCycle, Schedule

STEPS_PER_EPOCH, EPOCHS = 8, 40
STEPS = np.arange(STEPS_PER_EPOCH * EPOCHS)


def values(schedule: Schedule) -> np.ndarray:
    """Returns the multiplier at every step."""
    epochs, step = jnp.asarray(STEPS / STEPS_PER_EPOCH, jnp.float32), 1 / STEPS_PER_EPOCH
    return np.asarray(jax.vmap(lambda e: schedule.multiplier(schedule.numbers(), e, EPOCHS, step))(epochs))


def test_constant_is_one():
    np.testing.assert_array_equal(values(Constant()), 1)


def test_multi_step_is_optax_piecewise_constant():
    expected = optax.piecewise_constant_schedule(1.0, {10 * STEPS_PER_EPOCH: 0.1, 30 * STEPS_PER_EPOCH: 0.1})
    ours = values(MultiStep(boundaries=(10, 30), factor=0.1))
    np.testing.assert_allclose(ours, [expected(s) for s in STEPS], rtol=1e-5)


def test_exponential_drops_every_k_epochs():
    expected = optax.exponential_decay(1.0, 5 * STEPS_PER_EPOCH, 0.3, staircase=True)
    np.testing.assert_allclose(values(Exponential(every=5, factor=0.3)), [expected(s) for s in STEPS], rtol=1e-5)


def test_cosine_is_optax_cosine_decay():
    expected = optax.cosine_decay_schedule(1.0, len(STEPS), alpha=0.05)
    np.testing.assert_allclose(values(Cosine(final=0.05)), [expected(s) for s in STEPS], atol=1e-6)


def test_cosine_with_warmup_is_optax_warmup_cosine_decay_a_step_ahead():
    """optax's first step has learning rate 0, and so no effect."""
    warmup = 4 * STEPS_PER_EPOCH
    expected = optax.warmup_cosine_decay_schedule(0.0, 1.0, warmup, len(STEPS))
    ours = values(Cosine(warmup=4))
    np.testing.assert_allclose(ours[:warmup], [expected(s + 1) for s in STEPS[:warmup]], atol=1e-6)
    np.testing.assert_allclose(ours[warmup:], [expected(s) for s in STEPS[warmup:]], atol=1e-6)


def test_constant_with_warmup_is_pytorchs_linear_lr():
    """`LinearLR(start_factor=1/n, total_iters=n-1)`: n steps, of which the first has the n-th part."""
    warmup = 4 * STEPS_PER_EPOCH
    np.testing.assert_allclose(values(Constant(warmup=4)), np.minimum(1, (STEPS + 1) / warmup), rtol=1e-6)


def test_one_cycle_rises_and_falls_along_cosines():
    ours = values(OneCycle(rise=0.25, start=0.04, final=0.001))
    epoch = STEPS / STEPS_PER_EPOCH
    up = 1 + (0.04 - 1) * (1 + np.cos(np.pi * epoch / 10)) / 2
    down = 0.001 + (1 - 0.001) * (1 + np.cos(np.pi * (epoch - 10) / 30)) / 2
    np.testing.assert_allclose(ours, np.where(epoch < 10, up, down), atol=1e-5)
    assert ours.argmax() == 10 * STEPS_PER_EPOCH


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_numbers_may_be_traced(name):
    schedule = SCHEDULES[name]
    compiled = jax.jit(lambda numbers, epoch: schedule.multiplier(numbers, epoch, EPOCHS))
    for factor in (1.0, 0.5):
        numbers = {key: value * jnp.float32(factor) for key, value in schedule.numbers().items()}
        expected = schedule.multiplier(numbers, jnp.float32(7.5), EPOCHS)
        np.testing.assert_allclose(compiled(numbers, jnp.float32(7.5)), expected, rtol=1e-6)
    assert compiled._cache_size() == 1


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_multipliers_lie_between_zero_and_one(name):
    ours = values(SCHEDULES[name])
    assert (ours >= 0).all()
    assert (ours <= 1 + 1e-6).all()
