"""Wrappers of any optimizer: the mean of the gradients of several steps, and averages of the parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Integer, PyTree

S = TypeVar("S")
Rate = Callable[[Integer[Array, ""]], tuple[Float[Array, ""], Integer[Array, ""]]]
"""Takes the number of steps in an average. Returns the weight of the new parameters, and the new number of steps."""


def accumulate(inner: optax.GradientTransformation, every: int) -> optax.GradientTransformationExtraArgs:
    """Makes one update from the mean gradient of `every` steps, and from their mean loss if the optimizer reads it.

    The steps in between change no parameter.
    """
    inner = optax.with_extra_args_support(inner)

    def update_both(
        pair: tuple[PyTree[Array], Array], state: optax.OptState, params: tuple[PyTree[Array], Array]
    ) -> tuple[tuple[PyTree[Array], Array], optax.OptState]:
        updates, state = inner.update(pair[0], state, params[0], value=pair[1])
        return (updates, pair[1]), state

    both = optax.GradientTransformation(lambda params: inner.init(params[0]), update_both)
    steps = optax.MultiSteps(both, every)

    def init_fn(params: PyTree[Array]) -> optax.MultiStepsState:
        return steps.init((params, jnp.zeros([])))

    def update_fn(
        updates: PyTree[Array], state: optax.MultiStepsState, params: PyTree[Array] | None = None, **extra: Any
    ) -> tuple[PyTree[Array], optax.MultiStepsState]:
        value = jnp.asarray(extra.get("value", 0.0), jnp.float32)
        (updates, _), state = steps.update((updates, value), state, (params, value))
        return updates, state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


class AverageState(NamedTuple):
    """The state of `_average`: the inner optimizer's state, the average, and the number of steps in the average."""

    inner: optax.OptState
    average: PyTree[Array]
    count: Integer[Array, ""]  # type: ignore[assignment]  # the field's name in optax, though a tuple has a count


def exponential_average(
    inner: optax.GradientTransformation, decay: Float[Array, ""] | float
) -> optax.GradientTransformationExtraArgs:
    """Keeps an exponential average of the parameters after each update (Kingma & Ba, 2015, section 7.2).

    With the parameters θ and the decay β, the average a is a weighted mean. Its weights fall by the factor β from each
    update to the previous one:

        s_t = β s_{t−1} + (1 − β) θ_t
        a_t = s_t / (1 − β^t)
    """

    def rate(count: Integer[Array, ""]) -> tuple[Float[Array, ""], Integer[Array, ""]]:
        count = count + 1
        return (1 - decay) / (1 - decay**count), count

    return _average(inner, rate)


def tail_average(
    inner: optax.GradientTransformation, counts: Bool[Array, ""] | bool
) -> optax.GradientTransformationExtraArgs:
    """Keeps the mean of the parameters after the updates for which `counts` is true (Izmailov et al., 2018, "SWA").

    Before the first such update, the average equals the parameters.
    """

    def rate(count: Integer[Array, ""]) -> tuple[Float[Array, ""], Integer[Array, ""]]:
        begun = jnp.where(count == 0, 1.0, 0.0)
        return jnp.where(counts, 1 / (count + 1), begun), jnp.where(counts, count + 1, count)

    return _average(inner, rate)


def penalised(
    inner: optax.GradientTransformation,
    weight_decay: Float[Array, ""] | float,
    mask: Callable[[PyTree[Array]], PyTree[bool]] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Adds the penalty λ/2 ‖θ‖² to the loss that a line search minimises.

    Args:
      inner: a transformation with a line search, whose update takes `value`, `grad` and `value_fn`.
      weight_decay: λ.
      mask: which parameters are penalised; None for all.
    """

    def penalty(params: PyTree[Array]) -> Float[Array, ""]:
        chosen = jax.tree.map(lambda _: True, params) if mask is None else mask(params)
        squares = jax.tree.map(lambda leaf, counts: jnp.sum(leaf**2) if counts else jnp.zeros(()), params, chosen)
        return 0.5 * weight_decay * jnp.sum(jnp.stack(jax.tree.leaves(squares)))

    def update_fn(
        updates: PyTree[Array], state: optax.OptState, params: PyTree[Array] | None = None, **extra: Any
    ) -> tuple[PyTree[Array], optax.OptState]:
        value_fn = extra["value_fn"]
        added, gradient = jax.value_and_grad(penalty)(params)
        extra |= {
            "value": extra["value"] + added,
            "grad": optax.tree.add(extra["grad"], gradient),
            "value_fn": lambda at: value_fn(at) + penalty(at),
        }
        return inner.update(optax.tree.add(updates, gradient), state, params, **extra)

    return optax.GradientTransformationExtraArgs(inner.init, update_fn)


class StoredState(NamedTuple):
    """A state in the form in which `storable` keeps it."""

    inner: optax.OptState


def storable(inner: optax.GradientTransformation, flat: bool = False) -> optax.GradientTransformationExtraArgs:
    """Keeps the state in a form that checkpoints can hold and that the next step can read.

    Random keys, of any implementation, are kept as the integers that they are made of.

    Args:
      inner: the transformation.
      flat: whether to keep the state as a list of its arrays. If a function defines a class for its state, each call
        defines a new class, so a later step could not read a state of an earlier class.
    """
    inner = optax.with_extra_args_support(inner)

    def init_fn(params: PyTree[Array]) -> StoredState:
        return to_stored(inner.init(params), flat)

    def update_fn(
        updates: PyTree[Array], state: optax.OptState, params: PyTree[Array] | None = None, **extra: Any
    ) -> tuple[PyTree[Array], optax.OptState]:
        updates, new = inner.update(updates, from_stored(state, inner, params), params, **extra)
        return updates, to_stored(new, flat)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def to_stored(state: optax.OptState, flat: bool) -> StoredState:
    """Returns a state as `storable` keeps it."""
    kept = jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, state)
    return StoredState(tuple(jax.tree.leaves(kept)) if flat else kept)


def from_stored(state: StoredState, inner: optax.GradientTransformation, params: PyTree[Array]) -> optax.OptState:
    """Returns the state of a transformation that `to_stored` has converted."""
    implementations: list[Any] = []

    def initial(params: PyTree[Array]) -> optax.OptState:
        made = inner.init(params)
        implementations.extend(jax.random.key_impl(leaf) if _is_key(leaf) else None for leaf in jax.tree.leaves(made))
        return made

    structure = jax.tree.structure(jax.eval_shape(initial, params))
    leaves = [
        leaf if implementation is None else jax.random.wrap_key_data(leaf, impl=implementation)
        for leaf, implementation in zip(jax.tree.leaves(state), implementations, strict=True)
    ]
    return jax.tree.unflatten(structure, leaves)


def without_extra_arguments(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Returns a transformation whose update gets only the gradient, the state and the parameters."""
    return optax.GradientTransformation(
        inner.init, lambda updates, state, params=None: inner.update(updates, state, params)
    )


def _is_key(leaf: object) -> bool:
    return hasattr(leaf, "dtype") and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def find_states(opt_state: optax.OptState, kind: type[S]) -> list[S]:
    """Returns the states of a type within an optimizer's state. Of nested ones, only the outermost is returned."""
    leaves = jax.tree.leaves(opt_state, is_leaf=lambda state: isinstance(state, kind))
    return [leaf for leaf in leaves if isinstance(leaf, kind)]


def find_state(opt_state: optax.OptState, kind: type[S]) -> S:
    """Returns the only state of a type within an optimizer's state."""
    (found,) = find_states(opt_state, kind)
    return found


def _average(inner: optax.GradientTransformation, rate: Rate) -> optax.GradientTransformationExtraArgs:
    """Keeps an average of the parameters. Each update moves it towards the new ones; `rate` determines how far."""
    inner = optax.with_extra_args_support(inner)

    def init_fn(params: PyTree[Array]) -> AverageState:
        return AverageState(inner.init(params), jax.tree.map(jnp.copy, params), jnp.zeros([], jnp.int32))

    def update_fn(
        updates: PyTree[Array], state: AverageState, params: PyTree[Array] | None = None, **extra: Any
    ) -> tuple[PyTree[Array], AverageState]:
        updates, inner_state = inner.update(updates, state.inner, params, **extra)
        share, count = rate(state.count)
        moved = jax.tree.map(
            lambda old, p, u: old + share.astype(old.dtype) * (p + u - old), state.average, params, updates
        )
        return updates, AverageState(inner_state, moved, count)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
