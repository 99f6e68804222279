"""The two-dimensional convolution of oneDNN, which PyTorch also uses on CPUs.

`kernels/convolution.cc` computes it. Layers and their parameters do not belong in this module.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxopt_bench import kernels
from jaxopt_bench.models import convolution
from jaxopt_bench.models.convolution import Images, Kernel, Outputs, Window, is_small, output_size, window_of

TARGET = "jaxopt_bench_convolve"
SMALLEST = 20e6
"""A convolution of one group with fewer operations is computed without oneDNN, because the call would cost more time
than oneDNN saves.

Measured for outputs and gradients in a compiled loop on two cores of an AMD EPYC: oneDNN takes 1.0 to 1.6 times as long
as `convolution` at 5 to 9 million operations, and 0.5 to 0.8 times at 38 to 300 million.
"""
_FORWARD, _INPUT_GRADIENT, _KERNEL_GRADIENT = range(3)


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

    oneDNN computes undilated convolutions of float32 NHWC images by HWIO kernels, and their gradients. It computes in
    float32 and ignores `precision`. `convolution.conv_general_dilated` computes all other convolutions, and those of
    one group with small images (`convolution.is_small`) or fewer than `SMALLEST` operations. The convolutions of oneDNN
    have no forward-mode derivative. Under `vmap`, the members are computed one after the other.

    With the same number of threads, the results of oneDNN have the same bits in a Python loop, `lax.scan` with any
    number of steps, `lax.map` and `vmap`.

    Raises:
      UserError: if the library of kernels is not built, cannot be loaded, or was built without oneDNN.
    """
    window = window_of(lhs, rhs, window_strides, padding, **others)
    if window is None or not _is_onednns(window, feature_group_count, lhs, rhs):
        others["feature_group_count"] = feature_group_count
        return convolution.conv_general_dilated(lhs, rhs, window_strides, padding, **others)
    kernels.check_onednn()
    return _convolve(window, feature_group_count, lhs, rhs)


def _is_onednns(window: Window, groups: int, images: Images, kernel: Kernel) -> bool:
    """Returns whether oneDNN computes the convolution."""
    if images.dtype != jnp.float32 or any(pad < 0 for side in window.pads for pad in side):
        return False
    if groups > 1:
        return True
    pixels = math.prod(output_size(window, images.shape[1:3], kernel.shape[:2]))
    return not is_small(window, images, kernel) and 2 * len(images) * pixels * kernel.size >= SMALLEST


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _convolve(window: Window, groups: int, images: Images, kernel: Kernel) -> Outputs:
    shape = (len(images), *output_size(window, images.shape[1:3], kernel.shape[:2]), kernel.shape[3])
    return _call(_FORWARD, window, groups, shape, images, kernel)


def _convolve_fwd(window: Window, groups: int, images: Images, kernel: Kernel) -> tuple[Outputs, tuple[Images, Kernel]]:
    return _convolve(window, groups, images, kernel), (images, kernel)


def _convolve_bwd(
    window: Window, groups: int, saved: tuple[Images, Kernel], cotangent: Outputs
) -> tuple[Images, Kernel]:
    images, kernel = saved
    return (
        _call(_INPUT_GRADIENT, window, groups, images.shape, kernel, cotangent),
        _call(_KERNEL_GRADIENT, window, groups, kernel.shape, images, cotangent),
    )


_convolve.defvjp(_convolve_fwd, _convolve_bwd)


def _call(which: int, window: Window, groups: int, shape: tuple[int, ...], *arguments: Array) -> Array:
    call = jax.ffi.ffi_call(TARGET, jax.ShapeDtypeStruct(shape, jnp.float32), vmap_method="sequential")
    return call(
        *arguments,
        of=np.int64(which),
        groups=np.int64(groups),
        strides=np.array(window.strides, np.int64),
        padding=np.ravel(np.array(window.pads, np.int64)),
    )
