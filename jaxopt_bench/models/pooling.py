"""Max-pooling as the maximum of shifted slices, whose gradient is a sum of slices.

The gradient of XLA's own max-pooling uses select-and-scatter, which is slow on CPUs and has no fixed order on GPUs.
Other layers do not belong in this module.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int16

Images = Float[Array, "batch height width channels"]
Pooled = Float[Array, "batch smaller_height smaller_width channels"]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def max_pool(images: Images, window: int, stride: int) -> Pooled:
    """Returns the maximum of each square window. Windows that would cross the edge are omitted.

    If a window contains NaN, its maximum is NaN. If several maxima are equal, the first one, row by row, gets the
    gradient. The gradient is the same as that of `flax.linen.max_pool`, also with NaNs. There is no forward-mode
    derivative.

    Args:
      images: NHWC.
      window: side of the windows, in pixels.
      stride: step between windows along both sides.
    """
    return functools.reduce(jnp.maximum, _slices(images, window, stride))


def _max_pool_fwd(images: Images, window: int, stride: int) -> tuple[Pooled, Images]:
    return max_pool(images, window, stride), images


def _max_pool_bwd(window: int, stride: int, images: Images, cotangent: Pooled) -> tuple[Images]:
    chosen, zero = _choice(_slices(images, window, stride)), jnp.zeros((), images.dtype)
    total = jnp.zeros_like(images)
    for number, offset in enumerate(_offsets(window)):
        edges = [
            (start, size - start - (out - 1) * stride - 1, stride - 1)
            for start, size, out in zip(offset, images.shape[1:3], cotangent.shape[1:3], strict=True)
        ]
        part = jnp.where(chosen == number, cotangent, zero)
        total = total + lax.pad(part, zero, [(0, 0, 0), *edges, (0, 0, 0)])
    return (total,)


max_pool.defvjp(_max_pool_fwd, _max_pool_bwd)


def _choice(candidates: list[Pooled]) -> Int16[Array, "batch smaller_height smaller_width channels"]:
    """Returns the candidate that XLA's select-and-scatter selects: the first greatest one, but none before a NaN."""
    best, chosen = candidates[0], jnp.zeros(candidates[0].shape, jnp.int16)
    for number, candidate in enumerate(candidates[1:], start=1):
        keep = best >= candidate
        best, chosen = jnp.where(keep, best, candidate), jnp.where(keep, chosen, jnp.int16(number))
    return chosen


def _offsets(window: int) -> list[tuple[int, int]]:
    return [(row, column) for row in range(window) for column in range(window)]


def _slices(images: Images, window: int, stride: int) -> list[Pooled]:
    """Returns, for each position in a window, the pixels at this position in all windows."""
    rows, columns = ((size - window) // stride * stride + 1 for size in images.shape[1:3])
    return [images[:, i : i + rows : stride, j : j + columns : stride] for i, j in _offsets(window)]
