"""A lower bound of the time of a training step on a chip: the time of its operations or of its bytes (the maximum)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from experiments.speed.inputs.workloads import Dtype
from experiments.speed.measure import flops
from experiments.speed.measure.flops import Product
from experiments.speed.measure.timing import Spread

PARAMETER_BYTES = 4  # always float32
NORMALISED = 8  # reads and writes of outputs by normalisation and activation: 3 forward, 5 backward
UPDATED = 5  # reads and writes of SGD with momentum: reads parameter, gradient, momentum; writes parameter, momentum


@dataclasses.dataclass(frozen=True)
class Chip:
    """The limits of a chip.

    Attributes:
      name: the name of the chip.
      flops: operations per second of matrix products; an addition counts as one.
      bandwidth: bytes per second to and from its memory.
      source: the source of both numbers.
    """

    name: str
    flops: float
    bandwidth: float
    source: str


CHIPS = (
    Chip("NVIDIA A100 SXM 40 GB", 312e12, 1.555e12, "NVIDIA's data sheet, bfloat16 without sparsity"),
    Chip("NVIDIA H100 SXM", 989e12, 3.35e12, "NVIDIA's data sheet, bfloat16 without sparsity"),
    Chip("NVIDIA H200 SXM", 989e12, 4.8e12, "NVIDIA's data sheet, bfloat16 without sparsity"),
)


def least_seconds(products: Sequence[Product], parameters: int, number_bytes: int, chip: Chip) -> float:
    """Returns a lower bound of the time of a training step of a network, according to a model.

    Each product is computed in the forward pass, for the gradient of its kernel and, except the first product, for the
    gradient of its images. Each computation reads its operands from memory once and writes its result. The outputs of
    all products except the last are normalised and activated, after a read for their statistics. Sums of shortcuts,
    augmentation and metrics are not counted.

    Args:
      products: the products of the forward pass on a batch; see `flops.products`.
      parameters: the number of parameters of the network.
      number_bytes: the bytes of an activation.
      chip: the chip.
    """
    seconds = UPDATED * PARAMETER_BYTES * parameters / chip.bandwidth
    for index, product in enumerate(products):
        images, kernel, outputs = (number_bytes * n for n in (product.images, product.kernel, product.outputs))
        gradient = PARAMETER_BYTES * product.kernel
        moved = [images + kernel + outputs, images + outputs + gradient]
        if index > 0:
            moved.append(outputs + kernel + images)
        seconds += sum(max(product.operations / chip.flops, each / chip.bandwidth) for each in moved)
        if index < len(products) - 1:
            seconds += NORMALISED * outputs / chip.bandwidth
    return seconds


def this_chip(dtype: Dtype) -> Chip:
    """Returns the measured limits of this machine: the rate of a large product, and of an addition to a large array."""
    rate = flops.matmul_rate(dtype).median
    return Chip(jax.local_devices()[0].device_kind, rate, _bandwidth().median, "measured")


def _bandwidth(numbers: int = 1 << 26) -> Spread:
    """Returns the bytes per second that an addition to a large array reads and writes."""
    add = jax.jit(lambda array: array + 1)
    array = jnp.zeros(numbers, jnp.float32)
    return flops.measured_rate(lambda: add(array), 2 * array.nbytes)
