"""Analytic functions: values, gradients and minima against NumPy and SciPy in float64, dynamics against theory."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jaxopt_bench import prng
from jaxopt_bench.errors import UserError
from jaxopt_bench.problems import DeepLinear, MatrixFactorisation, NoisyQuadratic, Problem, Rosenbrock
from jaxopt_bench.problems.functions import matrix

FUNCTIONS = (Rosenbrock(dimensions=5), DeepLinear(), MatrixFactorisation(), NoisyQuadratic(dimensions=50))


def start(problem: Problem, seed: int = 0) -> Any:
    return problem.initial(prng.key(seed, prng.Purpose.INITIALISATION))[0]


def measured(problem: Problem, params: Any) -> dict[str, float]:
    """Returns the loss and the gap in evaluation."""
    found = problem.evaluation(params, {}, problem.train)
    assert all(values.shape == (problem.train_examples,) for values in found.values())
    assert all(np.ptp(values) == 0 for values in found.values())
    return {name: float(values[0]) for name, values in found.items()}


def training(problem: Problem, params: Any, batch_size: int = 1, seed: int = 0, step: int = 0) -> tuple[Any, Any]:
    """Returns the loss of a training step and its gradient."""
    draw = prng.Draw(seed, step)
    return jax.value_and_grad(lambda p: problem.training(p, {}, problem.train[:batch_size], draw)[0])(params)


@pytest.mark.parametrize("config", FUNCTIONS, ids=lambda config: config.title)
def test_the_gap_is_the_loss_minus_its_minimum(config):
    problem = config.load()
    assert problem.headline.name == "gap"
    assert (problem.validation, problem.test, problem.full_batch) == (None, None, True)
    found = measured(problem, start(problem))
    minimum = problem.all_metrics[1].least or 0.0
    assert found["gap"] == pytest.approx(found["loss"] - minimum, rel=1e-6)
    assert found["gap"] > 0.1


@pytest.mark.parametrize("dimensions", [2, 3, 10])
def test_rosenbrock_is_that_of_scipy(dimensions):
    problem = Rosenbrock(dimensions=dimensions).load()
    np.testing.assert_allclose(start(problem), np.resize([-1.2, 1.0], dimensions), rtol=1e-6)
    for seed in range(3):
        x = np.random.default_rng(seed).uniform(-2, 2, dimensions)
        loss, gradient = training(problem, jnp.asarray(x, jnp.float32))
        assert loss == pytest.approx(scipy.optimize.rosen(x), rel=1e-5)
        np.testing.assert_allclose(gradient, scipy.optimize.rosen_der(x), rtol=1e-4, atol=1e-3)
    assert measured(problem, jnp.ones(dimensions)) == {"loss": 0.0, "gap": 0.0}


@pytest.mark.parametrize("center", [0.0, 2.0])
def test_the_noisy_quadratic_under_sgd_follows_its_exact_recursion(center):
    """Zhang et al. 2019, section 3: E[θ(t+1)²] = (1 − α h)² E[θ(t)²] + α² h / B for the distance θ to the center.

    The recursion starts at 1 plus the square of the center.
    """
    dimensions, batch_size, steps, runs, rate = 20, 4, 30, 2000, 0.7
    problem = NoisyQuadratic(dimensions=dimensions, center=center).load()

    def trained(seed: Any) -> Any:
        def step(params: Any, count: Any) -> Any:
            params = params - rate * training(problem, params, batch_size, seed, count)[1]
            return params, problem.loss(params, problem.train[:1], None)[0]

        return jax.lax.scan(step, start(problem, seed), jnp.arange(steps))[1]

    losses = np.asarray(jax.jit(jax.vmap(trained))(jnp.arange(runs, dtype=jnp.uint32)), np.float64)
    curvature, moment, expected = 1 / np.arange(1, dimensions + 1), np.full(dimensions, 1 + center**2), []
    for _ in range(steps):
        moment = (1 - rate * curvature) ** 2 * moment + rate**2 * curvature / batch_size
        expected.append(0.5 * (curvature * moment).sum())
    error = losses.std(axis=0) / np.sqrt(runs)
    assert (np.abs(losses.mean(axis=0) - expected) < 4.5 * error).all()
    assert (error / expected).max() < 0.02


def test_the_loss_of_a_validation_example_has_no_noise():
    config = NoisyQuadratic(dimensions=3, validation_examples=1)
    problem = config.load()
    params = jnp.array([1.0, -2.0, 3.0])
    found = problem.evaluation(params, {}, problem.validation)
    assert found["loss"] == pytest.approx([0.5 * (1 + 4 / 2 + 9 / 3)])
    assert config.validates
    assert not NoisyQuadratic().validates
    assert NoisyQuadratic.from_json(config.to_json()) == config
    assert "validation_examples" not in NoisyQuadratic().to_json()  # older runs do not have this field


def test_a_nonzero_center_of_the_noisy_quadratic_is_recorded():
    moved = NoisyQuadratic(center=2.0)
    assert NoisyQuadratic.from_json(moved.to_json()) == moved
    assert "center" not in NoisyQuadratic().to_json()  # older runs do not have this field


def test_the_noise_of_the_noisy_quadratic_differs_from_step_to_step():
    problem = NoisyQuadratic(dimensions=3).load()
    params = jnp.ones(3)
    gradients = [training(problem, params, step=step)[1] for step in (0, 1, 0)]
    assert not np.array_equal(gradients[0], gradients[1])
    np.testing.assert_array_equal(gradients[0], gradients[2])
    assert problem.random


def test_a_deep_linear_network_has_the_closed_form_gradient():
    """∂f/∂Wₗ = (W_L ⋯ Wₗ₊₁)ᵀ (W_L ⋯ W₁ − A) (Wₗ₋₁ ⋯ W₁)ᵀ, Saxe et al. 2014, eq. 3 for any depth."""
    config = DeepLinear(depth=4, width=6)
    problem, target = config.load(), matrix(6, 6, np.geomspace(1, 0.01, 6))
    params = start(problem)
    weights = [np.asarray(w, np.float64) for w in params]

    def product(matrices: list[np.ndarray]) -> np.ndarray:
        result = np.eye(6)
        for m in matrices:
            result = m @ result
        return result

    error = product(weights) - target
    loss, gradient = training(problem, params)
    assert loss == pytest.approx(0.5 * (error**2).sum(), rel=1e-5)
    for layer, found in enumerate(gradient):
        expected = product(weights[layer + 1 :]).T @ error @ product(weights[:layer]).T
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    for w in weights:
        np.testing.assert_allclose(w @ w.T, 0.25 * np.eye(6), atol=1e-6)


def test_each_mode_of_a_deep_linear_network_follows_the_theory_of_saxe_et_al():
    """Two layers, aligned with A: da/dt = 2 a (s − a), so a(t) = s e^{2st} / (e^{2st} − 1 + s / a₀); their eq. 12."""
    width, small, rate, steps = 5, 1e-2, 2e-3, 4000
    values = np.geomspace(1, 0.2, width)
    problem, target = DeepLinear(depth=2, width=width, condition=5.0).load(), matrix(width, width, values)
    left, singular, right = np.linalg.svd(target)
    np.testing.assert_allclose(singular, values, rtol=1e-12)
    first = jnp.asarray(np.sqrt(small) * right, jnp.float32)
    second = jnp.asarray(np.sqrt(small) * left, jnp.float32)

    def step(params: Any, _: Any) -> Any:
        gradient = training(problem, params)[1]
        return jax.tree.map(lambda p, g: p - rate * g, params, gradient), params[1] @ params[0]

    products = jax.jit(lambda params: jax.lax.scan(step, params, None, steps)[1])([first, second])
    modes = np.einsum("im,tij,mj->tm", left, np.asarray(products[::200], np.float64), right)
    growth = np.exp(2 * values * rate * np.arange(steps)[::200, None])
    np.testing.assert_allclose(modes, values * growth / (growth - 1 + values / small), atol=0.01)
    assert modes[-1, 0] > 0.99 > 0.9 > modes[-1, -1] / values[-1]  # the smallest mode is learned last


def test_matrix_factorisation_has_its_minimum_at_the_truncated_svd():
    """Eckart & Young 1936."""
    config = MatrixFactorisation(rows=9, columns=7, rank=3, condition=20.0)
    problem, target = config.load(), matrix(9, 7, np.geomspace(1, 0.05, 7))
    left, singular, right = np.linalg.svd(target, full_matrices=False)
    best = {"left": left[:, :3] * singular[:3], "right": right[:3].T}
    best = {name: jnp.asarray(value, jnp.float32) for name, value in best.items()}
    found = measured(problem, best)
    assert found["loss"] == pytest.approx(0.5 * (singular[3:] ** 2).sum(), rel=1e-5)
    assert found["gap"] < 1e-7
    assert measured(problem, {**best, "left": 1.01 * best["left"]})["gap"] > 1e-5
    params = start(problem)
    u, v = (np.asarray(params[name], np.float64) for name in ("left", "right"))
    gradient = training(problem, params)[1]
    np.testing.assert_allclose(gradient["left"], (u @ v.T - target) @ v, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gradient["right"], (u @ v.T - target).T @ u, rtol=1e-4, atol=1e-6)


def test_a_rank_larger_than_the_matrix_allows_is_refused():
    with pytest.raises(
        UserError, match=r"MatrixFactorisation.rank is 9, .* 32 × 8\. Expected an integer >= 1 and <= 8"
    ):
        MatrixFactorisation(columns=8, rank=9)
