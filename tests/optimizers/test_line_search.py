"""Optimizers with a line search: L-BFGS compared with SciPy and known minima, and the options that it refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import OPTIMIZERS, Optimizer

LBFGS = OPTIMIZERS["lbfgs"]
MATRIX = np.diag(np.geomspace(1, 100, 6)) + 0.2
VECTOR = np.arange(6.0)


def rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def quadratic(x: Any) -> Any:
    return 0.5 * x @ MATRIX @ x - VECTOR @ x


def minimise(
    optimizer: Optimizer, loss: Callable[[Any], Any], start: Any, steps: int, numbers: Any = None
) -> tuple[Any, Any, Any]:
    """Returns the final parameters, the loss before each step, and the number of loss evaluations in each step."""
    numbers = {**optimizer.hyperparameters(), **(numbers or {})}

    def step(carry: Any, _: Any) -> Any:
        params, state = carry
        value, grad = jax.value_and_grad(loss)(params)
        updates, state = optimizer.transform(numbers).update(grad, state, params, value=value, grad=grad, value_fn=loss)
        return (optax.apply_updates(params, updates), state), (value, optimizer.evaluations(state))

    params = jnp.asarray(start, jnp.float32)
    (params, _), (values, evaluations) = jax.lax.scan(
        step, (params, optimizer.transform(numbers).init(params)), None, steps
    )
    return optimizer.evaluation_parameters(_, params), values, evaluations


@pytest.mark.parametrize("dimensions", [2, 6])
def test_lbfgs_finds_rosenbrocks_minimum_in_about_as_many_steps_as_scipy(dimensions):
    start = np.resize([-1.2, 1.0], dimensions)
    scipys = scipy.optimize.minimize(
        scipy.optimize.rosen, start, jac=scipy.optimize.rosen_der, method="L-BFGS-B", options={"maxcor": 10}
    )
    params, values, evaluations = jax.jit(lambda: minimise(LBFGS, rosenbrock, start, 80))()
    np.testing.assert_allclose(params, scipys.x, atol=2e-3)
    needed = int(np.argmax(np.asarray(values) < 1e-6))
    assert 0 < needed < 1.5 * scipys.nit
    assert np.asarray(evaluations)[:needed].sum() < 3 * scipys.nfev


def test_lbfgs_solves_a_linear_system():
    params, values, _ = jax.jit(lambda: minimise(LBFGS, quadratic, np.zeros(6), 30))()
    np.testing.assert_allclose(params, np.linalg.solve(MATRIX, VECTOR), rtol=1e-4, atol=1e-5)
    assert (np.diff(values) <= 1e-6 * np.abs(values[-1])).all()  # no step increases the loss, except by rounding


def test_weight_decay_is_a_penalty_in_the_loss_of_the_line_search():
    optimizer = dataclasses.replace(LBFGS, weight_decay=2.0)
    params, _, _ = jax.jit(lambda: minimise(optimizer, quadratic, np.ones(6), 30))()
    np.testing.assert_allclose(params, np.linalg.solve(MATRIX + 2 * np.eye(6), VECTOR), rtol=1e-4, atol=1e-5)


def test_only_kernels_decay_with_the_kernel_mask():
    optimizer = dataclasses.replace(LBFGS, weight_decay=1.0, decay_mask="kernels")
    target = {"kernel": np.full((2, 2), 4.0), "bias": np.full(2, 4.0)}

    def loss(params: Any) -> Any:
        return sum(0.5 * ((params[name] - target[name]) ** 2).sum() for name in target)

    params = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
    state = optimizer.transform(optimizer.hyperparameters()).init(params)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        value, grad = jax.value_and_grad(loss)(params)
        transform = optimizer.transform(optimizer.hyperparameters())
        updates, state = transform.update(grad, state, params, value=value, grad=grad, value_fn=loss)
        return optax.apply_updates(params, updates), state

    for _ in range(5):
        params, state = step(params, state)
    np.testing.assert_allclose(params["kernel"], 2.0, rtol=1e-5)  # the minimum of ½ (w − 4)² + ½ w²
    np.testing.assert_allclose(params["bias"], 4.0, rtol=1e-5)


def test_evaluations_count_how_often_the_loss_is_computed():
    calls = []

    def counted(x: Any) -> Any:
        jax.debug.callback(lambda: calls.append(1))
        return rosenbrock(x)

    _, _, evaluations = jax.jit(lambda: minimise(LBFGS, counted, np.array([-1.2, 1.0]), 10))()
    jax.effects_barrier()
    assert len(calls) == int(np.sum(evaluations))
    assert (np.asarray(evaluations) >= 2).all()
    assert OPTIMIZERS["adam"].evaluations(None) == 1


def test_settings_share_one_program_and_give_the_same_results_stacked():
    settings = [{"learning_rate": jnp.float32(r), "weight_decay": jnp.float32(w)} for r, w in ((1, 0), (0.5, 0.1))]
    alone = jax.jit(lambda numbers: minimise(LBFGS, quadratic, np.ones(6), 5, numbers)[0])
    results = [alone(setting) for setting in settings]
    assert alone._cache_size() == 1
    together = jax.jit(jax.vmap(lambda numbers: minimise(LBFGS, quadratic, np.ones(6), 5, numbers)[0]))
    stacked = together(jax.tree.map(lambda *leaves: jnp.stack(leaves), *settings))
    np.testing.assert_allclose(stacked, jnp.stack(results), rtol=1e-4, atol=1e-5)
    assert not np.allclose(results[0], results[1])


def test_averages_of_the_parameters_are_evaluated():
    optimizer = dataclasses.replace(LBFGS, ema_decay=0.9)
    params, _, _ = jax.jit(lambda: minimise(optimizer, quadratic, np.ones(6), 20))()
    assert not np.allclose(params, np.linalg.solve(MATRIX, VECTOR), rtol=1e-4)
    assert quadratic(np.asarray(params, np.float64)) < quadratic(np.ones(6))


@pytest.mark.parametrize(("field", "value"), [("clip_norm", 1.0), ("clip_adaptive", 0.1), ("accumulate", 2)])
def test_options_that_change_the_gradient_are_refused(field, value):
    with pytest.raises(UserError, match=rf"Lbfgs\.{field} is {value}\. Expected (None|1): the line search needs the"):
        dataclasses.replace(LBFGS, **{field: value})
