"""A two-dimensional convolution that is fast on CPUs: matrix products, and XLA's own kernel if it is fast.

XLA's CPU backend has a fast kernel for some convolutions and a naive one for others: for most gradients inside a
compiled loop, and for kernels larger than the image. The naive kernel reaches 5 to 7 GFLOP/s and the product of patches
96 to 126, on 2 cores of an Intel Xeon with AVX-512. This module writes each convolution and its gradients in a form for
which XLA uses the fast kernel, or as a product with a matrix of patches, or, for small images, with a matrix of
weights. Layers and their parameters do not belong in this module.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

Images = Float[Array, "batch height width channels"]
Outputs = Float[Array, "batch out_height out_width features"]
Kernel = Float[Array, "kernel_height kernel_width channels features"]
Pads = tuple[tuple[int, int], tuple[int, int]]

NHWC = ("NHWC", "HWIO", "NHWC")
CHUNK_BYTES = 6 * 2**20
"""Memory of the patches that are made at a time, so that they stay in the CPU cache until they are read."""
MOST_GROUPS = 8
"""Up to this number, groups are convolved one by one. XLA computes convolutions with more groups (depthwise)."""


class Window(NamedTuple):
    """The static arguments of a convolution: strides, padding and precision."""

    strides: tuple[int, int]
    pads: Pads
    precision: lax.PrecisionLike = None


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    *,
    feature_group_count: int = 1,
    **others: Any,
) -> Array:
    """Computes the same function as `jax.lax.conv_general_dilated`, for the argument of `nn.Conv` with that name.

    Undilated convolutions of NHWC images by HWIO kernels use the fast implementation. JAX computes all others. Except
    for small images (`is_small`), the fast implementation has its own gradient and no forward-mode derivative
    (`jax.jvp`, `jax.hessian`). Products accumulate in float32 or wider.

    A Python loop, `lax.scan` with any number of steps and `lax.map` give the same bits; `vmap` rounds differently.
    Under `vmap` over kernels, the convolution becomes a batched matrix product.
    """
    window = window_of(lhs, rhs, window_strides, padding, **others)
    if window is None or feature_group_count > MOST_GROUPS:
        others["feature_group_count"] = feature_group_count
        return lax.conv_general_dilated(lhs, rhs, window_strides, padding, **others)
    convolve = functools.partial(_by_weights if is_small(window, lhs, rhs) else _convolve, window)
    if feature_group_count == 1:
        return convolve(lhs, rhs)
    groups = zip(*(jnp.split(a, feature_group_count, -1) for a in (lhs, rhs)), strict=True)
    return jnp.concatenate([convolve(*group) for group in groups], -1)


def is_small(window: Window, images: Images, kernel: Kernel) -> bool:
    """Returns whether the images are so small that the convolution is computed as a product with a matrix of weights.

    The matrix has a weight for each pair of a pixel and an output; the weight is zero where the kernel does not reach
    the pixel. Images are small if they have at most as many pixels as the kernel, so that the product needs at most as
    many operations as the convolution, and if the matrix has at most twice as many weights as the kernel.

    Measured for outputs and gradients on two cores of an Intel Xeon (model 207), kernels of 3×3 and images of 2×2
    pixels: 128 images with 384 channels and 256 features take 5.6 ms, and 29 ms with oneDNN's convolution; with 512 and
    512, 24 and 93 ms. 4 images with 384 and 256 take 2.2 ms, and 2.3 ms with oneDNN's.
    """
    pixels, extent = math.prod(images.shape[1:3]), math.prod(kernel.shape[:2])
    outputs = math.prod(output_size(window, images.shape[1:3], kernel.shape[:2]))
    return pixels <= extent and pixels * outputs <= 2 * extent


def over_length(convolve: Callable[..., Array]) -> Callable[..., Array]:
    """Returns a convolution of sequences, [batch, length, channels], computed as a convolution of one-row images.

    Args:
      convolve: a convolution of images, such as `conv_general_dilated`.

    Returns:
      A function for the argument `conv_general_dilated` of `nn.Conv`.
    """

    def convolve_sequences(
        lhs: Array,
        rhs: Array,
        window_strides: Sequence[int],
        padding: Sequence[tuple[int, int]],
        *,
        lhs_dilation: Sequence[int],
        rhs_dilation: Sequence[int],
        dimension_numbers: Any,
        **others: Any,
    ) -> Float[Array, "batch out_length features"]:
        del dimension_numbers  # those of Flax, [batch, length, channels]
        images = convolve(
            lhs[:, None],
            rhs[None],
            (1, *window_strides),
            ((0, 0), *padding),
            lhs_dilation=(1, *lhs_dilation),
            rhs_dilation=(1, *rhs_dilation),
            dimension_numbers=NHWC,
            **others,
        )
        return images[:, 0]

    return convolve_sequences


def window_of(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    *,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    batch_group_count: int = 1,
    precision: lax.PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> Window | None:
    """Returns the window, or None if this is not an undilated convolution of NHWC images by HWIO kernels.

    It also returns None if the kernel has no valid position, so that the output is empty. The arguments are those of
    `jax.lax.conv_general_dilated`, except the number of feature groups.
    """
    plain = (
        lhs.ndim == 4
        and _is_nhwc(lhs.shape, rhs.shape, dimension_numbers)
        and all(d == 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
        and batch_group_count == 1
        and lhs.dtype == rhs.dtype
        and jnp.issubdtype(lhs.dtype, jnp.floating)
        and preferred_element_type in (None, lhs.dtype)
        and lhs.size > 0
        and rhs.size > 0
    )
    if not plain:
        return None
    strides = tuple(window_strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], strides, padding)
    (top, bottom), (left, right) = padding
    window = Window(strides, ((top, bottom), (left, right)), precision)  # type: ignore[arg-type]
    return window if min(output_size(window, lhs.shape[1:3], rhs.shape[:2])) > 0 else None


def output_size(window: Window, size: tuple[int, ...], extent: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the height and width of the outputs.

    Args:
      window: the strides and the padding.
      size: height and width of the images.
      extent: height and width of the kernel.
    """
    sides = zip(size, window.pads, extent, window.strides, strict=True)
    return tuple((pixels + sum(pads) - length) // stride + 1 for pixels, pads, length, stride in sides)


def _is_nhwc(lhs_shape: tuple[int, ...], rhs_shape: tuple[int, ...], dimension_numbers: Any) -> bool:
    given = lax.conv_dimension_numbers(lhs_shape, rhs_shape, dimension_numbers)
    return given == lax.conv_dimension_numbers(lhs_shape, rhs_shape, NHWC)


def _by_weights(window: Window, images: Images, kernel: Kernel) -> Outputs:
    """Returns the product of each image, as one row, and a matrix with a column for each output value."""
    wide = kernel.astype(_accumulator(kernel))  # sums over outputs, in the kernel's gradient, are rounded once
    (height, width), (rows, columns) = images.shape[1:3], output_size(window, images.shape[1:3], kernel.shape[:2])
    (top, _), (left, _) = window.pads
    down, across = window.strides
    for_rows = [_shift(wide, 0, top - row * down, height) for row in range(rows)]  # a weight for each row of pixels
    weights = [_shift(for_row, 1, left - column * across, width) for for_row in for_rows for column in range(columns)]
    matrix = jnp.concatenate([array.reshape(-1, array.shape[-1]) for array in weights], -1)
    outputs = _product(images.reshape(len(images), -1).astype(wide.dtype), matrix, window)
    return outputs.reshape(len(images), rows, columns, -1).astype(images.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _convolve(window: Window, images: Images, kernel: Kernel) -> Outputs:
    return _forward(window, images, kernel)


def _convolve_fwd(window: Window, images: Images, kernel: Kernel) -> tuple[Outputs, tuple[Images, Kernel]]:
    return _forward(window, images, kernel), (images, kernel)


def _convolve_bwd(window: Window, saved: tuple[Images, Kernel], cotangent: Outputs) -> tuple[Images, Kernel]:
    images, kernel = saved
    return _input_gradient(window, images, kernel, cotangent), _kernel_gradient(window, images, kernel, cotangent)


_convolve.defvjp(_convolve_fwd, _convolve_bwd)


def _forward(window: Window, images: Images, kernel: Kernel) -> Outputs:
    height, width = kernel.shape[:2]
    if (height, width) == (1, 1) and window.pads == ((0, 0), (0, 0)):
        seen = images[:, :: window.strides[0], :: window.strides[1]]
        return _product(seen, kernel[0, 0], window).astype(images.dtype)
    if height > images.shape[1] or width > images.shape[2]:  # XLA would use its naive kernel
        return _by_patches(window, images, kernel)
    return _native(window, images, kernel)


def _input_gradient(window: Window, images: Images, kernel: Kernel, cotangent: Outputs) -> Images:
    """Returns the gradient with respect to the images."""
    if window.strides != (1, 1):
        return _col2im(window, images, kernel, cotangent)
    height, width = kernel.shape[:2]
    (top, bottom), (left, right) = window.pads
    pads = ((height - 1 - top, height - 1 - bottom), (width - 1 - left, width - 1 - right))
    return _forward(window._replace(pads=pads), cotangent, lax.rev(kernel, (0, 1)).transpose(0, 1, 3, 2))


def _col2im(window: Window, images: Images, kernel: Kernel, cotangent: Outputs) -> Images:
    """Returns the gradient with respect to the images: the sum of the contributions of all kernel positions.

    The contribution of each kernel position is added at the pixels that it multiplied.
    """
    (height, width, channels, features), strides = kernel.shape, window.strides
    columns = _product(cotangent, kernel.reshape(-1, features).T, window)
    columns = columns.reshape(*cotangent.shape[:3], height, width, channels)
    zero, total = jnp.zeros((), columns.dtype), jnp.zeros(images.shape, columns.dtype)
    for row in range(height):
        for column in range(width):
            part = columns[:, :, :, row, column]
            edges = [
                (start - pad[0], size - (start - pad[0]) - (out - 1) * stride - 1, stride - 1)
                for start, pad, size, out, stride in zip(
                    (row, column), window.pads, images.shape[1:3], cotangent.shape[1:3], strides, strict=True
                )
            ]
            total = total + lax.pad(part, zero, [(0, 0, 0), *edges, (0, 0, 0)])
    return total.astype(images.dtype)


def _kernel_gradient(window: Window, images: Images, kernel: Kernel, cotangent: Outputs) -> Kernel:
    """Returns the gradient with respect to the kernel: the sum over all positions of pixels times cotangents.

    The matrices of the product are made for a few images at a time.
    """
    height, width, channels, features = kernel.shape
    patch, shifted = height * width * channels, width * channels + height * features
    apart = window.strides == (1, 1) and shifted < patch + features
    product = functools.partial(_shifted_product if apart else _patch_product, window, kernel)
    values = math.prod(cotangent.shape[1:3]) * (shifted if apart else patch)
    count = -(-len(images) // max(1, CHUNK_BYTES // (values * images.dtype.itemsize)))
    if count == 1 or (height, width) == (1, 1):
        return product(images, cotangent).astype(kernel.dtype)
    chunks = tuple(_chunks(array, -(-len(images) // count)) for array in (images, cotangent))
    zero = jnp.zeros(kernel.shape, _accumulator(images))
    return lax.scan(lambda total, chunk: (total + product(*chunk), None), zero, chunks)[0].astype(kernel.dtype)


def _patch_product(window: Window, kernel: Kernel, images: Images, cotangent: Outputs) -> Kernel:
    patches = _patches(window, images, kernel.shape[:2])
    return _transposed_product(patches, cotangent, window).reshape(kernel.shape)


def _shifted_product(window: Window, kernel: Kernel, images: Images, cotangent: Outputs) -> Kernel:
    """Returns the same as `_patch_product`, for stride 1.

    The images are shifted for each column of the kernel, and the cotangent for each row. This writes less memory than
    all shifts of the images, and the sides of the product are more nearly equal.
    """
    (height, width, channels, features), columns = kernel.shape, cotangent.shape[2]
    (top, _), (left, _) = window.pads
    beside = [_shift(images, 2, column - left, columns) for column in range(width)]
    above = [_shift(cotangent, 1, top - row, images.shape[1]) for row in range(height)]
    product = _transposed_product(jnp.concatenate(beside, -1), jnp.concatenate(above, -1), window)
    return product.reshape(width, channels, height, features).transpose(2, 0, 1, 3)


def _shift(array: Array, axis: int, start: int, size: int) -> Array:
    """Returns `array[start : start + size]` along one axis, with zeros outside the array."""
    edges = [(0, 0, 0)] * array.ndim
    edges[axis] = (-start, start + size - array.shape[axis], 0)
    return lax.pad(array, jnp.zeros((), array.dtype), edges)


def _transposed_product(left: Array, right: Array, window: Window) -> Array:
    """Returns leftᵀ · right, summed over all dimensions except the last of each, in float32 or wider."""
    left, right = (a.reshape(-1, a.shape[-1]) for a in (left, right))
    contract = (((0,), (0,)), ((), ()))
    return lax.dot_general(right, left, contract, window.precision, _accumulator(left)).T


def _by_patches(window: Window, images: Images, kernel: Kernel) -> Outputs:
    patches = _patches(window, images, kernel.shape[:2])
    return _product(patches, kernel.reshape(-1, kernel.shape[-1]), window).astype(images.dtype)


def _patches(window: Window, images: Images, size: tuple[int, ...]) -> Float[Array, "batch out_height out_width patch"]:
    """Returns the pixels under the kernel at each output position, in the order of the kernel."""
    zero = jnp.zeros((), images.dtype)
    padded = lax.pad(images, zero, [(0, 0, 0), *((*pad, 0) for pad in window.pads), (0, 0, 0)])
    (height, width), (down, across) = size, window.strides
    rows = (padded.shape[1] - height) // down * down + 1
    columns = (padded.shape[2] - width) // across * across + 1
    return jnp.concatenate(
        [padded[:, i : i + rows : down, j : j + columns : across] for i in range(height) for j in range(width)], -1
    )


def _product(rows: Array, matrix: Array, window: Window) -> Array:
    """Returns the product over the last dimension of `rows`, in float32 or wider."""
    flat = rows.reshape(-1, rows.shape[-1])
    product = lax.dot(flat, matrix, precision=window.precision, preferred_element_type=_accumulator(rows))
    return product.reshape(*rows.shape[:-1], matrix.shape[-1])


def _native(window: Window, images: Images, kernel: Kernel) -> Outputs:
    """Returns XLA's convolution, or the batched product of patches if `vmap` gives each member its own kernel."""

    @jax.custom_batching.custom_vmap
    def convolve(images: Images, kernel: Kernel) -> Outputs:
        result = lax.conv_general_dilated(
            images,
            kernel,
            window.strides,
            window.pads,
            dimension_numbers=NHWC,
            precision=window.precision,
            preferred_element_type=_accumulator(images),
        )
        return result.astype(images.dtype)

    @convolve.def_vmap
    def _batched(size: int, batched: list[bool], images: Array, kernel: Array) -> tuple[Outputs, bool]:
        del size
        if batched[1]:
            axes = tuple(0 if one else None for one in batched)
            return jax.vmap(functools.partial(_by_patches, window), axes)(images, kernel), True
        flat = convolve(images.reshape(-1, *images.shape[2:]), kernel)
        return flat.reshape(*images.shape[:2], *flat.shape[1:]), True

    return convolve(images, kernel)


def _accumulator(array: Array) -> Any:
    return jnp.promote_types(array.dtype, jnp.float32)


def _chunks(array: Array, size: int) -> Array:
    """Returns the array divided into chunks along its first dimension. The last chunk is padded with zeros."""
    padded = jnp.pad(array, [(0, -len(array) % size)] + [(0, 0)] * (array.ndim - 1))
    return padded.reshape(-1, size, *array.shape[1:])
