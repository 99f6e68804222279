"""How many operations a step must make, and how fast the chip multiplies matrices: what speed is a share of."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from experiments.speed.inputs.workloads import Dtype
from experiments.speed.measure.timing import Spread


@dataclasses.dataclass(frozen=True)
class Product:
    """A convolution or a matrix product.

    Attributes:
      operations: that it makes, an addition counting as one.
      images: how many numbers what flows through the network has, before it.
      kernel: how many its kernel has.
      outputs: how many it makes.
    """

    operations: int
    images: int
    kernel: int
    outputs: int


def training_flops(forward: Any) -> int:
    """Returns the operations of one training step's convolutions and matrix products, an addition counting as one.

    The backward pass makes two products for each of the forward pass, but for the first, whose images need no
    gradient. All else (normalisation, pooling, the update) is left out, as it is by custom.

    Args:
      forward: the jaxpr of the forward pass on one batch, of plain layers.
    """
    made = products(forward)
    return 3 * sum(product.operations for product in made) - made[0].operations


def products(forward: Any) -> list[Product]:
    """Returns the convolutions and matrix products of a forward pass, in order; see `training_flops`."""
    return list(_products(forward.jaxpr))


def matmul_rate(dtype: Dtype, size: int, repeats: int = 10) -> Spread:
    """Returns the measured operations per second of a large matrix product on random numbers."""
    one, other = (jax.random.normal(jax.random.key(i), (size, size), dtype) for i in range(2))
    product = jax.jit(jnp.matmul)
    for _ in range(3):
        product(one, other).block_until_ready()
    rates = []
    for _ in range(repeats):
        began = time.perf_counter()
        product(one, other).block_until_ready()
        rates.append(2 * size**3 / (time.perf_counter() - began))
    return Spread.of(rates)


def _products(jaxpr: Any) -> Iterator[Product]:
    """Yields every product, those of inner functions too, in order."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            sizes = (math.prod(variable.aval.shape) for variable in (*equation.invars, *equation.outvars))
            yield Product(_operations(equation), *sizes)
        for inner in jax.tree.leaves(equation.params, is_leaf=_is_jaxpr):
            if _is_jaxpr(inner):
                yield from _products(getattr(inner, "jaxpr", inner))


def _operations(equation: Any) -> int:
    left, right = (variable.aval.shape for variable in equation.invars)
    outputs = math.prod(equation.outvars[0].aval.shape)
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return 2 * outputs * math.prod(left[axis] for axis in contracted)
    features = right[equation.params["dimension_numbers"].rhs_spec[0]]
    return 2 * outputs * math.prod(right) // features


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")
