"""Populations: runs that differ in numbers alone, stacked, so that one program trains them all.

Every leaf of a population's arrays has a leading axis of members; a single run is a population of one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Integer

from jaxopt_bench.errors import UserError
from jaxopt_bench.training.code_path import CodePath
from jaxopt_bench.training.devices import per_row
from jaxopt_bench.training.task import Task

T = TypeVar("T")


def over_members(function: Callable[..., T], path: CodePath, members: int) -> Callable[..., T]:
    """Returns the function of one member's arrays as `of_all(shared, *stacked)`, of all members' arrays, stacked.

    Args:
      function: takes a member's trees of arrays, then those of the tuple `shared`, and returns a tree.
      path: in turn, within a compiled loop, or together; and on which devices.
      members: how many there are. One alone takes its turn in a loop as well, so that it is compiled as it is among
        others and gets the same bits; `vmap` rounds differently in any case, so there it is computed as it is.
    """

    def of(members: int) -> Callable[..., T]:
        def of_all(shared: tuple[Any, ...], *stacked: Any) -> T:
            of_one = lambda *own: function(*own, *shared)  # noqa: E731
            if path.members == "map":
                return _made_in_turn(of_one, members, stacked)
            if members == 1:
                return stack([of_one(*member(stacked, 0))])
            return jax.vmap(of_one)(*stacked)

        return of_all

    return per_row(of, path, members)


def update_members(function: Callable[..., T], path: CodePath, members: int) -> Callable[..., T]:
    """Returns what `over_members` does, for a function that changes its first argument, and returns it.

    In turn, each member is changed where it lies: a single one is never copied, and many need no room to be put
    together anew.
    """
    if path.members == "vmap":
        return over_members(function, path, members)

    def of(members: int) -> Callable[..., T]:
        return lambda shared, tree, *others: _updated_in_turn(
            lambda *own: function(*own, *shared), members, tree, others
        )

    return per_row(of, path, members)


def _made_in_turn(function: Callable[..., T], members: int, stacked: tuple[Any, ...]) -> T:
    results = jax.eval_shape(function, *jax.eval_shape(lambda *trees: member(trees, 0), *stacked))
    empty = jax.tree.map(lambda leaf: jnp.zeros((members, *leaf.shape), leaf.dtype), results)
    return _updated_in_turn(lambda _, *own: function(*own), members, empty, stacked)


def _updated_in_turn(function: Callable[..., T], members: int, stacked: T, others: tuple[Any, ...]) -> T:
    """Returns the stacked tree after each member's turn in a loop that cannot be unrolled, however few its turns."""
    count = jax.lax.optimization_barrier(jnp.int32(members))

    def turn(index: Integer[Array, ""], made: T) -> T:
        take = functools.partial(jax.lax.dynamic_index_in_dim, index=index, keepdims=False)
        put = functools.partial(jax.lax.dynamic_update_index_in_dim, index=index, axis=0)
        return jax.tree.map(put, made, function(*jax.tree.map(take, (made, *others))))

    return jax.lax.fori_loop(0, count, turn, stacked)


def stack(trees: Sequence[T]) -> T:
    """Returns trees of arrays as one, each leaf with a leading axis of members."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def repeat(tree: T, members: int) -> T:
    """Returns a tree of arrays with a leading axis of members, which are all alike."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (members, *leaf.shape)), tree)


@jax.jit
def copied(tree: T) -> T:
    """Returns a copy of a tree of arrays, which outlives the donation of the original."""
    return jax.tree.map(jnp.copy, tree)


def member(tree: T, index: int) -> T:
    """Returns one member's part of a stacked tree."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def check_one_program(tasks: Sequence[Task]) -> None:
    """Checks that one program can train all tasks: that they differ in arrays (and names) alone.

    Raises:
      UserError: naming the first field that differs and two of its values.
    """
    first = tasks[0].experiment.program()
    for task in tasks[1:]:
        other = task.experiment.program()
        differing = [name for name in first if first[name] != other.get(name)] + [n for n in other if n not in first]
        differing.sort(key=lambda name: name.endswith(".name"))  # which follows from others where it can
        if differing:
            name = differing[0]
            raise UserError(
                f"a population's members differ in {name} ({first.get(name)!r} and {other.get(name)!r}). Expected: "
                "differences in the numbers of the optimizer or the schedule, or in the seed."
            )


def largest_population(need: Callable[[int], float], wanted: int, available: float) -> int:
    """Returns how many members to train at once: as many as are wanted or, of those, as fit; one at least.

    What a population needs is a constant and a part for each member, so two sizes tell the others.

    Args:
      need: returns the bytes that some number of members needs; infinite where so many cannot even be compiled.
      wanted: how many there are.
      available: bytes of memory that may be used.
    """
    if wanted == 1 or (all_of_them := need(wanted)) <= available:
        return wanted
    if math.isinf(all_of_them):
        return largest_population(need, wanted // 2, available)
    one = need(1)
    each = (all_of_them - one) / (wanted - 1)
    return max(1, min(wanted - 1, 1 + int((available - one) // each)))


def required_bytes(compiled: jax.stages.Compiled) -> int:
    """Returns the memory that a compiled program needs; 0 where its backend does not tell.

    That is its arguments, those of its results that do not take their place, and what it keeps meanwhile.
    """
    sizes = compiled.memory_analysis()
    if sizes is None:
        return 0
    results = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return sizes.argument_size_in_bytes + results + sizes.temp_size_in_bytes
