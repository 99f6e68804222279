"""Runs an item in the same way as training, and compares its results with the stored ones."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jaxopt_bench.doctor.expected import Expected
from jaxopt_bench.doctor.items import Item
from jaxopt_bench.training import CodePath, make_loop

TF32 = 1e-3  # rounding to TF32 causes errors of 3e-4
BFLOAT16 = 1e-2  # rounding to bfloat16 causes errors of 2e-3 to 4e-3
DEFAULT_PRODUCTS = {"gpu": TF32, "tpu": BFLOAT16}
"""The accepted error of float32 products if JAX's default precision has fewer digits: TF32 on GPUs that support it,
bfloat16 on TPUs (`jax.lax.Precision`)."""


class Error(NamedTuple):
    """The largest error of an item.

    Attributes:
      size: relative to the largest value of that result; infinite if the computed value is NaN.
      where: the name of the result, and the index in it.
      got: the computed value.
      expected: the stored value.
    """

    size: float
    where: str
    got: float
    expected: float


class Result(NamedTuple):
    """The result of the check of an item.

    Attributes:
      item: the item.
      seconds: the time that it took, compilation included.
      tolerance: the error that was accepted.
      error: the largest error; None if an exception was raised.
      raised: that exception.
    """

    item: Item
    seconds: float
    tolerance: float
    error: Error | None
    raised: Exception | None = None

    @property
    def passed(self) -> bool:
        """Whether the item ran and its error is within the tolerance."""
        return self.error is not None and self.error.size <= self.tolerance


def check(item: Item, expected: Expected, path: CodePath) -> Result:
    """Runs an item and returns the result of the check.

    The item runs alone. If population members are computed together, it also runs as two members. If it raises an
    exception, the exception is part of the result.

    Args:
      item: the item to check.
      expected: its inputs and results.
      path: the code path of training.
    """
    start, error, raised = time.perf_counter(), None, None
    try:
        sizes = (1, 2) if path.members == "vmap" else (1,)
        found = [e for members in sizes for e in _errors(_run(item, expected, path, members), expected.results)]
        error = max(found, key=lambda e: e.size)
    except Exception as exception:  # a backend may raise any exception for an operation that it lacks or cannot compile
        raised = exception
    return Result(item, time.perf_counter() - start, accepted_error(item), error, raised)


def accepted_error(item: Item) -> float:
    """Returns the largest error with which an item passes here. It is larger for products in low precision."""
    if not item.products or precision() in ("highest", "float32", "F32_F32_F32"):
        return item.tolerance
    fewer_digits = DEFAULT_PRODUCTS.get(jax.default_backend())
    return item.tolerance if fewer_digits is None else item.slack * fewer_digits


def precision() -> str | None:
    """Returns the precision of float32 products that the user asks for ($JAX_DEFAULT_MATMUL_PRECISION)."""
    return jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]


def _run(item: Item, expected: Expected, path: CodePath, members: int) -> Mapping[str, Array]:
    """Returns the carry after the last step, stacked over members that all compute the same."""

    def step(made: PyTree[Array], data: None, inputs: PyTree[Array]) -> PyTree[Array]:
        del data
        (number, carry), metrics = made
        # indexed by the step's number, as batches are, so that the compiler cannot see that all steps are equal
        now = jax.tree.map(lambda array: jax.lax.dynamic_index_in_dim(array, number, keepdims=False), inputs)
        return (number + 1, item.step(carry, now)), metrics

    inputs = {name: np.stack([np.stack([array] * item.steps)] * members) for name, array in expected.inputs.items()}
    start = np.int32(0), item.start({name: jnp.asarray(array) for name, array in expected.inputs.items()})
    starts = jax.tree.map(lambda leaf: np.stack([np.asarray(leaf)] * members), start)
    (_, carry), _ = make_loop(step, path, members)(starts, (), None, inputs, np.full(members, item.steps, np.int32))
    return carry


def _errors(carry: Mapping[str, Any], results: Mapping[str, np.ndarray]) -> list[Error]:
    """Returns the largest error of each result of each member."""
    errors = []
    for name, expected in results.items():
        for got in np.asarray(carry[name], np.float64):
            if got.shape != expected.shape:
                raise ValueError(f"{name} has the shape {got.shape} in place of {expected.shape}")
            sizes = np.abs(got - expected) / np.abs(expected).max()
            sizes = np.where(np.isnan(sizes), math.inf, sizes)
            index = tuple(int(i) for i in np.unravel_index(sizes.argmax(), sizes.shape))
            errors.append(Error(float(sizes[index]), f"{name}{list(index)}", float(got[index]), float(expected[index])))
    return errors
