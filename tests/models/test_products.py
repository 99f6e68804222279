"""oneDNN's products of dense layers and of attention: values and gradients in float64, products left to JAX, bits."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxopt_bench import UserError, kernels
from jaxopt_bench.models import Layers, products
from jaxopt_bench.models.attention import Block
from jaxopt_bench.models.layers import GLOROT_UNIFORM

At = Callable[[pathlib.Path], None]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes oneDNN compute small products, too. Skips the test if the kernels are not built."""
    if kernels.onednn_version() is None:
        pytest.skip("the CPU kernels are not built, or without oneDNN (make kernels)")
    monkeypatch.setattr(products, "SMALLEST", 0)


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def of_last(features: Any, weights: Any, **kwargs: Any) -> Any:
    return products.dot_general(features, weights, (((features.ndim - 1,), (0,)), ((), ())), **kwargs)


@pytest.mark.parametrize("shape", [(1,), (4,), (37,), (5, 9), (2, 3, 7)], ids=str)
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (20, 11), (64, 64), (300, 7)])
def test_values_and_gradients_agree_with_float64(
    built: None, shape: tuple[int, ...], inputs: int, outputs: int
) -> None:
    features, weights, cotangent = drawn(1, *shape, inputs), drawn(2, inputs, outputs), drawn(3, *shape, outputs)
    value, gradients = jax.vjp(of_last, features, weights)
    rows, slope = features.reshape(-1, inputs).astype(float), cotangent.reshape(-1, outputs).astype(float)
    exact = (rows @ weights).reshape(*shape, outputs), (slope @ weights.T).reshape(features.shape), rows.T @ slope
    for found, expected in zip((value, *gradients(cotangent)), exact, strict=True):
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_loops_and_maps_agree_bit_for_bit(built: None) -> None:
    features, weights = drawn(1, 6, 16, 20), drawn(2, 20, 12)
    one = jax.jit(jax.grad(lambda x, w: (of_last(x, w) ** 2).sum(), (0, 1)))
    alone = [one(x, weights) for x in features]
    together = (
        jax.jit(lambda xs: lax.map(lambda x: one(x, weights), xs))(features),
        jax.jit(jax.vmap(lambda x: one(x, weights)))(features),
    )
    for i, expected in enumerate(alone):
        for found in together:
            jax.tree.map(lambda a, b, i=i: np.testing.assert_array_equal(a[i], b), found, expected)


@pytest.mark.parametrize(
    ("one", "other", "numbers"),
    [
        ((4, 5), (6, 5), (((1,), (1,)), ((), ()))),
        ((5, 4), (5, 6), (((0,), (0,)), ((), ()))),
        ((2, 4, 5), (2, 5, 6), (((2,), (1,)), ((0,), (0,)))),
        ((5,), (5, 6), (((0,), (0,)), ((), ()))),
        ((4, 5), (5, 6, 7), (((1,), (0,)), ((), ()))),
    ],
)
def test_other_products_are_left_to_jax(built: None, one: Any, other: Any, numbers: Any) -> None:
    arguments = drawn(1, *one), drawn(2, *other), numbers
    np.testing.assert_array_equal(products.dot_general(*arguments), lax.dot_general(*arguments))
    assert products.TARGET not in str(jax.make_jaxpr(lambda a, b: products.dot_general(a, b, numbers))(*arguments[:2]))


def test_products_of_other_types_and_small_ones_are_left_to_jax() -> None:
    large, small = (jnp.zeros((size, size)) for size in (256, 64))
    jaxpr = lambda array: str(jax.make_jaxpr(of_last)(array, array))  # noqa: E731
    assert products.TARGET not in jaxpr(small)
    assert products.TARGET not in jaxpr(large.astype(jnp.bfloat16))
    if kernels.onednn_version() is not None:
        assert products.TARGET in jaxpr(large)


def test_dense_layers_of_the_onednn_path_use_its_products(built: None) -> None:
    features, parts = drawn(1, 8, 20), []
    for path in ("onednn", "plain"):
        layer = Layers(path=path).dense(12, kernel_init=GLOROT_UNIFORM, name="dense")
        params = layer.init(jax.random.key(0), features)
        assert (products.TARGET in str(jax.make_jaxpr(layer.apply)(params, features))) == (path == "onednn")
        parts.append((params, layer.apply(params, features)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *parts)


def attended_in_float64(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, cotangent: np.ndarray, causal: bool
) -> tuple[np.ndarray, ...]:
    """Returns the result of attention and its three gradients, one example and head after the other."""
    results = [np.zeros(array.shape) for array in (query, query, key, value)]
    root = np.sqrt(query.shape[-1])
    for index in np.ndindex(len(query), query.shape[2]):
        of_head = index[0], slice(None), index[1]
        q, k, v, slope = (array[of_head].astype(float) for array in (query, key, value, cotangent))
        scores = q @ k.T / root
        if causal:
            scores[np.arange(len(q))[:, None] < np.arange(len(k))] = -np.inf
        weights = np.exp(scores - scores.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        of_weights = slope @ v.T
        of_scores = weights * (of_weights - (weights * of_weights).sum(1, keepdims=True)) / root
        for result, part in zip(results, (weights @ v, of_scores @ k, of_scores.T @ q, weights.T @ slope), strict=True):
            result[of_head] = part
    return tuple(results)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("batch", "tokens", "heads", "features"), [(1, 1, 1, 1), (2, 5, 3, 7), (3, 16, 1, 8), (2, 33, 2, 64)]
)
def test_attention_and_its_gradients_agree_with_float64(
    built: None, batch: int, tokens: int, heads: int, features: int, causal: bool
) -> None:
    query, key, value, cotangent = (drawn(seed, batch, tokens, heads, features) for seed in range(4))
    attend = lambda *arrays: products.dot_product_attention(*arrays, is_causal=causal)  # noqa: E731
    found, gradients = jax.vjp(attend, query, key, value)
    exact = attended_in_float64(query, key, value, cotangent, causal)
    for one, other in zip((found, *gradients(cotangent)), exact, strict=True):
        assert one.dtype == jnp.float32
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * np.abs(other).max() + 1e-7)
    assert products.ATTENTION_TARGET in str(jax.make_jaxpr(attend)(query, key, value))


def test_attention_to_another_number_of_keys_agrees_with_float64(built: None) -> None:
    query, cotangent = drawn(1, 2, 5, 3, 4), drawn(2, 2, 5, 3, 4)
    key, value = drawn(3, 2, 9, 3, 4), drawn(4, 2, 9, 3, 4)
    attend = lambda *arrays: products.dot_product_attention(*arrays, is_causal=False)  # noqa: E731
    found, gradients = jax.vjp(attend, query, key, value)
    for one, other in zip(
        (found, *gradients(cotangent)), attended_in_float64(query, key, value, cotangent, False), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_loops_and_maps_of_attention_agree_bit_for_bit(built: None) -> None:
    queries, rest = drawn(1, 4, 2, 6, 3, 8), (drawn(2, 2, 6, 3, 8), drawn(3, 2, 6, 3, 8))
    loss = lambda *arrays: (products.dot_product_attention(*arrays, is_causal=True) ** 2).sum()  # noqa: E731
    one = jax.jit(jax.grad(loss, (0, 1, 2)))
    alone = [one(query, *rest) for query in queries]
    together = (
        jax.jit(lambda all_: lax.map(lambda query: one(query, *rest), all_))(queries),
        jax.jit(jax.vmap(lambda query: one(query, *rest)))(queries),
    )
    for i, expected in enumerate(alone):
        for found in together:
            jax.tree.map(lambda a, b, i=i: np.testing.assert_array_equal(a[i], b), found, expected)


def test_attention_of_other_types_and_small_attention_are_left_to_jax() -> None:
    large, small = jnp.zeros((16, 64, 3, 64)), jnp.zeros((2, 16, 2, 8))
    attend = lambda array: products.dot_product_attention(array, array, array, is_causal=True)  # noqa: E731
    jaxpr = lambda array: str(jax.make_jaxpr(attend)(array))  # noqa: E731
    assert products.ATTENTION_TARGET not in jaxpr(small)
    assert products.ATTENTION_TARGET not in jaxpr(large.astype(jnp.bfloat16))
    if kernels.onednn_version() is not None:
        assert products.ATTENTION_TARGET in jaxpr(large)


@pytest.mark.parametrize("causal", [False, True])
def test_blocks_of_the_onednn_path_use_its_attention(built: None, causal: bool) -> None:
    features, parts = drawn(1, 3, 10, 12), []
    for path in ("onednn", "plain"):
        block = Block(heads=3, hidden=24, causal=causal, layers=Layers(path=path))
        params = block.init(jax.random.key(0), features, train=True)
        apply = lambda params, features, block=block: block.apply(params, features, train=True)  # noqa: E731
        assert (products.ATTENTION_TARGET in str(jax.make_jaxpr(apply)(params, features))) == (path == "onednn")
        parts.append(
            (params, apply(params, features), jax.grad(lambda p, f=apply: (f(p, features) ** 2).sum())(params))
        )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *parts)


def test_the_error_without_the_kernels_names_the_command_to_build_them(kernels_at: At, tmp_path: pathlib.Path) -> None:
    kernels_at(tmp_path / "kernels.so")
    with pytest.raises(
        UserError,
        match=r"kernels\.so is not built, cannot be loaded, or was built without oneDNN\. .*`jaxopt-bench kernels`",
    ):
        of_last(jnp.zeros((256, 256)), jnp.zeros((256, 256)))
