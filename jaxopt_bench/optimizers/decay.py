"""Measures how the weight decay of a user's function enters, since its code does not state it."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from jaxopt_bench.optimizers.axes import rate_or_fallback
from jaxopt_bench.optimizers.base import UNMODIFIED, DecayForm, Optimizer, StepContext

_TOLERANCE = 1e-3  # relative to the largest change of an update
_COEFFICIENT = 0.5
_SHAPES = {"kernel": (4, 3), "bias": (3,)}


@functools.cache
def measure_decay_form(optimizer: Optimizer) -> DecayForm:
    """Returns how an optimizer's weight decay enters, from its updates with and without it.

    The decay is decoupled if it changes the first update by the same amount for a ten times larger gradient. In a rule
    that is linear in the gradient, this is also true of coupled decay. There the decay is decoupled if later updates
    depend on earlier gradients, but not on the earlier decay. In a linear rule without memory, such as plain SGD, both
    forms are equal; this counts as coupled. A rule whose updates cannot be computed here also counts as coupled. If the
    first update is zero, as in SOAP, the second one is used.

    A decoupled decay is unscaled if it changes the first update by the same amount for a twice as large learning rate.
    """
    form = _coupled_or_decoupled(optimizer)
    return "unscaled" if form == "decoupled" and _is_unscaled(optimizer) else form


def _coupled_or_decoupled(optimizer: Optimizer) -> DecayForm:
    without, decayed = (_Updates.of(optimizer, coefficient) for coefficient in (0.0, _COEFFICIENT))
    if without is not None and decayed is not None and not np.any(without.first) and not np.any(decayed.first):
        without, decayed = (_Updates.of(optimizer, coefficient, idle=1) for coefficient in (0.0, _COEFFICIENT))
    if without is None or decayed is None:
        return "coupled"
    changes = _Updates(*(one - other for one, other in zip(decayed, without, strict=True)))
    if not np.any(changes.first) or not _close(changes.larger, changes.first):
        return "coupled"
    if not _close(without.mean, (without.first + without.other) / 2):  # not linear in the gradient
        return "decoupled"
    remembers_gradients = not _close(without.second, without.second_after_larger)
    remembers_decay = not _close(changes.second, changes.second_alone)
    return "decoupled" if remembers_gradients and not remembers_decay else "coupled"


def _is_unscaled(optimizer: Optimizer) -> bool:
    """Returns whether a decoupled decay does not depend on the learning rate."""
    changes = []
    for factor in (1.0, 2.0):
        decayed = _Updates.of(optimizer, _COEFFICIENT, factor=factor)
        without = _Updates.of(optimizer, 0.0, factor=factor)
        if decayed is None or without is None:
            return False
        changes.append(decayed.first - without.first)
    return bool(np.any(changes[0])) and _close(changes[1], changes[0])


class _Updates(NamedTuple):
    """Updates of some gradients, each as a vector. Steps that change nothing are not counted.

    Attributes:
      first: the update of a gradient, at the first step.
      larger: the update of ten times that gradient, at the first step.
      other: the update of another gradient, at the first step.
      mean: the update of the mean of the two gradients, at the first step.
      second: the update of a third gradient, at the second step and at other parameters, after `first`.
      second_after_larger: the update of the same gradient at the same parameters, after `larger`.
      second_alone: the update of the same gradient at the same parameters, at the first step.
    """

    first: np.ndarray
    larger: np.ndarray
    other: np.ndarray
    mean: np.ndarray
    second: np.ndarray
    second_after_larger: np.ndarray
    second_alone: np.ndarray

    @classmethod
    def of(cls, optimizer: Optimizer, weight_decay: float, idle: int = 0, factor: float = 1.0) -> _Updates | None:
        """Returns the updates of an optimizer with some weight decay; None if they cannot be computed.

        Args:
          optimizer: the optimizer. Modifications, such as the cautious mask, are switched off.
          weight_decay: its coefficient.
          idle: the number of steps before the first one.
          factor: the factor on its learning rate.
        """
        rate = factor * rate_or_fallback(optimizer.learning_rate)
        try:
            setting = dataclasses.replace(optimizer, learning_rate=rate, weight_decay=weight_decay, **UNMODIFIED)
            with concurrent.futures.ThreadPoolExecutor(1) as executor:  # another thread: this one may be tracing
                found = executor.submit(jax.jit(functools.partial(_updates, setting, idle))).result()
        except Exception:  # an error of the user's function; the training run reports it
            return None
        return cls(*(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in found))


def _updates(optimizer: Optimizer, idle: int) -> tuple[PyTree[Array], ...]:
    """Returns the updates of `_Updates`, as pytrees."""
    rng = np.random.default_rng(0)
    scales = {"params": 1.0, "other_params": 1.0, "gradient": 0.1, "other": 0.1, "last": 0.1}
    trees = {
        name: {part: jnp.asarray(scale * rng.normal(size=shape), jnp.float32) for part, shape in _SHAPES.items()}
        for name, scale in scales.items()
    }
    params, other_params, gradient, other, last = trees.values()
    transform = optimizer.transform(optimizer.hyperparameters(), StepContext(key=jax.random.key(0)))

    def after(
        params: PyTree[Array], gradient: PyTree[Array], state: optax.OptState | None = None
    ) -> tuple[PyTree[Array], optax.OptState]:
        state = begun if state is None else state
        return transform.update(gradient, state, params, value=jnp.ones([]))

    begun = transform.init(params)
    for _ in range(idle):
        _, begun = after(params, last, begun)
    first, state = after(params, gradient)
    larger, larger_state = after(params, jax.tree.map(lambda leaf: 10 * leaf, gradient))
    mean = jax.tree.map(lambda one, two: (one + two) / 2, gradient, other)
    states = (state, larger_state, None)
    seconds = (after(other_params, last, state)[0] for state in states)
    return (first, larger, after(params, other)[0], after(params, mean)[0], *seconds)


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.max(np.abs(one - other)) <= _TOLERANCE * np.max(np.abs(other)))
