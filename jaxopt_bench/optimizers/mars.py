"""MARS: reduces the variance of gradients by means of the gradients of two successive steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from jaxopt_bench.config import Config

Scalar = Float[Array, ""] | float

FIRST_MOMENTS = ("b1", "beta1", "betas", "momentum", "beta")
"""Fields that hold the decay of a first moment; in `betas` it is the first number. `beta` is such a field only if its
bounds keep it below 1: in optimistic methods it is the coefficient of a correction."""
FALLBACK = 0.95
"""The decay that is used if an optimizer has no first moment: the default of the authors' code (AGI-Arena/MARS)."""


class ReduceVarianceState(NamedTuple):
    """The gradient of the previous step; zero before the first step."""

    previous: PyTree[Array]


def reduce_variance(gamma: Scalar = 0.025, b1: Scalar = FALLBACK) -> optax.GradientTransformation:
    """Corrects gradients by their change since the last step (Yuan et al., "MARS: Unleashing the Power of Variance
    Reduction for Training Large Models", 2024, in the form that the paper calls MARS-approx).

    With the gradient g:

        d_t = g_t + gamma b1 / (1 − b1) (g_t − g_{t−1})
        c_t = d_t / max(‖d_t‖, 1)

    The optimizer receives c in place of the gradient. In the exact form, g_{t−1} is the gradient of the current batch
    at the previous parameters, which needs two gradients in a step.

    As in the authors' code (AGI-Arena/MARS, `mars.py`), the Euclidean norm is computed for each parameter array
    separately, and g_0 = 0. By default, that code uses AdamW with separate hyperparameters for arrays that are not
    matrices; here all arrays are corrected.

    Args:
      gamma: the strength of the correction.
      b1: the decay of the optimizer's first moment.
    """
    strength = gamma * b1 / (1 - b1)

    def init_fn(params: PyTree[Array]) -> ReduceVarianceState:
        return ReduceVarianceState(optax.tree.zeros_like(params))

    def update_fn(
        updates: PyTree[Array], state: ReduceVarianceState, params: PyTree[Array] | None = None
    ) -> tuple[PyTree[Array], ReduceVarianceState]:
        del params
        return jax.tree.map(corrected, updates, state.previous), ReduceVarianceState(updates)

    def corrected(gradient: Float[Array, "*shape"], previous: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        change = gradient + jnp.asarray(strength, gradient.dtype) * (gradient - previous)
        return change / jnp.maximum(jnp.linalg.norm(jnp.ravel(change)), 1)

    return optax.GradientTransformation(init_fn, update_fn)


def first_moment_decay(optimizer: Config, numbers: Mapping[str, Any]) -> Scalar:
    """Returns the decay of an optimizer's first moment, or `FALLBACK` if it has none.

    Args:
      optimizer: its configuration.
      numbers: the values of its fields that are numbers and not None, as arrays or Python numbers.
    """
    metadata = {field.name: field.metadata for field in dataclasses.fields(optimizer)}
    for name in FIRST_MOMENTS:
        if name in numbers:
            bounds = metadata[name].get("bounds")
            if name != "beta" or (bounds is not None and bounds.below == 1):
                return numbers[name][0] if name == "betas" else numbers[name]
    return FALLBACK
