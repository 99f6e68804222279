"""The loop over training steps, compiled or in Python."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Integer

from jaxopt_bench.training.code_path import CodePath
from jaxopt_bench.training.devices import shardings
from jaxopt_bench.training.population import update_members


def make_loop(step: Callable[[Any, Any, Any], Any], path: CodePath, members: int = 1) -> Callable[..., Any]:
    """Returns `advance(states, metrics, data, order, steps)`; see `Program.advance`.

    Args:
      step: `step(carry, data, order) -> carry` for one member. The carry is a state with its metrics.
      path: the code path.
      members: the number of members.
    """
    stacked, whole = shardings(path, members)
    compiled = functools.partial(
        jax.jit, donate_argnums=0, compiler_options=path.compiler_options(), out_shardings=stacked
    )

    @functools.partial(compiled, in_shardings=(stacked, stacked, whole, stacked, stacked))
    def advance(states: Any, metrics: Any, data: Any, order: Any, steps: Integer[Array, " members"]) -> Any:
        def several(carry: Any, order: Any, count: Integer[Array, ""], data: Any) -> Any:
            return jax.lax.fori_loop(0, count, lambda _, now: step(now, data, order), carry)

        if path.members == "vmap":  # with a count per member, every step would select between old and new values
            return update_members(several, path, members)((steps.max(), data), (states, metrics), order)
        return update_members(several, path, members)((data,), (states, metrics), order, steps)

    @functools.partial(compiled, in_shardings=(stacked, stacked, whole, stacked))
    def advance_by_one(states: Any, metrics: Any, data: Any, order: Any) -> Any:
        one = update_members(lambda carry, order, data: step(carry, data, order), path, members)
        return one((data,), (states, metrics), order)

    def advance_in_python(states: Any, metrics: Any, data: Any, order: Any, steps: Integer[Array, " members"]) -> Any:
        for _ in range(int(np.max(steps))):
            states, metrics = advance_by_one(states, metrics, data, order)
        return states, metrics

    return advance if path.loop == "compiled" else advance_in_python
