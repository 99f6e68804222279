"""The matrix products of dense layers and of attention with oneDNN. Layers do not belong in this module."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxopt_bench import kernels

Rows = Float[Array, "rows inputs"]
Weights = Float[Array, "inputs outputs"]
Tokens = Float[Array, "batch tokens heads features"]
Scores = Float[Array, "batch heads queries keys"]

TARGET = "jaxopt_bench_multiply"
ATTENTION_TARGET = "jaxopt_bench_attend"
SMALLEST = 20e6
"""XLA computes products with fewer operations.

Measured for values and gradients in a compiled loop on two cores of an AMD EPYC: oneDNN takes 0.6 to 1.6 times as long
as XLA at 1 to 17 million operations, and 0.8 to 1.1 times at 34 to 268 million. Within a network it saves more: with
these products and fused updates, a vision transformer trained 1.4 times as fast as with PyTorch; before, it trained 0.8
times as fast (`training/README.md`).

Attention and its gradients on two cores of an Intel Xeon (model 207): oneDNN takes 15 ms and XLA 31 ms at 201 million
operations in a product (128 examples of 64 tokens, 3 heads of 64 features), 3.1 and 4.7 ms at 34 million, 1.6 and 2.0
ms at 8 million.
"""
_NONE, _FIRST, _SECOND = range(3)
_SCORES, _ATTENDED, _TRANSPOSED = range(3)


def dot_general(lhs: Array, rhs: Array, dimension_numbers: Any, *args: Any, **kwargs: Any) -> Array:
    """Computes the same function as `jax.lax.dot_general`, for the argument of `nn.Dense` with that name.

    oneDNN computes the product of float32 features, [..., inputs], and weights, [inputs, outputs], and its gradients.
    It computes in float32 and ignores `precision`. JAX computes all other products, and those with fewer than
    `SMALLEST` operations. The products of oneDNN have no forward-mode derivative. Under `vmap`, the members are
    computed one after the other.

    Raises:
      UserError: if the library of kernels is not built, cannot be loaded, or was built without oneDNN.
    """
    contracted, batched = (tuple(map(tuple, pair)) for pair in dimension_numbers)
    plain = rhs.ndim == 2 and lhs.ndim >= 2 and contracted == ((lhs.ndim - 1,), (0,)) and batched == ((), ())
    if not plain or {lhs.dtype, rhs.dtype} != {jnp.dtype("float32")} or _operations(lhs, rhs) < SMALLEST:
        return lax.dot_general(lhs, rhs, dimension_numbers, *args, **kwargs)
    kernels.check_onednn()
    return _product(lhs.reshape(-1, lhs.shape[-1]), rhs).reshape(*lhs.shape[:-1], rhs.shape[-1])


def _operations(lhs: Array, rhs: Array) -> float:
    return 2 * math.prod(lhs.shape) * rhs.shape[1]


@jax.custom_vjp
def _product(rows: Rows, weights: Weights) -> Float[Array, "rows outputs"]:
    return _multiply(rows, weights)


def _product_fwd(rows: Rows, weights: Weights) -> tuple[Array, tuple[Rows, Weights]]:
    return _multiply(rows, weights), (rows, weights)


def _product_bwd(saved: tuple[Rows, Weights], cotangent: Float[Array, "rows outputs"]) -> tuple[Rows, Weights]:
    rows, weights = saved
    return _multiply(cotangent, weights, _SECOND), _multiply(rows, cotangent, _FIRST)


_product.defvjp(_product_fwd, _product_bwd)


def _multiply(first: Array, second: Array, transposed: int = _NONE) -> Float[Array, "rows columns"]:
    shape = first.shape[transposed == _FIRST], second.shape[transposed != _SECOND]
    call = jax.ffi.ffi_call(TARGET, jax.ShapeDtypeStruct(shape, jnp.float32), vmap_method="sequential")
    return call(first, second, transposed=np.int64(transposed))


def dot_product_attention(query: Tokens, key: Tokens, value: Tokens, *, is_causal: bool) -> Tokens:
    """Computes the same function as `jax.nn.dot_product_attention`, without its other arguments.

    oneDNN computes the products of float32 arrays and their gradients. JAX computes arrays of other types, and
    attention with fewer than `SMALLEST` operations in a product. There is no forward-mode derivative. Under `vmap`, the
    members are computed one after the other.

    Args:
      query: the queries, with as many heads as the keys and the values.
      key: the keys.
      value: a value for each key.
      is_causal: whether a query attends only to the keys at its position and before it.

    Raises:
      UserError: if the library of kernels is not built, cannot be loaded, or was built without oneDNN.
    """
    arrays = query, key, value
    operations = 2 * math.prod(query.shape) * key.shape[1]
    if {array.dtype for array in arrays} != {jnp.dtype("float32")} or operations < SMALLEST:
        return jax.nn.dot_product_attention(*arrays, is_causal=is_causal)
    kernels.check_onednn()
    scores = _score(query / math.sqrt(query.shape[-1]), key)
    if is_causal:
        visible = jnp.tri(query.shape[1], key.shape[1], dtype=bool)
        scores = jnp.where(visible, scores, jnp.finfo(scores.dtype).min)
    return _combine(jax.nn.softmax(scores), value)


@jax.custom_vjp
def _score(query: Tokens, key: Tokens) -> Scores:
    """Returns the product of each query and each key of the same head."""
    (batch, queries, heads, _), keys = query.shape, key.shape[1]
    return _attend(_SCORES, (batch, heads, queries, keys), query, key)


def _score_bwd(saved: tuple[Tokens, Tokens], cotangent: Scores) -> tuple[Tokens, Tokens]:
    query, key = saved
    return _combine(cotangent, key), _combine_transposed(cotangent, query)


_score.defvjp(lambda query, key: (_score(query, key), (query, key)), _score_bwd)


@jax.custom_vjp
def _combine(weights: Scores, value: Tokens) -> Tokens:
    """Returns, for each query, the sum of the values multiplied by its weights."""
    batch, heads, queries, _ = weights.shape
    return _attend(_ATTENDED, (batch, queries, heads, value.shape[-1]), weights, value)


def _combine_bwd(saved: tuple[Scores, Tokens], cotangent: Tokens) -> tuple[Scores, Tokens]:
    weights, value = saved
    return _score(cotangent, value), _combine_transposed(weights, cotangent)


_combine.defvjp(lambda weights, value: (_combine(weights, value), (weights, value)), _combine_bwd)


def _combine_transposed(weights: Scores, queried: Tokens) -> Tokens:
    """Returns, for each key, the sum of the arrays of the queries multiplied by its weights."""
    batch, heads, _, keys = weights.shape
    return _attend(_TRANSPOSED, (batch, keys, heads, queried.shape[-1]), weights, queried)


def _attend(which: int, shape: tuple[int, ...], first: Array, second: Array) -> Array:
    call = jax.ffi.ffi_call(ATTENTION_TARGET, jax.ShapeDtypeStruct(shape, jnp.float32), vmap_method="sequential")
    return call(first, second, which=np.int64(which))
