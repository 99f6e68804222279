"""Populations: runs that differ only in names, seeds, and float fields of the optimizer and the schedule.

Their arrays are stacked, so that one program trains all of them.
Every leaf of a population's pytree has a leading axis of members; a single run is a population of one.
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


def map_over_members(function: Callable[..., T], path: CodePath, members: int) -> Callable[..., T]:
    """Converts a function of one member's arrays to `of_all(shared, *stacked)`, a function of all members' arrays.

    Args:
      function: takes a member's pytrees, then those of the tuple `shared`, and returns a pytree.
      path: whether members are computed one after the other in a compiled loop, or together; and on which devices.
      members: the number of members. With "map", a single member is computed in a loop as well, so that it is compiled
        in the same way as among others and gets the same bits. `vmap` rounds differently in any case, so a single
        member is then computed without it.
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
    """Returns the same as `map_over_members`, for a function that changes its first argument and returns it.

    If members take turns, each member is updated in place: a single one is never copied, and several need no memory for
    stacking them again.
    """
    if path.members == "vmap":
        return map_over_members(function, path, members)

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
    """Returns the stacked pytree after each member's turn, in a loop that is never unrolled, even for few members."""
    count = jax.lax.optimization_barrier(jnp.int32(members))

    def turn(index: Integer[Array, ""], made: T) -> T:
        take = functools.partial(jax.lax.dynamic_index_in_dim, index=index, keepdims=False)
        put = functools.partial(jax.lax.dynamic_update_index_in_dim, index=index, axis=0)
        return jax.tree.map(put, made, function(*jax.tree.map(take, (made, *others))))

    return jax.lax.fori_loop(0, count, turn, stacked)


def stack(trees: Sequence[T]) -> T:
    """Returns pytrees of arrays as one pytree, each leaf with a leading axis of members."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def repeat(tree: T, members: int) -> T:
    """Returns a pytree of arrays with a leading axis of members, which are all equal."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (members, *leaf.shape)), tree)


@jax.jit
def copied(tree: T) -> T:
    """Returns a copy of a pytree of arrays, which stays valid when the original is donated."""
    return jax.tree.map(jnp.copy, tree)


def member(tree: T, index: int) -> T:
    """Returns one member's part of a stacked pytree."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def check_one_program(tasks: Sequence[Task]) -> None:
    """Checks that one program can train all tasks: they differ only in names, seeds and float hyperparameters.

    Raises:
      UserError: if another field differs; the message names the first such field and two of its values.
    """
    first = tasks[0].experiment.program()
    for task in tasks[1:]:
        other = task.experiment.program()
        differing = [name for name in first if first[name] != other.get(name)] + [n for n in other if n not in first]
        differing.sort(key=lambda name: name.endswith(".name"))  # names last: other differing fields explain more
        if differing:
            name = differing[0]
            raise UserError(
                f"a population's members differ in {name} ({first.get(name)!r} and {other.get(name)!r}). Expected: "
                "differences only in float fields of the optimizer or the schedule, or in the seed."
            )


def largest_population(need: Callable[[int], float], wanted: int, available: float) -> int:
    """Returns how many members to train at once: `wanted`, or as many of these as fit into memory, but at least one.

    The memory of a population is a constant plus an equal part for each member, so two sizes determine all others.

    Args:
      need: returns the bytes that a given number of members needs; infinite if so many cannot even be compiled.
      wanted: the number of members to train.
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
    """Returns the memory that a compiled program needs, in bytes; 0 if its backend does not report it.

    It is the sum of the arguments, the results that do not reuse the memory of arguments, and the temporary memory.
    """
    sizes = compiled.memory_analysis()
    if sizes is None:
        return 0
    results = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return sizes.argument_size_in_bytes + results + sizes.temp_size_in_bytes
