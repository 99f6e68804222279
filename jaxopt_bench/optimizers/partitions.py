"""Reads from the structure of an optimizer's state which of its inner rules updates which parameters.

`optax.partition` (formerly `multi_transform`) applies one of several rules to each parameter. `optax.contrib.muon`, for
example, applies Muon to matrices and Adam to all other parameters.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import optax
from jaxtyping import PyTree
from optax.transforms import PartitionState

from jaxopt_bench.optimizers.wrappers import find_states


@dataclasses.dataclass(frozen=True)
class ParameterGroup:
    """A part of a network's parameters.

    Attributes:
      name: the name of the part, such as an inner rule's label.
      arrays: how many parameter arrays belong to it.
      of_arrays: how many parameter arrays the network has.
      numbers: how many numbers its arrays hold.
      share: `numbers` as a fraction of all numbers in the network's parameters.
    """

    name: str
    arrays: int
    of_arrays: int
    numbers: int
    share: float


def read_parameter_groups(values: object) -> tuple[ParameterGroup, ...]:
    """Returns the parts of a network that a record lists; an empty tuple if it is not such a list."""
    kinds: dict[str, Any] = {"name": str, "arrays": int, "of_arrays": int, "numbers": int, "share": (int, float)}
    if not isinstance(values, list):
        return ()
    for value in values:
        if not isinstance(value, dict) or not all(isinstance(value.get(name), kind) for name, kind in kinds.items()):
            return ()
    return tuple(ParameterGroup(**{name: value[name] for name in kinds}) for value in values)


def make_parameter_group(name: str, arrays: Iterable[int], params: PyTree[Any]) -> ParameterGroup:
    """Returns the part of the parameters that consists of some arrays.

    Args:
      name: the name of the part.
      arrays: indices of its arrays among the leaves of `params`.
      params: the network's parameters, or their shapes.
    """
    sizes = [math.prod(leaf.shape) for leaf in jax.tree.leaves(params)]
    own = sorted(arrays)
    numbers = sum(sizes[i] for i in own)
    return ParameterGroup(name, len(own), len(sizes), numbers, numbers / max(sum(sizes), 1))


def inner_rules(opt_state: optax.OptState, params: PyTree[Any]) -> tuple[ParameterGroup, ...]:
    """Returns the share of the parameters that each inner rule updates; empty for an optimizer with a single rule.

    Args:
      opt_state: the optimizer's state, or its shapes.
      params: the network's parameters, or their shapes.
    """
    found = rule_arrays(opt_state, params)
    return tuple(make_parameter_group(name, arrays, params) for name, arrays in found) if len(found) > 1 else ()


def rule_arrays(opt_state: optax.OptState, params: PyTree[Any]) -> list[tuple[str, frozenset[int]]]:
    """Returns each inner rule's label with the indices of the arrays that it updates; see `inner_rules`.

    A rule without arrays is included. The label of a rule within another rule follows the outer label, after a slash. A
    rule that keeps no state, such as SGD, has the arrays that no other rule has. Several such rules are listed
    together.
    """
    found = []
    for state in find_states(opt_state, PartitionState):
        known, stateless = _rules(state, params)
        found += known
        if stateless:
            left = frozenset(range(len(jax.tree.leaves(params)))).difference(*(arrays for _, arrays in known))
            found.append((" or ".join(stateless), left))
    return found


def _rules(state: PartitionState, params: PyTree[Any]) -> tuple[list[tuple[str, frozenset[int]]], list[str]]:
    """Returns the rules of a partition with their arrays, and the labels of the rules that keep no state."""
    known: list[tuple[str, frozenset[int]]] = []
    stateless: list[str] = []
    for label, inner in state.inner_states.items():
        within = [_rules(partition, params) for partition in find_states(inner, PartitionState)]
        named = [(f"{label}/{name}", arrays) for rules, _ in within for name, arrays in rules]
        unnamed = [f"{label}/{name}" for _, names in within for name in names]
        own = _updated(inner, params)
        left = None if own is None else own.difference(*(arrays for _, arrays in named))
        known += named
        if left or (left is not None and not within):
            known.append((str(label), left))
        elif unnamed or left is None:
            stateless += unnamed or [str(label)]
    return known, stateless


def _updated(state: optax.OptState, params: PyTree[Any]) -> frozenset[int] | None:
    """Returns the indices of the arrays for which a rule keeps state; None if it keeps none for any array.

    A rule's state for its parameters has their structure, with `optax.MaskedNode` in the place of other parameters.
    """
    found: frozenset[int] = frozenset()
    seen = False
    nodes: Sequence[object] = [state]
    while nodes:
        node, *rest = nodes
        own = _unmasked(node, params)
        if own is not None and not isinstance(node, optax.MaskedNode):
            found, seen = found | {i for i, kept in enumerate(own) if kept}, True
            nodes = rest
        else:
            nodes = [*_children(node), *rest]
    return found if seen else None


def _unmasked(node: object, params: PyTree[Any]) -> list[bool] | None:
    """Returns for each parameter whether a tree holds a value for it; None if their structures differ."""
    if isinstance(node, optax.MaskedNode):
        return [False] * len(jax.tree.leaves(params))
    inner, expected = _children(node), _children(params)
    if not expected:
        return None if inner or not hasattr(node, "shape") else [True]
    if _structure(node) != _structure(params):
        return None
    parts = [_unmasked(*pair) for pair in zip(inner, expected, strict=True)]
    return None if None in parts else [kept for part in parts if part is not None for kept in part]


def _children(node: object) -> list[object]:
    return [] if hasattr(node, "shape") else jax.tree.leaves(node, is_leaf=lambda child: child is not node)


def _structure(node: object) -> object:
    return jax.tree.structure(node, is_leaf=lambda child: child is not node)
