"""The values and gradients of max-pooling against XLA's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxopt_bench.models.pooling import max_pool


def pools(window: int, stride: int) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    ours = lambda images: max_pool(images, window, stride)  # noqa: E731
    return ours, lambda images: nn.max_pool(images, (window, window), strides=(stride, stride))


@jax.jit(static_argnums=0)
def value_and_gradient(pool: Callable[[Any], Any], images: Any) -> tuple[Any, Any]:
    pooled, pull = jax.vjp(pool, images)
    weights = jnp.arange(1, pooled.size + 1, dtype=pooled.dtype).reshape(pooled.shape)  # different for each window
    return pooled, pull(weights)[0]


def assert_same(window: int, stride: int, images: Any) -> None:
    for ours, default in zip(*(value_and_gradient(p, images) for p in pools(window, stride)), strict=True):
        assert ours.dtype == default.dtype
        np.testing.assert_array_equal(ours, default)


@pytest.mark.parametrize(("window", "stride"), [(2, 2), (3, 2), (3, 1), (2, 3), (4, 4), (1, 2)])
@pytest.mark.parametrize("size", [(4, 4), (7, 8)])
def test_values_and_gradients_are_those_of_xla(
    random_images: Callable[..., Any], window: int, stride: int, size: tuple[int, int]
) -> None:
    assert_same(window, stride, jnp.asarray(random_images(2, *size, 3)))


@pytest.mark.parametrize(("window", "stride"), [(2, 2), (3, 2)])
@pytest.mark.parametrize("values", [[0.0], [0.0, 1.0], [0.0, np.nan, 1.0, -np.inf], [0.0, -0.0, np.inf]])
def test_ties_and_nans_are_treated_as_by_xla(window: int, stride: int, values: list[float]) -> None:
    assert_same(window, stride, jnp.asarray(np.random.default_rng(0).choice(values, (3, 7, 7, 4)), jnp.float32))


def test_the_first_of_equal_maxima_gets_all_of_the_gradient() -> None:
    _, gradient = value_and_gradient(pools(2, 2)[0], jnp.asarray([[1.0, 2.0], [2.0, 2.0]])[None, :, :, None])
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[0, 1], [0, 0]])


def test_bfloat16_inputs_give_bfloat16_outputs() -> None:
    images = jnp.asarray(np.random.default_rng(0).integers(0, 5, (2, 6, 6, 3)), jnp.bfloat16)
    pooled, gradient = value_and_gradient(pools(2, 2)[0], images)
    assert pooled.dtype == gradient.dtype == jnp.bfloat16
    assert_same(2, 2, images)


def test_vmap_pools_each_member_as_if_it_were_alone(random_images: Callable[..., Any]) -> None:
    images = jnp.asarray(random_images(3, 2, 7, 7, 2))
    together = jax.vmap(lambda one: value_and_gradient(pools(3, 2)[0], one))(images)
    for member in range(3):
        for ours, alone in zip(together, value_and_gradient(pools(3, 2)[0], images[member]), strict=True):
            np.testing.assert_array_equal(ours[member], alone)
