"""The operations of a step, and the matrix product rate of the chip, to which the speed of a step is compared."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from experiments.speed.inputs.workloads import Dtype
from experiments.speed.measure.timing import Spread


@dataclasses.dataclass(frozen=True)
class Product:
    """A convolution or a matrix product.

    Attributes:
      operations: the number of its operations; an addition counts as one.
      images: the number of elements of its input.
      kernel: the number of elements of its kernel.
      outputs: the number of elements of its output.
    """

    operations: int
    images: int
    kernel: int
    outputs: int


def training_flops(forward: ClosedJaxpr) -> int:
    """Returns the operations of the convolutions and matrix products of a training step; an addition counts as one.

    The backward pass has two products for each product of the forward pass. The first product has only one, because the
    images need no gradient. By convention, other operations (normalisation, pooling, the update) are not counted.

    Args:
      forward: the jaxpr of the forward pass on one batch, with plain layers.
    """
    made = products(forward)
    return 3 * sum(product.operations for product in made) - made[0].operations


def products(forward: ClosedJaxpr) -> list[Product]:
    """Returns the convolutions and matrix products of a forward pass, in order; see `training_flops`."""
    return list(_products(forward.jaxpr))


def matmul_rate(dtype: Dtype, size: int | None = None) -> Spread:
    """Returns the measured operations per second of a large matrix product on random numbers.

    Args:
      dtype: the type of the numbers.
      size: rows and columns of the matrices; None chooses a size for the backend.
    """
    size = size or (2048 if jax.default_backend() == "cpu" else 8192)
    one, other = (jax.random.normal(jax.random.key(i), (size, size), dtype) for i in range(2))
    product = jax.jit(jnp.matmul)
    return measured_rate(lambda: product(one, other), 2 * size**3)


def measured_rate(call: Callable[[], jax.Array], amount: float, repeats: int = 10) -> Spread:
    """Returns the measured rate of a call per second. The first calls, one of which compiles, are not timed.

    Args:
      call: the function to measure. It computes on the device.
      amount: the number of operations, or bytes, of a call.
      repeats: the number of measurements.
    """
    for _ in range(3):
        call().block_until_ready()
    rates = []
    for _ in range(repeats):
        began = time.perf_counter()
        call().block_until_ready()
        rates.append(amount / (time.perf_counter() - began))
    return Spread.of(rates)


def _products(jaxpr: Jaxpr) -> Iterator[Product]:
    """Yields all products in order, including those of inner functions."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            sizes = (math.prod(_shape(variable)) for variable in (*equation.invars, *equation.outvars))
            yield Product(_operations(equation), *sizes)
        for inner in jax.tree.leaves(equation.params, is_leaf=_is_jaxpr):
            if _is_jaxpr(inner):
                yield from _products(inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner)


def _operations(equation: JaxprEqn) -> int:
    left, right = map(_shape, equation.invars)
    outputs = math.prod(_shape(equation.outvars[0]))
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return 2 * outputs * math.prod(left[axis] for axis in contracted)
    features = right[equation.params["dimension_numbers"].rhs_spec[0]]
    return 2 * outputs * math.prod(right) // features


def _shape(variable: Var | Literal) -> tuple[int, ...]:
    assert isinstance(variable.aval, ShapedArray), "products are of arrays"
    return variable.aval.shape


def _is_jaxpr(value: object) -> bool:
    return isinstance(value, Jaxpr | ClosedJaxpr)
