"""How long a training step takes at least on a chip: what its operations take or its bytes, whichever is more."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from experiments.speed.inputs.workloads import Dtype
from experiments.speed.measure import flops
from experiments.speed.measure.flops import Product
from experiments.speed.measure.timing import Spread

PARAMETER_BYTES = 4  # float32, whatever the network computes in
NORMALISED = 8  # times that outputs are read or written by normalisation and activation: forward 3, backward 5
UPDATED = 5  # times that parameters are, by SGD with momentum: read with gradient and momentum, written with momentum


@dataclasses.dataclass(frozen=True)
class Chip:
    """What a chip can do at most.

    Attributes:
      name: of the chip.
      flops: operations a second of matrix products, an addition counting as one.
      bandwidth: bytes a second to and from its memory.
      source: of both.
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
    """Returns the time below which no training step of a network can be, as far as the model goes.

    Each product is made forward, for its kernel's gradient and, but for the first, for its images' gradient; each reads
    its operands from memory once and writes its result. Outputs of all but the last are normalised and activated, which
    reads them for their statistics before it can begin. Sums of shortcuts, augmentation and metrics are left out.

    Args:
      products: of the forward pass on a batch; see `flops.products`.
      parameters: how many the network has.
      number_bytes: of a number that flows through the network.
      chip: what it runs on.
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
    """Returns what is measured here: the rate of a large product, and of adding to a large array."""
    rate = flops.matmul_rate(dtype).median
    return Chip(jax.local_devices()[0].device_kind, rate, _bandwidth().median, "measured")


def _bandwidth(numbers: int = 1 << 26) -> Spread:
    """Returns the bytes per second that adding to a large array reads and writes."""
    add = jax.jit(lambda array: array + 1)
    array = jnp.zeros(numbers, jnp.float32)
    return flops.measured_rate(lambda: add(array), 2 * array.nbytes)
