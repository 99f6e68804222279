"""Schedules compared with those of PyTorch and optax, with exact rational arithmetic, and with formulas."""

from __future__ import annotations

import dataclasses
import functools
import math
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_bench import UserError
from jaxopt_bench.optimizers import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    Linear,
    MultiStep,
    OneCycle,
    Schedule,
    WarmupStableDecay,
)

STEPS_PER_EPOCH, EPOCHS = 8, 40
STEPS = np.arange(STEPS_PER_EPOCH * EPOCHS)


def values(schedule: Schedule, steps_per_epoch: int = STEPS_PER_EPOCH, epochs: int = EPOCHS) -> np.ndarray:
    """Returns the multiplier at every step."""
    count = steps_per_epoch * epochs
    padded = np.arange(-(-count // 4096) * 4096)  # few different lengths, so that few programs are compiled
    epoch = epoch_of(padded, steps_per_epoch)
    return np.asarray(multipliers(type(schedule)(), schedule.hyperparameters(), epoch, epochs, 1 / steps_per_epoch))[
        :count
    ]


def epoch_of(steps: np.ndarray, steps_per_epoch: int) -> np.ndarray:
    """Returns the epoch of each step, rounded to float32 as in training."""
    whole, part = np.divmod(steps, steps_per_epoch)
    return whole.astype(np.float32) + part.astype(np.float32) / np.float32(steps_per_epoch)


@functools.partial(jax.jit, static_argnums=0)
def multipliers(schedule: Schedule, numbers: Any, epoch: Any, epochs: Any, step: Any) -> jax.Array:
    return jax.vmap(lambda e: schedule.multiplier(numbers, e, epochs, step))(epoch)


def test_constant_is_one():
    np.testing.assert_array_equal(values(Constant()), 1)


def test_multi_step_matches_optax_piecewise_constant():
    expected = optax.piecewise_constant_schedule(1.0, {10 * STEPS_PER_EPOCH: 0.1, 30 * STEPS_PER_EPOCH: 0.1})
    ours = values(MultiStep(boundaries=(10, 30), factor=0.1))
    np.testing.assert_allclose(ours, [expected(s) for s in STEPS], rtol=1e-5)


def test_exponential_drops_every_k_epochs():
    expected = optax.exponential_decay(1.0, 5 * STEPS_PER_EPOCH, 0.3, staircase=True)
    np.testing.assert_allclose(values(Exponential(every=5, factor=0.3)), [expected(s) for s in STEPS], rtol=1e-5)


def test_cosine_matches_optax_cosine_decay():
    expected = optax.cosine_decay_schedule(1.0, len(STEPS), alpha=0.05)
    np.testing.assert_allclose(values(Cosine(final=0.05)), [expected(s) for s in STEPS], atol=1e-6)


def test_cosine_with_warmup_matches_optax_with_the_warmup_one_step_ahead():
    """The first step of optax has the learning rate 0, and thus no effect."""
    warmup = 4 * STEPS_PER_EPOCH
    expected = optax.warmup_cosine_decay_schedule(0.0, 1.0, warmup, len(STEPS))
    ours = values(Cosine(warmup=4))
    np.testing.assert_allclose(ours[:warmup], [expected(s + 1) for s in STEPS[:warmup]], atol=1e-6)
    np.testing.assert_allclose(ours[warmup:], [expected(s) for s in STEPS[warmup:]], atol=1e-6)


def test_constant_with_warmup_matches_pytorchs_linear_lr():
    """With `LinearLR(start_factor=1/n, total_iters=n-1)`, the warmup has n steps, and the first has the factor 1/n."""
    warmup = 4 * STEPS_PER_EPOCH
    np.testing.assert_allclose(values(Constant(warmup=4)), np.minimum(1, (STEPS + 1) / warmup), rtol=1e-6)


def test_one_cycle_peaks_at_the_same_step_as_pytorchs_and_ends_at_its_value():
    ours = values(OneCycle(), 13, 10)
    assert ours.argmax() == 0.3 * 130 - 1
    np.testing.assert_allclose(ours[[0, 38, 129]], [0.04, 1, 4e-6], rtol=1e-4)


@pytest.mark.parametrize("name", ["linear", "wsd", "cosine"])
def test_a_decay_to_zero_would_reach_zero_one_step_after_the_last(name):
    """So the last of n steps of a linear decay has the factor 1/n, as with PyTorch's `LinearLR`."""
    schedule: Any = {"linear": Linear(), "wsd": WarmupStableDecay(cooldown=1.0), "cosine": Cosine()}[name]
    share = 1 / len(STEPS)
    expected = (1 - math.cos(math.pi * share)) / 2 if name == "cosine" else share
    assert values(schedule)[-1] == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_the_lower_of_two_overlapping_ramps_applies():
    """The warmup (steps 0 to 239) and the cooldown (from step 160 on) cross in the overlap, near step 192."""
    ours = values(WarmupStableDecay(warmup=30, cooldown=0.5))
    np.testing.assert_allclose(ours, np.minimum((STEPS + 1) / 240, (320 - STEPS) / 160), rtol=1e-5)


Lengths = tuple[int, int]


def random_setting(name: str, seed: int) -> tuple[Schedule, Lengths, Any]:
    """Returns a schedule, its steps per epoch and epochs, and a function from an optimizer to PyTorch's scheduler.

    Both have the same settings. Periods, boundaries and ramps are whole numbers of steps, as PyTorch requires. Most of
    them are not whole numbers of epochs.
    """
    from torch.optim import lr_scheduler as torchs

    rng = np.random.default_rng([seed, *map(ord, name)])
    steps_per_epoch, epochs = int(rng.integers(1, 80)), int(rng.integers(4, 40))
    total = steps_per_epoch * epochs
    warmup = 0 if seed % 4 == 0 else int(rng.integers(2, total - 1))
    final, factor = float(rng.uniform(0, 0.5)) * (seed % 3 > 0), float(rng.uniform(0.2, 0.95))
    ramp = (warmup, lambda o: torchs.LinearLR(o, 1 / warmup, total_iters=warmup - 1))
    everything: dict[str, Any] = {"warmup": warmup / steps_per_epoch}

    def joined(*parts: tuple[int, Any]) -> Any:
        """Returns a function that joins schedulers, each for a number of steps. Those without steps are omitted."""
        lengths, makers = zip(*[part for part in parts if part[0]], strict=True)
        milestones = [int(end) for end in np.cumsum(lengths)[:-1]]
        return lambda o: torchs.SequentialLR(o, [make(o) for make in makers], milestones)

    if name == "constant":
        constant = (total - warmup, lambda o: torchs.ConstantLR(o, 1.0, total_iters=0))
        return Constant(**everything), (steps_per_epoch, epochs), joined(ramp, constant)
    if name == "multi_step":
        milestones = sorted(int(step) for step in rng.integers(0, total, 4))
        schedule: Schedule = MultiStep(boundaries=tuple(m / steps_per_epoch for m in milestones), factor=factor)
        return schedule, (steps_per_epoch, epochs), lambda o: torchs.MultiStepLR(o, milestones, factor)
    if name == "exponential":
        period = int(rng.integers(max(1, total // 50), total))
        schedule = Exponential(every=period / steps_per_epoch, factor=factor)
        return schedule, (steps_per_epoch, epochs), lambda o: torchs.StepLR(o, period, factor)
    if name == "cosine":
        decay = (total - warmup, lambda o: torchs.CosineAnnealingLR(o, total - warmup, eta_min=final))
        return Cosine(**everything, final=final), (steps_per_epoch, epochs), joined(ramp, decay)
    if name == "linear":
        decay = (total - warmup, lambda o: torchs.LinearLR(o, 1.0, final, total_iters=total - warmup))
        return Linear(**everything, final=final), (steps_per_epoch, epochs), joined(ramp, decay)
    if name == "wsd":
        cooldown = int(rng.integers(0, total - warmup + 1))
        constant = (total - warmup - cooldown, lambda o: torchs.ConstantLR(o, 1.0, total_iters=0))
        decay = (cooldown, lambda o: torchs.LinearLR(o, 1.0, final, total_iters=cooldown))
        schedule = WarmupStableDecay(**everything, cooldown=cooldown / total, final=final)
        return schedule, (steps_per_epoch, epochs), joined(ramp, constant, decay)
    if name == "one_cycle":
        rise, start, last = float(rng.uniform(0.05, 0.95)), 10 ** rng.uniform(-3, -0.5), 10 ** rng.uniform(-6, -3)
        schedule = OneCycle(rise=rise, start=start, final=last)
        cycle = {"anneal_strategy": "cos", "three_phase": False, "cycle_momentum": False}
        shape = {"pct_start": rise, "div_factor": 1 / start, "final_div_factor": start / last}
        return schedule, (steps_per_epoch, epochs), lambda o: torchs.OneCycleLR(o, 1.0, total, **shape, **cycle)
    raise NotImplementedError(f"PyTorch's form of {name}")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_every_step_matches_pytorch(name, seed):
    """The test needs PyTorch (the extra `peers`)."""
    torch: Any = pytest.importorskip("torch")
    schedule, (steps_per_epoch, epochs), make = random_setting(name, seed)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, expected = make(optimizer), []
    for _ in range(steps_per_epoch * epochs):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(values(schedule, steps_per_epoch, epochs), expected, rtol=1e-4, atol=1e-7)


PERIODS = sorted({Fraction(p, q) for q in (1, 2, 3, 5, 7, 10, 16, 100) for p in range(q // 5 + 1, 3 * q + 1)})
MULTIPLES = range(1, 20)


def drops(schedule: Schedule, numbers: Any, steps: np.ndarray, steps_per_epoch: int) -> np.ndarray:
    """Returns the number of drops until each step: the base-2 logarithm of the multiplier for the factor 2."""
    numbers, epoch = {"factor": jnp.float32(2), **numbers}, epoch_of(steps, steps_per_epoch)
    return np.rint(np.log2(multipliers(schedule, numbers, epoch, 1, 1 / steps_per_epoch)))


@pytest.mark.parametrize("steps_per_epoch", [1, 3, 7, 10, 13, 39, 98, 128, 390])
def test_drops_match_exact_rational_arithmetic(steps_per_epoch):
    """Every step of 20 epochs is tested for 336 periods up to 3 epochs, given as periods and as lists of boundaries."""
    steps = np.arange(20 * steps_per_epoch)
    for period in PERIODS:
        expected = steps * period.denominator // (steps_per_epoch * period.numerator)
        found = drops(Exponential(), {"every": jnp.float32(float(period))}, steps, steps_per_epoch)
        np.testing.assert_array_equal(found, expected, err_msg=f"every {period} epochs")
        boundaries = jnp.asarray([float(period * k) for k in MULTIPLES], jnp.float32)
        found = drops(MultiStep(), {"boundaries": boundaries}, steps, steps_per_epoch)
        np.testing.assert_array_equal(found, np.minimum(expected, len(MULTIPLES)), err_msg=f"multiples of {period}")


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_hyperparameters_may_be_traced(name):
    schedule = SCHEDULES[name]
    compiled = jax.jit(lambda numbers, epoch: schedule.multiplier(numbers, epoch, EPOCHS, 0.0))
    for factor in (1.0, 0.5):
        numbers = {key: value * jnp.float32(factor) for key, value in schedule.hyperparameters().items()}
        expected = schedule.multiplier(numbers, jnp.float32(7.5), EPOCHS, 0.0)
        np.testing.assert_allclose(compiled(numbers, jnp.float32(7.5)), expected, rtol=1e-6)
    assert compiled._cache_size() == 1


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_multipliers_lie_between_zero_and_one(name):
    ours = values(SCHEDULES[name])
    assert (ours >= 0).all()
    assert (ours <= 1 + 1e-6).all()


@pytest.mark.parametrize("schedule", [Constant(), Cosine(final=0.1), Linear(), WarmupStableDecay(cooldown=0.3)])
@pytest.mark.parametrize("epochs", [8, 40])
def test_a_warmup_share_equals_a_warmup_of_the_same_number_of_epochs(schedule, epochs):
    """The share 1/8 and the numbers of epochs are exact in float32."""
    share = dataclasses.replace(schedule, warmup_share=0.125)
    number = dataclasses.replace(schedule, warmup=epochs / 8)
    np.testing.assert_array_equal(values(share, epochs=epochs), values(number, epochs=epochs))
    assert values(share, epochs=epochs)[0] == pytest.approx(1 / (STEPS_PER_EPOCH * epochs / 8))


def test_a_warmup_is_given_in_epochs_or_as_a_share_but_not_both():
    with pytest.raises(UserError, match=r"Cosine.warmup is 1 epochs and warmup_share is 0.1. Expected one of the two"):
        Cosine(warmup=1, warmup_share=0.1)
    assert Cosine(warmup_share=0).warmup_share == 0


def test_a_share_that_is_not_given_is_not_recorded():
    """Thus the digests of experiments of earlier versions do not change."""
    assert Cosine(warmup=1).to_json() == {"warmup": 1.0, "final": 0.0}
    assert set(Cosine(warmup=1).hyperparameters()) == {"warmup", "final"}
    assert SCHEDULES.from_json({"name": "cosine", "warmup_share": 0.1}) == Cosine(warmup_share=0.1)
