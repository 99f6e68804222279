"""The shared layers against their definitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxopt_bench.errors import UserError
from jaxopt_bench.models import layers


@pytest.mark.parametrize("channels", [3, 12])
def test_local_response_normalization_is_the_papers_equation(
    numpy_layers: Any, random_images: Callable[..., Any], channels: int
) -> None:
    activations = 100 * random_images(2, 3, 3, channels)  # large enough that the sum is not negligible beside k = 2
    expected = numpy_layers.local_response_normalization(activations.astype(np.float64))
    assert np.abs(expected * 2**0.75 / activations - 1).max() > 0.1  # the norm is not just the constant k
    normalised = jax.jit(layers.local_response_normalization)(activations)
    np.testing.assert_allclose(normalised, expected, rtol=1e-5)


def test_local_response_normalization_has_the_right_gradient(random_images: Callable[..., Any]) -> None:
    activations = jnp.asarray(random_images(1, 1, 2, 7))
    strong = lambda a: layers.local_response_normalization(a, alpha=0.5)  # noqa: E731
    check_grads(jax.jit(strong), (activations,), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


def test_local_response_normalization_keeps_the_type_of_its_input() -> None:
    activations = jnp.full((1, 1, 1, 5), 30, jnp.bfloat16)
    normalised = layers.local_response_normalization(activations)
    assert normalised.dtype == jnp.bfloat16
    middle = 30 / (2 + 1e-4 * 5 * 900) ** 0.75
    assert float(normalised[0, 0, 0, 2]) == pytest.approx(middle, rel=2**-8)


@pytest.mark.parametrize(
    ("stride", "padding", "groups", "zeros"), [(1, "SAME", 1, 1), (2, 1, 1, 1), (1, "VALID", 2, 0), (3, 2, 2, 2)]
)
def test_conv_is_the_one_written_in_numpy(
    numpy_layers: Any, random_images: Callable[..., Any], stride: int, padding: Any, groups: Any, zeros: int
) -> None:
    images = random_images(2, 7, 8, 4)
    conv = layers.Layers().conv(
        6,
        3,
        stride=stride,
        padding=padding,
        groups=groups,
        use_bias=True,
        kernel_init=layers.HE_NORMAL,
        name="conv",
    )
    params = {"kernel": random_images(3, 3, 4 // groups, 6), "bias": random_images(6)}
    expected = numpy_layers.conv(images.astype(np.float64), params, stride, zeros, groups)
    np.testing.assert_allclose(conv.apply({"params": params}, images), expected, atol=1e-5)


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2)])
def test_max_pool_omits_windows_that_cross_the_edge(
    numpy_layers: Any, random_images: Callable[..., Any], size: int, stride: int
) -> None:
    images = random_images(2, 8, 9, 3)
    pooled = layers.Layers().max_pool(jnp.asarray(images), size, stride)
    assert pooled.shape == (2, (8 - size) // stride + 1, (9 - size) // stride + 1, 3)
    np.testing.assert_array_equal(pooled, numpy_layers.max_pool(images, size, stride))


def test_batch_norm_keeps_float32_statistics_of_bfloat16_activations() -> None:
    # 300 + 2 · {0, 1, 2, 3} are exact in bfloat16. Their mean or squares in bfloat16 would have large errors.
    activations = jnp.asarray(300 + 2 * np.arange(4), jnp.bfloat16).reshape(4, 1, 1, 1)
    norm = layers.Layers(dtype="bfloat16").batch_norm(train=True, name="norm")
    variables = {
        "params": {"scale": jnp.ones(1), "bias": jnp.zeros(1)},
        "batch_stats": {"mean": jnp.zeros(1), "var": jnp.ones(1)},
    }
    normalised, moved = norm.apply(variables, activations, mutable=["batch_stats"])
    assert normalised.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(moved)} == {jnp.dtype(jnp.float32)}
    assert float(moved["batch_stats"]["mean"][0]) == pytest.approx(30.3, rel=1e-5)
    assert float(moved["batch_stats"]["var"][0]) == pytest.approx(0.9 + 0.1 * 5, rel=0.02)


@pytest.mark.parametrize("windows", [[(2, 2)], [(3, 2), (3, 2), (3, 2)], [(11, 4), (3, 2)], [(5, 3), (2, 2)]])
def test_smallest_side_leaves_exactly_one_pixel(windows: list[tuple[int, int]]) -> None:
    def remaining(side: int) -> int:
        for size, stride in windows:
            side = (side - size) // stride + 1 if side >= size else 0
        return side

    assert remaining(layers.smallest_side(*windows)) == 1
    assert remaining(layers.smallest_side(*windows) - 1) == 0


def test_check_side_checks_the_shorter_side() -> None:
    layers.check_side("Net", jnp.zeros((1, 7, 9, 1)), 7)
    for height, width in ((6, 9), (9, 6)):
        with pytest.raises(UserError, match=f"images of {height}×{width} pixels .* Net. Expected: 7×7 or larger"):
            layers.check_side("Net", jnp.zeros((1, height, width, 1)), 7)
