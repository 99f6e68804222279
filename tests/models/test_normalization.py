"""Batch normalisation against Flax's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxopt_bench.models.normalization import BatchNorm


def both(train: bool, dtype: Any) -> tuple[nn.Module, nn.Module]:
    settings = {"use_running_average": not train, "momentum": 0.9, "epsilon": 1e-5, "dtype": dtype}
    return BatchNorm(**settings), nn.BatchNorm(**settings)


def variables(channels: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    draw = lambda low, high: jnp.asarray(rng.uniform(low, high, channels), jnp.float32)  # noqa: E731
    return {
        "params": {"scale": draw(0.5, 1.5), "bias": draw(-1, 1)},
        "batch_stats": {"mean": draw(-1, 1), "var": draw(0.5, 2)},
    }


def results(norm: nn.Module, x: Any) -> tuple[Any, Any, Any]:
    """Returns the output, the updated running statistics, and the gradients for the parameters and the input."""

    @jax.jit
    def run(x: Any) -> tuple[Any, Any, Any]:
        given = variables(x.shape[-1])

        def forward(params: Any, x: Any) -> tuple[Any, Any]:
            return norm.apply({**given, "params": params}, x, mutable=["batch_stats"])

        y, pull, moved = jax.vjp(forward, given["params"], x, has_aux=True)
        return y, moved, pull(jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape).astype(y.dtype))

    return run(x)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("shape", [(16, 5, 4, 3), (7, 6), (1, 1, 9, 2)])
def test_outputs_running_statistics_and_gradients_are_those_of_flax(
    random_images: Callable[..., Any], train: bool, shape: tuple[int, ...]
) -> None:
    x = jnp.asarray(2 + 3 * random_images(*shape))
    ours, flax = (results(norm, x) for norm in both(train, jnp.float32))
    assert jax.tree.structure(ours) == jax.tree.structure(flax)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), ours, flax)


def test_the_gradient_is_that_of_the_definition_in_float64(random_images: Callable[..., Any]) -> None:
    with jax.enable_x64(True):
        x = jnp.asarray(random_images(6, 3, 3, 2), jnp.float64)
        weights = jnp.cos(jnp.arange(x.size, dtype=jnp.float64)).reshape(x.shape)
        params = jax.tree.map(lambda a: a.astype(jnp.float64), variables(2)["params"])

        def definition(params: Any, x: Any) -> Any:
            mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
            return (weights * ((x - mean) / jnp.sqrt(var + 1e-5) * params["scale"] + params["bias"])).sum()

        def ours(params: Any, x: Any) -> Any:
            given = {**variables(2), "params": params}
            return (weights * both(True, jnp.float64)[0].apply(given, x, mutable=["batch_stats"])[0]).sum()

        gradients = (jax.jit(jax.grad(f, (0, 1)))(params, x) for f in (ours, definition))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), *gradients)


def test_the_running_statistics_have_the_right_gradient(random_images: Callable[..., Any]) -> None:
    x = jnp.asarray(random_images(6, 3, 3, 2))

    def moved(norm: nn.Module) -> Any:
        stats = lambda x: norm.apply(variables(2), x, mutable=["batch_stats"])[1]["batch_stats"]  # noqa: E731
        return jax.jit(jax.grad(lambda x: (stats(x)["mean"] + 3 * stats(x)["var"]).sum()))(x)

    np.testing.assert_allclose(*(moved(norm) for norm in both(True, jnp.float32)), rtol=1e-5, atol=1e-7)


def test_bfloat16_activations_have_float32_statistics(random_images: Callable[..., Any]) -> None:
    x = jnp.asarray(2 + 3 * random_images(16, 5, 4, 3)).astype(jnp.bfloat16)
    ours, flax = (results(norm, x) for norm in both(True, jnp.bfloat16))
    assert ours[0].dtype == ours[2][1].dtype == jnp.bfloat16
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours[1], flax[1])
    widened = (jax.tree.map(lambda a: a.astype(jnp.float32), (r[0], r[2])) for r in (ours, flax))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0.03, atol=0.03), *widened)


def test_a_constant_channel_gives_the_bias_and_no_gradient_of_the_scale() -> None:
    # The mean of 16 equal values is exact.
    y, _, (params, x) = results(both(True, jnp.float32)[0], jnp.full((4, 2, 2, 1), 7.0))
    np.testing.assert_allclose(y, np.broadcast_to(variables(1)["params"]["bias"], y.shape), rtol=1e-6)
    assert np.isfinite(x).all()
    assert float(params["scale"][0]) == 0


def test_variables_are_interchangeable_with_those_of_flax() -> None:
    x = jnp.ones((2, 4, 4, 3))
    ours, flax = (norm.init(jax.random.key(0), x) for norm in both(True, jnp.float32))
    jax.tree.map(np.testing.assert_array_equal, ours, flax)
