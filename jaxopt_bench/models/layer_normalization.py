"""Layer normalisation in one pass over memory, a replacement for `flax.linen.LayerNorm`. Nothing else belongs here."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxopt_bench import kernels

Rows = Float[Array, "rows features"]
Features = Float[Array, " features"]
OfRows = Float[Array, " rows"]

TARGET = "jaxopt_bench_layer_norm"
GRADIENT_TARGET = "jaxopt_bench_layer_norm_gradient"
SMALLEST = 2**18
"""Flax normalises arrays with fewer elements.

Measured for values and gradients in a compiled loop on two cores of an Intel Xeon (model 207): 0.30 ms for [1024, 256]
and 1.7 ms for [8192, 192], against 0.48 and 3.1 ms with Flax; 0.18 ms for [2048, 32], against 0.17 ms.
"""


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis (Ba et al. 2016), in C++ on CPUs.

    Parameters have the same names and values as in `flax.linen.LayerNorm`, which normalises arrays of other types than
    float32 and those with fewer than `SMALLEST` elements. There is no forward-mode derivative. Under `vmap`, the
    members are computed one after the other.

    Attributes:
      epsilon: the number that is added to the variance.
      dtype: the type of the result.
    """

    epsilon: float = 1e-6
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch features"]:
        """Returns the normalised activations.

        Raises:
          UserError: if the library of kernels is not built, cannot be loaded, or was built without oneDNN.
        """
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], jnp.float32)
        if {x.dtype, jnp.dtype(self.dtype)} != {jnp.dtype("float32")} or x.size < SMALLEST:
            default = nn.LayerNorm(epsilon=self.epsilon, dtype=self.dtype, parent=None)
            return default.apply({"params": {"scale": scale, "bias": bias}}, x)
        kernels.check_onednn()
        return _normalize(self.epsilon, x.reshape(-1, x.shape[-1]), scale, bias).reshape(x.shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _normalize(epsilon: float, x: Rows, scale: Features, bias: Features) -> Rows:
    return _normalize_fwd(epsilon, x, scale, bias)[0]


def _normalize_fwd(
    epsilon: float, x: Rows, scale: Features, bias: Features
) -> tuple[Rows, tuple[Rows, Features, OfRows, OfRows]]:
    rows = x.shape[:1]
    normalize = _function(TARGET, x.shape, rows, rows)
    result, means, inverses = normalize(x, scale, bias, epsilon=np.float32(epsilon))
    return result, (x, scale, means, inverses)


def _normalize_bwd(
    epsilon: float, saved: tuple[Rows, Features, OfRows, OfRows], cotangent: Rows
) -> tuple[Rows, Features, Features]:
    del epsilon
    x, scale, means, inverses = saved
    differentiate = _function(GRADIENT_TARGET, x.shape, scale.shape, scale.shape)
    of_x, of_scale, of_bias = differentiate(x, scale, means, inverses, cotangent)
    return of_x, of_scale, of_bias


_normalize.defvjp(_normalize_fwd, _normalize_bwd)


def _function(target: str, *shapes: tuple[int, ...]) -> Callable[..., Sequence[Array]]:
    """Returns the function of the library that has float32 results of these shapes."""
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.ffi.ffi_call(target, results, vmap_method="sequential")
