"""Updates of all parameters in one pass over memory, for the most common optimizers, on CPUs.

XLA's programs for CPUs write one array in each loop, so Adam's update reads or writes an array ten times, although
seven times are enough. `kernels/updates.cc` computes these updates. The state is that of `Optimizer.transform`, and the
results are the same except for rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, PyTree

from jaxopt_bench.errors import UserError
from jaxopt_bench.kernels import COMMAND, LIBRARY, library
from jaxopt_bench.optimizers.adam import Adam, AdamW, AMSGrad, Nadam, NAdamW
from jaxopt_bench.optimizers.base import Hyperparameters, Optimizer, StepContext, decay_mask
from jaxopt_bench.optimizers.sgd import SGD
from jaxopt_bench.optimizers.wrappers import find_state

TARGET = "jaxopt_bench_update"


class Update(NamedTuple):
    """The result of one update.

    Attributes:
      params: the parameters after it.
      opt_state: the optimizer's state after it.
      gradient_norm: the norm of the gradient, over all parameters.
      update_norm: the norm of the update that was added to the parameters.
      sound: whether the loss and both norms are finite.
    """

    params: PyTree[Array]
    opt_state: optax.OptState
    gradient_norm: Float[Array, ""]
    update_norm: Float[Array, ""]
    sound: Bool[Array, ""]


class _Rule(NamedTuple):
    """How an optimizer is computed.

    Attributes:
      number: the rule in `updates.cc`.
      state: the type of the state that optax's transformation keeps; None if it keeps none.
      slots: the fields of this state that have an array for each array of parameters.
    """

    number: int
    state: Any = None
    slots: tuple[str, ...] = ()


_MOMENTS = ("mu", "nu")
_ADAM, _NADAM = (_Rule(number, optax.ScaleByAdamState, _MOMENTS) for number in (3, 4))
_RULES: dict[type, Callable[[Any], _Rule]] = {
    SGD: lambda own: _Rule(0) if own.momentum is None else _Rule(1 + own.nesterov, optax.TraceState, ("trace",)),
    Adam: lambda own: _ADAM,
    AdamW: lambda own: _ADAM,
    Nadam: lambda own: _NADAM,
    NAdamW: lambda own: _NADAM,
    AMSGrad: lambda own: _Rule(5, optax.ScaleByAmsgradState, (*_MOMENTS, "nu_max")),
}
"""The optimizers that have a fused form. A subclass may compute something else, so it has none."""


def has_fused_form(optimizer: Optimizer, params: PyTree[Array]) -> bool:
    """Returns whether `fused_update` can compute an optimizer: a known rule without wrappers, on float32 arrays."""
    fields = ("clip_norm", "clip_adaptive", "mars_gamma", "ema_decay", "swa_start")
    around = (getattr(optimizer, field) for field in fields)
    alone = optimizer.accumulate == 1 and not optimizer.cautious and all(one is None for one in around)
    known = type(optimizer) in _RULES and alone
    return known and all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))


def fused_update(
    optimizer: Optimizer,
    hyperparameters: Hyperparameters,
    context: StepContext,
    gradients: PyTree[Float[Array, "..."]],
    opt_state: optax.OptState,
    params: PyTree[Float[Array, "..."]],
    loss: Float[Array, ""] | None = None,
) -> Update:
    """Updates parameters as `optimizer.transform(hyperparameters, context)` does, except for rounding.

    Args:
      optimizer: one that has a fused form, see `has_fused_form`.
      hyperparameters: its float fields by name, as arrays.
      context: only its `multiplier` is read, the schedule's factor on the learning rate.
      gradients: float32 arrays of the shapes of `params`.
      opt_state: the state of `optimizer.transform`.
      params: float32 arrays.
      loss: if it is given, and it or a norm is not finite, the parameters do not change, but the state does. This needs
        a copy of the parameters: one more pass over memory.

    Raises:
      UserError: if the CPU kernels are not built.
    """
    if library() is None:
        raise UserError(f"{LIBRARY} is not built. {COMMAND} builds it. Or set JAXOPT_BENCH_UPDATES=optax.")
    rule, leaves = _RULES[type(optimizer)](optimizer), jax.tree.leaves(params)
    before = find_state(opt_state, rule.state) if rule.state else None
    slots = [leaf for name in rule.slots for leaf in jax.tree.leaves(getattr(before, name))]
    mask = decay_mask(optimizer.decay_mask)
    decays = jax.tree.leaves(mask(params)) if mask else [True] * len(leaves)
    changed = [*leaves, *slots]
    kept = sum(leaf.size for leaf in leaves) if loss is not None else 0
    results = (
        jax.ShapeDtypeStruct((2,), jnp.float32),
        jax.ShapeDtypeStruct((), jnp.bool),
        jax.ShapeDtypeStruct((kept,), jnp.float32),
        *(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in changed),
    )
    first_slot = 2 + 2 * len(leaves)  # among the arguments, after coefficients, loss, parameters and gradients
    places = [*range(2, 2 + len(leaves)), *range(first_slot, first_slot + len(slots))]
    call = jax.ffi.ffi_call(
        TARGET,
        results,
        vmap_method="sequential",
        input_output_aliases={place: 3 + result for result, place in enumerate(places)},
    )
    norms, sound, _, *made = call(
        _coefficients(optimizer, hyperparameters, context, before),
        jnp.zeros(()) if loss is None else loss,
        *leaves,
        *jax.tree.leaves(gradients),
        *slots,
        rule=np.int64(rule.number),
        decays=np.asarray(decays, np.int64),
    )
    structure, count = jax.tree.structure(params), len(leaves)
    of_slots = (jax.tree.unflatten(structure, made[count * i : count * (i + 1)]) for i in range(1, 1 + len(rule.slots)))
    after = _state_after(opt_state, before, dict(zip(rule.slots, of_slots, strict=True)))
    return Update(jax.tree.unflatten(structure, made[:count]), after, norms[0], norms[1], sound)


def _state_after(opt_state: optax.OptState, before: Any, slots: dict[str, PyTree[Array]]) -> optax.OptState:
    """Returns an optimizer's state with new slots in the state `before` and, if it counts updates, a higher count."""
    if before is None:
        return opt_state
    counted = {"count": optax.safe_increment(before.count)} if _counts(before) else {}
    after = before._replace(**slots, **counted)
    kind = type(before)
    is_before = lambda state: isinstance(state, kind)  # noqa: E731
    return jax.tree.map(lambda state: after if is_before(state) else state, opt_state, is_leaf=is_before)


def _counts(state: Any) -> bool:
    """Returns whether a state counts updates."""
    return state is not None and "count" in state._fields


def _coefficients(
    optimizer: Optimizer, hyperparameters: Hyperparameters, context: StepContext, before: Any
) -> Float[Array, " 11"]:
    """Returns the coefficients in the order in which `updates.cc` reads them."""
    given = {name: hyperparameters.get(name, 0.0) for name in ("weight_decay", "b1", "b2", "eps", "momentum")}
    decay, zero = given["weight_decay"], jnp.zeros(())
    coupled = optimizer.decay_form == "coupled"
    first, second = given["b1"] + given["momentum"], given["b2"]
    corrections = zero, zero, zero
    if _counts(before):
        corrects = getattr(optimizer, "bias_correction", True)
        count = optax.safe_increment(before.count)
        at = lambda decay, count: 1 / (1 - decay**count) if corrects else jnp.ones(())  # noqa: E731
        corrections = at(first, count), at(second, count), at(first, optax.safe_increment(count))
    values = (
        hyperparameters["learning_rate"] * context.multiplier,
        *((decay, zero) if coupled else (zero, decay)),
        first,
        1 - first,
        second,
        1 - second,
        *corrections,
        given["eps"],
    )
    return jnp.stack([jnp.asarray(value, jnp.float32) for value in values])
