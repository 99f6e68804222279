"""The vision transformer's parameters counted by hand, and its forward pass against NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxopt_bench.errors import UserError
from jaxopt_bench.models import ViT, count_parameters
from jaxopt_bench.models.vit import positions

SMALL = ViT(patch=2, width=24, depth=2, heads=3, hidden=40)


def test_parameters_are_those_of_the_tiny_size(shapes_of: Callable[..., Any]) -> None:
    params = shapes_of(ViT().module(10), 32, 32, 3)["params"]
    block = 4 * (192 * 192 + 192) + (192 * 768 + 768) + (768 * 192 + 192) + 2 * 2 * 192
    by_hand = (4 * 4 * 3 * 192 + 192) + 12 * block + 2 * 192 + (192 * 10 + 10)
    assert count_parameters(params) == by_hand == 5_350_090
    kernels = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params["block1"]) if path[-1].key == "kernel"]
    assert all(kernel.ndim == 2 for kernel in kernels)  # optimizers such as Muon treat them as matrices


def test_forward_pass_is_that_of_numpy(
    numpy_layers: Any, random_variables: Callable[..., Any], random_images: Callable[..., Any]
) -> None:
    module, images = SMALL.module(10), random_images(3, 6, 4, 3)
    variables = random_variables(module, 6, 4, 3)
    params, dense = variables["params"], numpy_layers.dense

    def norm(x: Any, own: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return scaled * np.asarray(own["scale"], float) + np.asarray(own["bias"], float)

    def attention(x: Any, own: Any) -> Any:
        q, k, v = (dense(x, own[name]) for name in ("query", "key", "value"))
        out = np.empty_like(x)
        for head in range(3):  # each sees 8 of the 24 features
            part = slice(8 * head, 8 * head + 8)
            weights = np.exp(q[..., part] @ k[..., part].swapaxes(1, 2) / math.sqrt(8))
            out[..., part] = weights / weights.sum(-1, keepdims=True) @ v[..., part]
        return dense(out, own["out"])

    def gelu(x: Any) -> Any:
        return x / 2 * (1 + scipy.special.erf(x / math.sqrt(2)))

    patches = images.astype(float).reshape(3, 3, 2, 2, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(3, 3, 2, 12)
    kernel = np.asarray(params["embed"]["kernel"], float).reshape(12, 24)
    x = patches @ kernel + np.asarray(params["embed"]["bias"], float) + positions(3, 2, 24)
    x = x.reshape(3, 6, 24)
    for block in ("block1", "block2"):
        own = params[block]
        x = x + attention(norm(x, own["norm1"]), own)
        x = x + dense(gelu(dense(norm(x, own["norm2"]), own["dense1"])), own["dense2"])
    expected = dense(norm(x, params["norm"]).mean(1), params["head"])
    logits = module.apply(variables, images, train=False)
    np.testing.assert_allclose(logits, expected, atol=2e-4 * np.abs(expected).max())
    np.testing.assert_array_equal(logits, module.apply(variables, images, train=True))


def test_positions_are_sines_and_cosines_of_row_and_column() -> None:
    """The positions of Chen, Xie and He 2021, computed in a loop."""
    found = positions(3, 5, 16)
    for row in range(3):
        for column in range(5):
            for i in range(4):
                frequency = 10_000 ** (-i / 3)
                expected = [math.sin(column * frequency), math.cos(column * frequency),
                            math.sin(row * frequency), math.cos(row * frequency)]  # fmt: skip
                np.testing.assert_allclose(found[row, column, i::4], expected, atol=1e-6)


def test_initial_logits_are_zero_and_dropout_is_active_only_in_training(
    random_variables: Callable[..., Any], random_images: Callable[..., Any], quick_key: Callable[[int], Any]
) -> None:
    images = jnp.asarray(random_images(2, 6, 4, 3))
    initial = SMALL.module(10).init(quick_key(0), images, train=False)
    assert not np.asarray(SMALL.module(10).apply(initial, images, train=False)).any()
    module = ViT(patch=2, width=24, depth=2, heads=3, hidden=40, dropout=0.2).module(10)
    variables = random_variables(module, 6, 4, 3)
    one, other = (module.apply(variables, images, train=True, rngs={"dropout": quick_key(seed)}) for seed in (1, 2))
    assert (np.asarray(one) != np.asarray(other)).any()
    np.testing.assert_array_equal(
        module.apply(variables, images, train=False), SMALL.module(10).apply(variables, images, train=False)
    )


def test_sizes_that_do_not_divide_are_refused(shapes_of: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"ViT\.width is 192\. Expected a multiple of .* attention heads, 5\."):
        ViT(heads=5)
    with pytest.raises(UserError, match=r"ViT\.width is 30\. Expected a multiple of 4: a position encoding has four"):
        ViT(width=30)
    with pytest.raises(
        UserError, match=r"images of 32×30 pixels .* ViT\.patch is 4\. Expected a divisor of both sides"
    ):
        shapes_of(ViT().module(10), 32, 30, 3)
