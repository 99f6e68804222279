"""One update of all parameters: by optax's transformations, or in one pass over memory if that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from jaxopt_bench.optimizers import Hyperparameters, Optimizer, StepContext
from jaxopt_bench.optimizers.fused import Update, fused_update, has_fused_form


def update_parameters(
    optimizer: Optimizer,
    hyperparameters: Hyperparameters,
    now: StepContext,
    gradients: PyTree[Array],
    opt_state: optax.OptState,
    params: PyTree[Array],
    loss: Float[Array, ""],
    *,
    fused: bool,
    checked: bool = True,
    value_fn: Callable[[PyTree[Array]], Float[Array, ""]] | None = None,
) -> Update:
    """Returns the parameters and the state after one update, the norms, and whether the loss and the norms are finite.

    The norms are those of the gradient and of the update.

    Args:
      optimizer: the optimizer.
      hyperparameters: its float fields by name, as arrays.
      now: the context of this step.
      gradients: the gradients of the loss, one for each array of parameters.
      opt_state: the state of `optimizer.transform`.
      params: the parameters.
      loss: the loss at these parameters.
      fused: whether the update is made in one pass if the optimizer supports it; the results differ by rounding.
      checked: whether the parameters stay unchanged if the loss or a norm is not finite, as in training.
      value_fn: the loss as a function of the parameters, for an optimizer with a line search.
    """
    if fused and has_fused_form(optimizer, params):
        return fused_update(optimizer, hyperparameters, now, gradients, opt_state, params, loss if checked else None)
    extra: dict[str, Any] = {"value": loss}
    if optimizer.line_search:
        extra |= {"grad": gradients, "value_fn": value_fn}
    updates, opt_state = optimizer.transform(hyperparameters, now).update(gradients, opt_state, params, **extra)
    gradient_norm, update_norm = optax.tree.norm(gradients), optax.tree.norm(updates)
    sound = jnp.isfinite(loss) & jnp.isfinite(gradient_norm) & jnp.isfinite(update_norm)
    changed = optax.apply_updates(params, updates)
    if checked:
        # `sound` depends on all arrays, so XLA knows that the old parameters are not read later, and overwrites them
        changed = jax.tree.map(lambda new, old: jnp.where(sound, new, old), changed, params)
    return Update(changed, opt_state, gradient_norm, update_norm, sound)
