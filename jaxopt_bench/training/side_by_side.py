"""Members of a population that threads train at the same time, since a small network uses only one core of a CPU.

The members are divided into parts of equal size. Each part has a thread, in which its members take turns. All parts use
one compiled program. Its results are bit-identical to those of a program for all members.
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
    """Returns the number of parts into which the members are divided."""
    return min(path.side_by_side or 1, members) if path.allows_side_by_side else 1


def part_size(path: CodePath, members: int) -> int:
    """Returns the number of members in a part. Parts with fewer members are filled up."""
    return math.ceil(members / part_count(path, members))


class Threads:
    """A thread for each part of the members.

    XLA runs programs from one thread one after the other, and programs from several threads at the same time. Threads
    do not wait for their programs, so results may still be in progress when they are returned.
    """

    def __init__(self, members: int, parts: int):
        self.members, self.parts = members, parts
        self._threads = [ThreadPoolExecutor(1, "part") for _ in range(parts)]
        self._compiled: set[Callable[..., Any]] = set()

    def call(self, function: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> list[T]:
        """Returns the results of a compiled function for the arguments of each part, each computed by its thread."""
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
        """Does the same as `Program.advance`, given the function that does it for a part."""
        indices, counts, places = _dealt(np.asarray(steps), self.parts)
        parts = zip(_divide(states, indices), _divide((metrics, order), indices), counts, strict=True)
        jax.tree.map(lambda leaf: leaf.delete(), states)  # donation has the same effect
        arguments = [(own, measured, data, examples, count) for own, (measured, examples), count in parts]
        return _join(self.call(advance_part, arguments), places)

    def divide(self, tree: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
        """Returns the parts of stacked arrays, and the function that joins arrays of all parts in the old order."""
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
    """Distributes the members to the parts, so that all parts have about equal work. Members without steps come last.

    Returns:
      The members of each part, their numbers of steps, and each member's index in the concatenation of all parts. A
      part with too few members is filled up with members of other parts, which make no steps there.
    """
    members = len(steps)
    shape = math.ceil(members / parts), parts
    order = np.argsort(steps == 0, kind="stable").astype(np.int32)
    dealt = np.resize(order, shape).T  # round robin
    turns = np.arange(dealt.size).reshape(shape).T
    places = np.empty(members, np.int32)
    places[order] = np.arange(dealt.size).reshape(dealt.shape).T.ravel()[:members]
    return dealt, np.where(turns < members, steps[dealt], 0), places
