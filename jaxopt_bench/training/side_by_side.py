"""Members of a population that are trained at the same time, in threads: small networks use one core of a CPU each.

The members are divided into parts of equal size. Each part has a thread, in which its members take turns. All parts use
one compiled program. It computes a member as that of all members does, to the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int32

from jaxopt_bench.training.code_path import CodePath

T = TypeVar("T")


def part_count(path: CodePath, members: int) -> int:
    """Returns into how many parts the members are divided."""
    return min(path.side_by_side or 1, members) if path.allows_side_by_side else 1


def part_size(path: CodePath, members: int) -> int:
    """Returns how many members a part has. The last parts may have fewer, and are filled up."""
    return math.ceil(members / part_count(path, members))


class Threads:
    """A thread for each part of the members.

    XLA runs programs that one thread starts one after the other, and those of several threads at the same time. Threads
    need not wait for their programs, so results may still be under way when they are returned.
    """

    def __init__(self, members: int, parts: int):
        self.members, self.parts = members, parts
        self._threads = [ThreadPoolExecutor(1, "part") for _ in range(parts)]
        self._compiled: set[Callable[..., Any]] = set()

    def call(self, function: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> list[T]:
        """Returns a compiled function's results for the arguments of each part, each computed by its thread."""
        started: list[Future[T]] = []
        for thread, own in zip(self._threads, arguments, strict=True):
            started.append(thread.submit(function, *own))
            if function not in self._compiled:
                started[0].result()  # the first call compiles for all
                self._compiled.add(function)
        return [each.result() for each in started]

    def advance(
        self, advance_part: Callable[..., Any], states: Any, metrics: Any, data: Any, order: Any, steps: Any
    ) -> Any:
        """Returns what `Program.advance` does, given the function that does it for a part."""
        indices, counts, places = _dealt(np.asarray(steps), self.parts)
        parts = zip(_divide(states, indices), _divide((metrics, order), indices), counts, strict=True)
        jax.tree.map(lambda leaf: leaf.delete(), states)  # as donation does
        arguments = [(own, measured, data, examples, count) for own, (measured, examples), count in parts]
        return _join(self.call(advance_part, arguments), places)

    def divide(self, tree: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
        """Returns the parts of stacked arrays, and the function that puts arrays of all parts together again."""
        indices, _, places = _dealt(np.ones(self.members, np.int32), self.parts)
        return _divide(tree, indices), lambda trees: _join(trees, places)


@jax.jit
def _divide(tree: Any, indices: Int32[np.ndarray, "parts size"]) -> list[Any]:
    return [jax.tree.map(lambda leaf, own=own: leaf[own], tree) for own in indices]


@jax.jit
def _join(trees: list[Any], places: Int32[np.ndarray, " members"]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[places], *trees)


def _dealt(
    steps: Int32[np.ndarray, " members"], parts: int
) -> tuple[Int32[np.ndarray, "parts size"], Int32[np.ndarray, "parts size"], Int32[np.ndarray, " members"]]:
    """Deals out the members to the parts, those that make no steps last, so that all parts have about equal work.

    Returns:
      The members of each part, how many steps these make, and each member's place in all parts together. A part with
      too few members is filled up with one of another part, which makes no steps there.
    """
    members = len(steps)
    shape = math.ceil(members / parts), parts
    order = np.argsort(steps == 0, kind="stable").astype(np.int32)
    dealt = np.resize(order, shape).T  # by turns
    turns = np.arange(dealt.size).reshape(shape).T
    places = np.empty(members, np.int32)
    places[order] = np.arange(dealt.size).reshape(dealt.shape).T.ravel()[:members]
    return dealt, np.where(turns < members, steps[dealt], 0), places
