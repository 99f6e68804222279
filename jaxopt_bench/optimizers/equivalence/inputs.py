"""The inputs on which a function that makes an optimizer is tried: parameters, gradients and settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

_NOISE = 4e-7  # relative noise on gradients and parameters: the change of the updates shows their precision

Numbers = Mapping[str, Any]
"""The settings of a function, by name."""


def small_parameters(scalar: bool = True) -> PyTree[np.ndarray]:
    """Returns parameters with names as in a network: a matrix, a vector, a convolution kernel and maybe a scalar."""
    shapes: dict[str, Any] = {
        "Dense_0": {"kernel": (4, 3), "bias": (3,)},
        "Conv_0": {"kernel": (2, 2, 3, 4)},
        **({"scale": ()} if scalar else {}),
    }
    return random_parameters(jax.tree.map(np.zeros, shapes, is_leaf=lambda shape: isinstance(shape, tuple)))


def random_parameters(like: PyTree[Any]) -> PyTree[np.ndarray]:
    """Returns random parameters with the shapes of other parameters."""
    generator = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: np.asarray(generator.normal(size=leaf.shape), np.float32), like)


def make_gradients(params: PyTree[Array], step: int) -> PyTree[Array]:
    """Returns random gradients, some so small that numbers such as eps make a difference."""
    generator = np.random.default_rng(step + 1)
    leaves, structure = jax.tree.flatten(params)
    sizes = (1.0, 1e-2, 1e-6, 1e-4)
    return jax.tree.unflatten(
        structure,
        [
            jnp.asarray(sizes[i % len(sizes)] * generator.normal(size=leaf.shape), jnp.float32)
            for i, leaf in enumerate(leaves)
        ],
    )


def with_noise(arrays: PyTree[Array], seed: int) -> PyTree[Array]:
    """Returns arrays with relative noise of about the precision of float32."""
    generator = np.random.default_rng(seed)
    return jax.tree.map(
        lambda a: jnp.asarray(np.asarray(a) * (1 + _NOISE * generator.normal(size=a.shape)), jnp.float32), arrays
    )


def round_to_float32(value: Any) -> Any:
    """Returns a number rounded to float32, its type in training. The difference has no meaning."""
    if isinstance(value, tuple):
        return tuple(map(round_to_float32, value))
    return float(np.float32(value)) if isinstance(value, float) else value


def nudge_numbers(numbers: Numbers, plain: Sequence[str], seed: int) -> Numbers:
    """Returns the numbers with another last digit in float32, except the plain ones."""
    generator = np.random.default_rng(seed)

    def nudge(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(nudge, value))
        towards = np.float32(generator.choice([0, 2])) * np.float32(value)
        return float(np.nextafter(np.float32(value), towards)) if math.isfinite(value) else value

    return {name: value if name in plain else nudge(value) for name, value in numbers.items()}


def change_number(value: Any, whole: bool) -> Any:
    """Returns another number, which is probably in the same range."""
    if isinstance(value, tuple):
        return tuple(change_number(item, whole) for item in value)
    if math.isinf(value):
        return value
    if value == 0:
        return round_to_float32(0.1)
    if whole:
        return value + 1
    if value < 0:
        return value / 2
    if value < 1 / 3:
        return 3 * value
    return round_to_float32(1 - 1.5 * (1 - value)) if 1 / 2 <= value < 1 else 1.5 * value if value >= 1 else value / 2
