"""Members of a population that are trained at the same time, in threads: small networks use one core of a CPU each.

The members are divided into parts of equal size. Each part has a thread, in which its members take turns. All parts use
one compiled program. It computes a member as that of all members does, to the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int32

from jaxopt_bench.training.code_path import CodePath


def part_count(path: CodePath, members: int) -> int:
    """Returns into how many parts the members are divided."""
    return min(path.side_by_side or 1, members) if path.allows_side_by_side else 1


def part_size(path: CodePath, members: int) -> int:
    """Returns how many members a part has. The last parts may have fewer, and are filled up."""
    return math.ceil(members / part_count(path, members))


def in_threads(advance: Callable[..., Any], members: int, parts: int) -> Callable[..., Any]:
    """Returns `advance(states, metrics, data, order, steps)` of all members, made of that of a part.

    XLA runs programs that one thread starts one after the other, and those of several threads at the same time. Threads
    need not wait for their programs, so the function returns before the updates are made.

    Args:
      advance: of a part; see `Program.advance`.
      members: how many there are in all parts.
      parts: how many parts there are.
    """
    threads = [ThreadPoolExecutor(1, "part") for _ in range(parts)]
    compiled = False

    @jax.jit
    def divide(tree: Any, indices: Int32[np.ndarray, "parts size"]) -> list[Any]:
        return [jax.tree.map(lambda leaf, own=own: leaf[own], tree) for own in indices]

    @jax.jit
    def join(trees: list[Any], places: Int32[np.ndarray, " members"]) -> Any:
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[places], *trees)

    def advance_all(states: Any, metrics: Any, data: Any, order: Any, steps: Any) -> Any:
        nonlocal compiled
        indices, counts, places = _dealt(np.asarray(steps), parts)
        divided = divide((states, metrics, order), indices)
        jax.tree.map(lambda leaf: leaf.delete(), states)  # as donation does
        started = []
        for thread, own, count in zip(threads, divided, counts, strict=True):
            started.append(thread.submit(advance, *own[:2], data, own[2], count))
            if not compiled:
                started[0].result()  # the first call compiles for all
                compiled = True
        return join([each.result() for each in started], places)

    return advance_all


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
