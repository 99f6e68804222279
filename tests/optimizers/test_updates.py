"""Every optimizer's updates against its paper's equations, in float32 against NumPy float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, Adam, AdamW, AMSGrad, Nadam, Padam
from tests.optimizers import references

STEPS = 100
ADAPTIVE = {"b1": 0.8, "b2": 0.99, "eps": 1e-6}
CASES = {
    "sgd": (SGD(learning_rate=0.05), references.sgd, {}),
    "momentum": (SGD(learning_rate=0.05, momentum=0.9), references.sgd, {"momentum": 0.9}),
    "nesterov": (
        SGD(learning_rate=0.05, momentum=0.9, nesterov=True),
        references.sgd,
        {"momentum": 0.9, "nesterov": True},
    ),
    "adam": (Adam(learning_rate=0.05, **ADAPTIVE), references.adam, ADAPTIVE),
    "adamw": (AdamW(learning_rate=0.05, weight_decay=0.0, **ADAPTIVE), references.adam, ADAPTIVE),
    "nadam": (Nadam(learning_rate=0.05, **ADAPTIVE), references.nadam, ADAPTIVE),
    "amsgrad": (AMSGrad(learning_rate=0.05, **ADAPTIVE), references.amsgrad, {**ADAPTIVE, "bias_correction": True}),
    "amsgrad_paper": (
        AMSGrad(learning_rate=0.05, bias_correction=False, **ADAPTIVE),
        references.amsgrad,
        {**ADAPTIVE, "bias_correction": False},
    ),
    "padam": (
        Padam(learning_rate=0.05, b1=0.8, b2=0.99),
        references.padam,
        {"b1": 0.8, "b2": 0.99, "partial": 0.125, "eps": 0.0, "bias_correction": False},
    ),
    "padam_code": (
        Padam(learning_rate=0.05, partial=0.25, bias_correction=True, **ADAPTIVE),
        references.padam,
        {**ADAPTIVE, "partial": 0.25, "bias_correction": True},
    ),
}


def gradients(seed: int = 0) -> np.ndarray:
    """Returns the gradients of all steps for a vector: signs and magnitudes from 1e-4 to 1e3, and exact zeros."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(STEPS, 24)) * 10.0 ** rng.integers(-4, 4, size=24)
    values[:, :4] = 0.0
    values[rng.random(values.shape) < 0.2] = 0.0
    return values.astype(np.float32).astype(np.float64)


def trajectory(optimizer, grads: np.ndarray, params: np.ndarray, multiplier=None) -> np.ndarray:
    """Returns our parameters after each step, [steps, size], computed in float32."""
    transform = optimizer.transform(optimizer.hyperparameters(), multiplier)

    def step(carry, grad):
        params, state = carry
        updates, state = transform.update(grad, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, updates)

    start = jnp.asarray(params, jnp.float32)
    _, (_, updates) = jax.lax.scan(step, (start, transform.init(start)), jnp.asarray(grads, jnp.float32))
    return np.asarray(updates, np.float64)


@pytest.mark.parametrize("name", CASES)
def test_updates_follow_the_paper(name):
    optimizer, reference, arguments = CASES[name]
    grads = gradients()
    path = [np.zeros(24), *reference(np.zeros(24), lambda _, t: grads[t - 1], STEPS, 0.05, **arguments)]
    expected = np.diff(path, axis=0)
    ours = trajectory(optimizer, grads, np.zeros(24))
    scale = np.abs(expected).max(axis=0)
    error = np.abs(ours - expected).max(axis=0)
    assert (error <= 1e-5 * scale).all()
    assert (scale[4:] > 0).all()  # the comparison is of something
    assert (ours[:, :4] == 0).all()  # no gradient, no update


@pytest.mark.parametrize("name", ["momentum", "adam", "nadam", "amsgrad", "padam"])
def test_coupled_decay_is_the_gradient_of_an_l2_penalty(name):
    optimizer, reference, arguments = CASES[name]
    grads, start = gradients(1), np.random.default_rng(2).normal(size=24).astype(np.float32).astype(np.float64)
    decayed = type(optimizer)(**{**vars(optimizer), "weight_decay": 0.01})
    path = [start, *reference(start, lambda theta, t: grads[t - 1] + 0.01 * theta, STEPS, 0.05, **arguments)]
    expected = np.diff(path, axis=0)
    error = np.abs(trajectory(decayed, grads, start) - expected).max(axis=0)
    assert (error <= 2e-4 * np.abs(expected).max(axis=0)).all()  # rounding of the parameters feeds back


def test_decoupled_decay_stays_out_of_the_moments():
    grads, start = gradients(3), np.random.default_rng(4).normal(size=24)
    without = trajectory(AdamW(learning_rate=0.05, weight_decay=0.0), grads[:1], start)[0]
    decayed = trajectory(AdamW(learning_rate=0.05, weight_decay=0.1), grads[:1], start)[0]
    np.testing.assert_allclose(decayed - without, -0.05 * 0.1 * start, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_kernel_mask_spares_biases_and_norm_scales(name):
    optimizer = type(OPTIMIZERS[name])(learning_rate=0.1, weight_decay=0.5, decay_mask="kernels")
    params = {"kernel": jnp.ones((3, 3, 2, 2)), "bias": jnp.ones(4)}
    transform = optimizer.transform(optimizer.hyperparameters())
    updates, _ = transform.update(jax.tree.map(jnp.zeros_like, params), transform.init(params), params)
    assert (np.asarray(updates["kernel"]) < 0).all()
    assert (np.asarray(updates["bias"]) == 0).all()


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_multiplier_scales_the_learning_rate_of_each_step(name):
    optimizer, grads = OPTIMIZERS[name], gradients(5)
    plain = trajectory(optimizer, grads, np.zeros(24))
    halved = trajectory(optimizer, grads, np.zeros(24), lambda count: jnp.where(count < 50, 1.0, 0.5))
    if optimizer.weight_decay == 0:  # gradients are given, so the updates do not depend on where the parameters are
        np.testing.assert_array_equal(halved[:50], plain[:50])
        np.testing.assert_allclose(halved[50:], plain[50:] / 2, rtol=1e-6)
    else:
        np.testing.assert_array_equal(halved[:50], plain[:50])


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_changing_a_float_compiles_nothing_anew(name):
    optimizer = OPTIMIZERS[name]
    params = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}

    @jax.jit
    def update(hyperparameters, params, state):
        return optimizer.transform(hyperparameters).update(params, state, params)

    hyperparameters = optimizer.hyperparameters()
    state = optimizer.transform(hyperparameters).init(params)
    for factor in (1.0, 0.5, 0.25):
        scaled = {key: value * jnp.float32(factor) for key, value in hyperparameters.items()}
        _, state = update(scaled, params, state)
    assert update._cache_size() == 1


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(UserError, match="momentum"):
        SGD(nesterov=True)


@pytest.mark.parametrize(("field", "value"), [("b1", 1.0), ("b2", -0.1), ("eps", -1.0), ("learning_rate", -1e-3)])
def test_values_out_of_bounds_are_refused_by_name(field, value):
    with pytest.raises(UserError, match=rf"Adam\.{field} is {value}"):
        Adam(**{field: value})
