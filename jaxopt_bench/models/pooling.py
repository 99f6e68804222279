"""Max-pooling as the maximum of shifted slices, whose gradient is a sum of slices.

The default's gradient selects and scatters: slow on CPU, and in no fixed order on GPU. Other layers have no place here.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Images = Float[Array, "batch height width channels"]
Pooled = Float[Array, "batch smaller_height smaller_width channels"]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def max_pool(images: Images, window: int, stride: int) -> Pooled:
    """Returns the maximum of each square window; windows that would reach over the edge are left out.

    A NaN in a window makes its maximum NaN. The gradient goes to the first of equal maxima, row by row, as that of
    `flax.linen.max_pool` does. There is no forward-mode derivative.

    Args:
      images: NHWC.
      window: side of the windows, in pixels.
      stride: step between windows along both sides.
    """
    return functools.reduce(jnp.maximum, _slices(images, window, stride))


def _max_pool_fwd(images: Images, window: int, stride: int) -> tuple[Pooled, tuple[Images, Pooled]]:
    pooled = max_pool(images, window, stride)
    return pooled, (images, pooled)


def _max_pool_bwd(window: int, stride: int, saved: tuple[Images, Pooled], cotangent: Pooled) -> tuple[Images]:
    images, pooled = saved
    zero, total, free = jnp.zeros((), images.dtype), jnp.zeros_like(images), jnp.ones(pooled.shape, bool)
    for (row, column), candidate in zip(_places(window), _slices(images, window, stride), strict=True):
        first = free & (candidate == pooled)
        free = free & ~first
        edges = [
            (start, size - start - (out - 1) * stride - 1, stride - 1)
            for start, size, out in zip((row, column), images.shape[1:3], pooled.shape[1:3], strict=True)
        ]
        total = total + lax.pad(jnp.where(first, cotangent, zero), zero, [(0, 0, 0), *edges, (0, 0, 0)])
    return (total,)


max_pool.defvjp(_max_pool_fwd, _max_pool_bwd)


def _places(window: int) -> list[tuple[int, int]]:
    return [(row, column) for row in range(window) for column in range(window)]


def _slices(images: Images, window: int, stride: int) -> list[Pooled]:
    """Returns, for each place in a window, the pixel that each window has there."""
    rows, columns = ((size - window) // stride * stride + 1 for size in images.shape[1:3])
    return [images[:, i : i + rows : stride, j : j + columns : stride] for i, j in _places(window)]
