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

Channels = Float[Array, " channels"]


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
    """

    use_running_average: bool
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: DTypeLike = jnp.float32
    scale_init: Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: Float[Array, "*batch channels"]) -> Float[Array, "*batch channels"]:
        """Returns the normalised activations. In training, it also updates the running statistics."""
        channels = x.shape[-1:]
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)
        scale = self.param("scale", self.scale_init, channels, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, channels, jnp.float32)
        if self.use_running_average:
            factor = scale * lax.rsqrt(running_var.value + self.epsilon)
            return _affine(x, running_mean.value, factor, bias).astype(self.dtype)
        normalised, mean, var = _normalise(self.epsilon, x, scale, bias)
        if not self.is_initializing():
            running_mean.value = self.momentum * running_mean.value + (1 - self.momentum) * mean
            running_var.value = self.momentum * running_var.value + (1 - self.momentum) * var
        return normalised.astype(self.dtype)


def _affine(x: Array, shift: Channels, factor: Channels, bias: Channels) -> Array:
    """Returns (x − shift) · factor + bias in float32 or wider."""
    return (x.astype(jnp.promote_types(x.dtype, jnp.float32)) - shift) * factor + bias


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _normalise(epsilon: float, x: Array, scale: Channels, bias: Channels) -> tuple[Array, Channels, Channels]:
    """Returns the normalised activations, and their mean and biased variance E[x²] − E[x]²."""
    return _normalise_fwd(epsilon, x, scale, bias)[0]


def _normalise_fwd(
    epsilon: float, x: Array, scale: Channels, bias: Channels
) -> tuple[tuple[Array, Channels, Channels], tuple[Array, Channels, Channels, Channels]]:
    count, wide = x.size // x.shape[-1], x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = _sum(wide) / count
    var = jnp.maximum(0.0, _sum(wide * wide) / count - mean * mean)
    inverse = lax.rsqrt(var + epsilon)
    normalised = _affine(x, mean, scale * inverse, bias).astype(x.dtype)
    return (normalised, mean, var), (x, mean, inverse, scale)


def _normalise_bwd(
    epsilon: float, saved: tuple[Array, Channels, Channels, Channels], cotangents: tuple[Array, Channels, Channels]
) -> tuple[Array, Channels, Channels]:
    del epsilon
    (x, mean, inverse, scale), (cotangent, mean_cotangent, var_cotangent) = saved, cotangents
    count, wide = x.size // x.shape[-1], cotangent.astype(mean.dtype)
    bias_gradient = _sum(wide)
    scale_gradient = _sum(wide * (x.astype(mean.dtype) - mean)) * inverse
    factor = scale * inverse
    slope = (2 * var_cotangent - factor * scale_gradient * inverse) / count
    level = (mean_cotangent - factor * bias_gradient) / count
    gradient = wide * factor + _affine(x, mean, slope, level)
    return gradient.astype(x.dtype), scale_gradient, bias_gradient


_normalise.defvjp(_normalise_fwd, _normalise_bwd)


def _sum(x: Array) -> Channels:
    return x.sum(tuple(range(x.ndim - 1)))
