"""Cautious updates: updates that have the sign of the gradient are enlarged, and the others are left out."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

LEAST_SHARE = 1e-3
"""An update is enlarged by 1 / LEAST_SHARE at most: the bound of the authors' code (C-Optim, `c_adamw.py`)."""


def cautious(
    inner: optax.GradientTransformation,
    sign: Literal[1, -1],
    undecayed: optax.GradientTransformation | None = None,
    weight_decay: Float[Array, ""] | float = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """Masks updates that go against the gradient (Liang et al., "Cautious Optimizers: Improving Training with One
    Line of Code", 2024, Algorithm 1).

    For each parameter array separately, with the gradient g that the optimizer receives, and the update u that is
    subtracted from the parameters:

        mask_t = 1 if u_t g_t > 0, else 0
        u_t becomes u_t mask_t / max(mean(mask_t), 0.001)

    The bound is that of the authors' code; Algorithm 1 adds a small number to the mean instead. The mask has no state,
    and does not change the state of the optimizer.

    Decoupled weight decay is not masked, as in the authors' code. If it is a part of `inner`, give `undecayed`:
    then the difference between the updates of the two is added to the masked update of `undecayed`.

    Args:
      inner: makes the updates.
      sign: 1 if its updates will be subtracted from the parameters, -1 if they will be added.
      undecayed: the same transformation with a weight decay of zero. Both are computed in each step.
      weight_decay: the coefficient with which `inner` decays, if `undecayed` is given.
    """
    inner = optax.with_extra_args_support(inner)
    without = None if undecayed is None else optax.with_extra_args_support(undecayed)

    def update_fn(
        updates: PyTree[Array], state: optax.OptState, params: PyTree[Array] | None = None, **extra: Any
    ) -> tuple[PyTree[Array], optax.OptState]:
        whole, new = inner.update(updates, state, params, **extra)
        own = whole if without is None else without.update(updates, state, params, **extra)[0]
        masked = jax.tree.map(lambda u, g: _masked(u, sign * g), own, updates)
        if without is not None:
            # without decay, the difference is a rounding error, and its sign may be against the gradient
            masked = jax.tree.map(lambda m, w, o: jnp.where(weight_decay == 0, m, m + (w - o)), masked, whole, own)
        return masked, new

    return optax.GradientTransformationExtraArgs(inner.init, update_fn)


def _masked(update: Float[Array, "*shape"], gradient: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    agrees = ((update > 0) & (gradient > 0)) | ((update < 0) & (gradient < 0))  # their product might underflow to zero
    share = jnp.sum(agrees) / max(update.size, 1)
    return jnp.where(agrees, update / jnp.maximum(share, LEAST_SHARE).astype(update.dtype), 0)
