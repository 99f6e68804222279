"""Batch normalisation with its own gradient, a replacement for `flax.linen.BatchNorm`. Nothing else belongs here."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxopt_bench import kernels

Channels = Float[Array, " channels"]

TARGET = "jaxopt_bench_batch_norm_sums"
SMALLEST = 2**16
"""XLA computes the sums over arrays with fewer elements.

Measured for values and gradients in a compiled loop on two cores of an Intel Xeon (model 207): 0.12 ms for [2048, 32],
2.8 ms for [8192, 256] and 16 ms for [131072, 64], against 0.17, 3.6 and 21 ms with the sums of XLA; 0.08 ms for [1024,
16], against 0.04 ms. In a step of a ResNet-20, all sums take 10 ms. With XLA they take 45 ms, including arrays that XLA
writes only for its sums.
"""


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015) over all dimensions except the last.

    Parameters and running statistics have the same names and values as in `flax.linen.BatchNorm`. Statistics are
    float32 for each `dtype`.

    Attributes:
      use_running_average: whether to normalise by the running statistics instead of those of the batch.
      momentum: decay of the running statistics.
      epsilon: the number that is added to the variance.
      dtype: the type of the result.
      scale_init: initial values of the scale.
      sums_in_cpp: whether the C++ kernels compute the sums over float32 arrays that training needs, except small ones.
        Under `vmap`, they compute one member after the other.
    """

    use_running_average: bool
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: DTypeLike = jnp.float32
    scale_init: Initializer = nn.initializers.ones
    sums_in_cpp: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "*batch channels"]) -> Float[Array, "*batch channels"]:
        """Returns the normalised activations. In training, it also updates the running statistics.

        Raises:
          UserError: if the C++ kernels are needed and not built, cannot be loaded, or were built without oneDNN.
        """
        channels = x.shape[-1:]
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)
        scale = self.param("scale", self.scale_init, channels, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, channels, jnp.float32)
        if self.use_running_average:
            factor = scale * lax.rsqrt(running_var.value + self.epsilon)
            return _affine(x, running_mean.value, factor, bias).astype(self.dtype)
        in_cpp = self.sums_in_cpp and x.dtype == jnp.float32 and x.size >= SMALLEST
        if in_cpp:
            kernels.check_onednn()
        normalised, mean, var = _normalise(self.epsilon, in_cpp, x, scale, bias)
        if not self.is_initializing():
            running_mean.value = self.momentum * running_mean.value + (1 - self.momentum) * mean
            running_var.value = self.momentum * running_var.value + (1 - self.momentum) * var
        return normalised.astype(self.dtype)


def _affine(x: Array, shift: Channels, factor: Channels, bias: Channels) -> Array:
    """Returns (x − shift) · factor + bias in float32 or wider."""
    return (x.astype(jnp.promote_types(x.dtype, jnp.float32)) - shift) * factor + bias


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _normalise(
    epsilon: float, in_cpp: bool, x: Array, scale: Channels, bias: Channels
) -> tuple[Array, Channels, Channels]:
    """Returns the normalised activations, and their mean and biased variance E[x²] − E[x]²."""
    return _normalise_fwd(epsilon, in_cpp, x, scale, bias)[0]


def _normalise_fwd(
    epsilon: float, in_cpp: bool, x: Array, scale: Channels, bias: Channels
) -> tuple[tuple[Array, Channels, Channels], tuple[Array, Channels, Channels, Channels]]:
    count, wide = x.size // x.shape[-1], x.astype(jnp.promote_types(x.dtype, jnp.float32))
    total, squares = _sums(in_cpp, wide, wide, jnp.zeros(x.shape[-1:], wide.dtype))
    mean = total / count
    var = jnp.maximum(0.0, squares / count - mean * mean)
    inverse = lax.rsqrt(var + epsilon)
    normalised = _affine(x, mean, scale * inverse, bias).astype(x.dtype)
    return (normalised, mean, var), (x, mean, inverse, scale)


def _normalise_bwd(
    epsilon: float,
    in_cpp: bool,
    saved: tuple[Array, Channels, Channels, Channels],
    cotangents: tuple[Array, Channels, Channels],
) -> tuple[Array, Channels, Channels]:
    del epsilon
    (x, mean, inverse, scale), (cotangent, mean_cotangent, var_cotangent) = saved, cotangents
    count, wide = x.size // x.shape[-1], cotangent.astype(mean.dtype)
    bias_gradient, products = _sums(in_cpp, wide, x.astype(mean.dtype), mean)
    scale_gradient = products * inverse
    factor = scale * inverse
    slope = (2 * var_cotangent - factor * scale_gradient * inverse) / count
    level = (mean_cotangent - factor * bias_gradient) / count
    gradient = wide * factor + _affine(x, mean, slope, level)
    return gradient.astype(x.dtype), scale_gradient, bias_gradient


_normalise.defvjp(_normalise_fwd, _normalise_bwd)


def _sums(in_cpp: bool, first: Array, second: Array, shift: Channels) -> tuple[Channels, Channels]:
    """Returns Σ first and Σ first · (second − shift), summed over all dimensions except the last."""
    if not in_cpp:
        rows = tuple(range(first.ndim - 1))
        return first.sum(rows), (first * (second - shift)).sum(rows)
    sums = jax.ShapeDtypeStruct(shift.shape, jnp.float32)
    call = jax.ffi.ffi_call(TARGET, (sums, sums), vmap_method="sequential")
    total, products = call(*(array.reshape(-1, array.shape[-1]) for array in (first, second)), shift)
    return total, products
