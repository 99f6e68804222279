"""Accumulation, clipping and averages around any optimizer, compared with their definitions."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, AdamW, Optimizer, StepContext
from jaxopt_bench.optimizers.wrappers import find_state
from tests.optimizers.few import slow_but_a_few

STEPS = 12


def gradients(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(STEPS, 5)).astype(np.float32)


def run(optimizer: Optimizer, grads: np.ndarray, moments: list[StepContext] | None = None, values: Any = None) -> Any:
    """Returns the parameters after each step, and the parameters to evaluate after each step."""
    hyperparameters, params = optimizer.hyperparameters(), jnp.linspace(-1, 1, grads.shape[1])
    state, trained, evaluated = optimizer.transform(hyperparameters).init(params), [], []
    for i, grad in enumerate(grads):
        transform = optimizer.transform(hyperparameters, moments[i] if moments else StepContext())
        value = jnp.float32(1.0 if values is None else values[i])
        updates, state = transform.update(jnp.asarray(grad), state, params, value=value)
        params = optax.apply_updates(params, updates)
        trained.append(np.asarray(params))
        evaluated.append(np.asarray(optimizer.evaluation_parameters(state, params)))
    return np.stack(trained), np.stack(evaluated)


@pytest.mark.parametrize("name", ["sgd", "adamw", "padam", "lion", "muon", "prodigy", "schedule_free_adamw", "momo"])
def test_accumulated_steps_are_steps_of_the_mean_gradient_and_loss(name):
    optimizer, grads = OPTIMIZERS[name], gradients()
    values = np.random.default_rng(1).uniform(1, 3, STEPS)
    ours, _ = run(dataclasses.replace(optimizer, accumulate=3), grads, values=values)
    expected, _ = run(optimizer, grads.reshape(-1, 3, 5).mean(1), values=values.reshape(-1, 3).mean(1))
    np.testing.assert_allclose(ours[2::3], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(ours[3:5], np.broadcast_to(ours[2], (2, 5)))  # no change in between
    np.testing.assert_array_equal(ours[:2], np.broadcast_to(np.linspace(-1, 1, 5, dtype=np.float32), (2, 5)))


def test_clipping_by_the_norm_scales_only_gradients_above_the_bound():
    grads = gradients() * np.geomspace(1e-2, 1e2, STEPS)[:, None].astype(np.float32)
    ours, _ = run(SGD(learning_rate=1.0, clip_norm=1.0), grads)
    norms = np.linalg.norm(grads, axis=1, keepdims=True)
    expected = np.linspace(-1, 1, 5) - np.cumsum(grads / np.maximum(norms, 1.0), axis=0)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    assert (norms > 1).any()
    assert (norms < 1).any()


def test_adaptive_clipping_bounds_each_units_gradient_by_its_parameters():
    """Brock et al. 2021, eq. 3: the units are the columns of a kernel."""
    rng = np.random.default_rng(0)
    kernel, grad = rng.normal(size=(6, 3)).astype(np.float32), rng.normal(size=(6, 3)).astype(np.float32)
    optimizer = SGD(learning_rate=1.0, clip_adaptive=0.5)
    transform = optimizer.transform(optimizer.hyperparameters())
    updates, _ = transform.update(jnp.asarray(grad), transform.init(jnp.asarray(kernel)), jnp.asarray(kernel))
    allowed = 0.5 * np.maximum(np.linalg.norm(kernel, axis=0), 1e-3)
    norms = np.linalg.norm(grad, axis=0)
    np.testing.assert_allclose(updates, -grad * np.minimum(1, allowed / norms), rtol=1e-5)
    assert (norms > allowed).any()


def test_the_exponential_average_weights_parameters_by_their_age():
    trained, evaluated = run(AdamW(learning_rate=0.1, ema_decay=0.8), gradients())
    for t in range(1, STEPS + 1):
        weights = 0.8 ** np.arange(t - 1, -1, -1)
        np.testing.assert_allclose(evaluated[t - 1], weights @ trained[:t] / weights.sum(), rtol=1e-4, atol=1e-6)


def test_the_exponential_average_counts_updates_and_not_accumulated_steps():
    optimizer = SGD(learning_rate=0.1, ema_decay=0.5)
    _, ours = run(dataclasses.replace(optimizer, accumulate=3), gradients())
    _, expected = run(optimizer, gradients().reshape(-1, 3, 5).mean(1))
    np.testing.assert_allclose(ours[2::3], expected, rtol=1e-4)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_tail_average_is_the_mean_of_the_epochs_ends_after_its_start(accumulate):
    """There are six epochs of two steps. From half of training on, it averages the ends of epochs 4, 5 and 6."""
    moments = [StepContext(progress=i / STEPS, ends_epoch=jnp.asarray(i % 2 == 1)) for i in range(STEPS)]
    optimizer = SGD(learning_rate=0.1, swa_start=0.5, accumulate=accumulate)
    trained, evaluated = run(optimizer, gradients(), moments)
    np.testing.assert_allclose(evaluated[:7], trained[:7], rtol=1e-6)  # before the start: the parameters themselves
    np.testing.assert_allclose(evaluated[7], trained[7], rtol=1e-6)
    np.testing.assert_allclose(evaluated[9], trained[[7, 9]].mean(0), rtol=1e-5)
    np.testing.assert_allclose(evaluated[10], evaluated[9], rtol=1e-6)
    np.testing.assert_allclose(evaluated[11], trained[[7, 9, 11]].mean(0), rtol=1e-5)


@pytest.mark.parametrize("name", ["schedule_free_sgd", "schedule_free_adamw"])
def test_schedule_free_is_evaluated_at_the_mean_of_its_base_optimizers_iterates(name):
    """Defazio et al. 2024, eq. 12: x is the mean of z, weighted by the squared learning rate, here a constant."""
    optimizer = OPTIMIZERS[name]
    hyperparameters, params, zs = optimizer.hyperparameters(), jnp.linspace(-1, 1, 5), []
    state = optimizer.transform(hyperparameters).init(params)
    for grad in gradients():
        updates, state = optimizer.transform(hyperparameters).update(jnp.asarray(grad), state, params)
        params = optax.apply_updates(params, updates)
        zs.append(np.asarray(find_state(state, optax.contrib.ScheduleFreeState).z))
    ours = optimizer.evaluation_parameters(state, params)
    np.testing.assert_allclose(ours, np.mean(zs, axis=0), rtol=1e-3, atol=1e-4)
    assert not np.allclose(ours, params)


@pytest.mark.parametrize("name", slow_but_a_few(sorted(n for n in OPTIMIZERS if not OPTIMIZERS[n].line_search)))
def test_the_wrappers_compose_with_every_optimizer(name):
    more: dict[str, Any] = {} if OPTIMIZERS[name].own_average else {"ema_decay": 0.9, "cautious": True}
    around = {"accumulate": 2, "clip_norm": 1.0, "clip_adaptive": 0.1, "mars_gamma": 0.025}
    optimizer = dataclasses.replace(OPTIMIZERS[name], **around, **more)
    params = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}

    def step(carry, grads):
        params, state = carry
        transform = optimizer.transform(optimizer.hyperparameters(), StepContext(key=jax.random.key(0)))
        updates, state = transform.update(grads, state, params, value=1.0)
        return (optax.apply_updates(params, updates), state), None

    state = optimizer.transform(optimizer.hyperparameters(), StepContext(key=jax.random.key(0))).init(params)
    grads = jax.tree.map(lambda leaf: jnp.ones((4, *leaf.shape)), params)
    (params, state), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, grads))((params, state))
    evaluated = optimizer.evaluation_parameters(state, params)
    assert jax.tree.structure(evaluated) == jax.tree.structure(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((params, evaluated)))


def test_two_averages_at_once_are_refused():
    with pytest.raises(UserError, match=r"SGD.swa_start is 0.5, but ema_decay is set too. Expected None"):
        SGD(ema_decay=0.9, swa_start=0.5)
    with pytest.raises(UserError, match=r"ScheduleFreeSgd.ema_decay is 0.9, but the optimizer has its own rule"):
        dataclasses.replace(OPTIMIZERS["schedule_free_sgd"], ema_decay=0.9)
