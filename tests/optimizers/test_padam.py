"""Special cases of Padam: the smallest and the largest exponent, and zero gradients."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_bench.optimizers import AMSGrad, Optimizer, Padam, scale_by_padam


def run(transform: optax.GradientTransformation, grads: np.ndarray) -> np.ndarray:
    """Returns the rescaled gradients of all steps."""
    state = transform.init(jnp.zeros(grads.shape[1]))
    rows = []
    for grad in grads:
        updates, state = transform.update(jnp.asarray(grad), state)
        rows.append(np.asarray(updates))
    return np.stack(rows)


@pytest.fixture
def grads() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)


def test_at_one_half_the_paper_form_is_amsgrad_without_bias_correction_and_eps(grads):
    amsgrad = optax.scale_by_amsgrad(0.9, 0.99, eps=0.0, bias_correction_mu=False, bias_correction_nu=False)
    ours = run(scale_by_padam(0.9, 0.99, partial=0.5), grads)
    np.testing.assert_allclose(ours, run(amsgrad, grads), rtol=1e-6, atol=1e-7)


def test_at_zero_the_paper_form_is_momentum_sgd_with_a_scaled_learning_rate(grads):
    momentum = run(optax.trace(0.9), grads)
    np.testing.assert_allclose(run(scale_by_padam(0.9, 0.99, partial=0.0), grads), 0.1 * momentum, rtol=1e-5, atol=1e-6)


def test_at_zero_the_code_form_has_the_direction_of_momentum_sgd(grads):
    ours = run(scale_by_padam(0.9, 0.99, partial=0.0, eps=1e-8, bias_correction=True), grads)
    momentum = run(optax.trace(0.9), grads)
    cosine = (ours * momentum).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(momentum, axis=1)
    np.testing.assert_allclose(cosine, 1, atol=1e-6)
    t = np.arange(1, 61)
    ratio = np.linalg.norm(ours, axis=1) / np.linalg.norm(momentum, axis=1)
    np.testing.assert_allclose(ratio, 0.1 * np.sqrt(1 - 0.99**t) / (1 - 0.9**t), rtol=1e-4)


@pytest.mark.parametrize("partial", [0.0, 0.125, 0.5])
@pytest.mark.parametrize("bias_correction", [False, True])
def test_a_zero_gradient_gives_a_zero_update(partial, bias_correction):
    updates = run(scale_by_padam(partial=partial, bias_correction=bias_correction), np.zeros((3, 5), np.float32))
    np.testing.assert_array_equal(updates, 0)


def test_a_gradient_whose_square_underflows_gives_a_finite_update():
    updates = run(scale_by_padam(), np.full((3, 2), 1e-30, np.float32))
    assert np.isfinite(updates).all()


def steps(optimizer: Optimizer, grads: np.ndarray) -> np.ndarray:
    """Returns the updates of all steps for constant parameters."""
    transform, params, rows = optimizer.transform(optimizer.hyperparameters()), jnp.ones(grads.shape[1]), []
    state = transform.init(params)
    for grad in grads:
        updates, state = transform.update(jnp.asarray(grad), state, params)
        rows.append(np.asarray(updates))
    return np.stack(rows)


def test_at_one_half_amsgrads_learning_rate_is_the_rate_times_the_gradient_unit(grads):
    padam = Padam(learning_rate=0.3, weight_decay=0.01, partial=0.5, eps=1e-3, gradient_unit=0.02)
    amsgrad = AMSGrad(learning_rate=0.006, weight_decay=0.01, eps=1e-3, bias_correction=False)
    np.testing.assert_allclose(steps(padam, grads), steps(amsgrad, grads), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("partial", "final"), [(0.0, None), (0.125, None), (0.4, None), (0.125, 0.5)])
def test_updates_scale_with_gradients_and_their_unit(grads, partial, final):
    """Both are multiplied by 100. An update has the unit of the gradient."""
    one = steps(Padam(partial=partial, final_partial=final, gradient_unit=0.01), grads)
    other = steps(Padam(partial=partial, final_partial=final, gradient_unit=1.0), 100 * grads)
    np.testing.assert_allclose(100 * one, other, rtol=1e-4, atol=1e-5)


def test_a_gradient_unit_of_1_gives_the_papers_form(grads):
    np.testing.assert_allclose(steps(Padam(gradient_unit=1.0), grads), steps(Padam(), grads), rtol=1e-6)


def test_a_missing_gradient_unit_is_not_recorded():
    assert "gradient_unit" not in Padam().to_json()
    assert Padam.from_json(Padam(gradient_unit=0.01).to_json()) == Padam(gradient_unit=0.01)


def test_the_denominator_never_shrinks(grads):
    transform = scale_by_padam()
    state = transform.init(jnp.zeros(16))
    largest = np.zeros(16)
    for grad in grads:
        _, state = transform.update(jnp.asarray(grad), state)
        assert (np.asarray(state.nu_max) >= largest).all()
        assert (np.asarray(state.nu_max) >= np.asarray(state.nu)).all()
        largest = np.asarray(state.nu_max)
