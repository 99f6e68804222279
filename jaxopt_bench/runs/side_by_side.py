"""How many members of a population are trained at the same time: measured when it begins, kept when it is resumed."""

from __future__ import annotations

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_bench.problems import Examples
from jaxopt_bench.runs.environment import thread_count
from jaxopt_bench.runs.population import Population
from jaxopt_bench.runs.restore import Start
from jaxopt_bench.training import Program

WORTHWHILE = 1.1  # how many times as fast threads must be, since they need more memory
BLOCK_SECONDS, LONGEST_SECONDS, ROUNDS = 0.03, 5.0, 5
SHARE_OF_STEPS = 0.01  # of the training, that a block may have


def choose_side_by_side(population: Population, start: Start, data: Examples) -> Population:
    """Returns the population with a code path that says how many members are trained at the same time.

    If its code path says so already, or members cannot be trained so, nothing changes. If it continues, it keeps what
    is recorded. If it begins, the choice is measured on copies of its states: as many members at the same time as there
    are threads, or one after the other.

    Args:
      population: of which the first active member's record is read.
      start: where training starts.
      data: the training split.
    """
    if population.task.code_path.side_by_side is not None:
        return population
    if start.step:
        environments = (population.active[0].entry.config or {}).get("environments", [{}])
        return population.side_by_side(environments[-1].get("code_path", {}).get("side_by_side") or 1)
    possible = population.task.code_path.allows_side_by_side
    threads = min(thread_count(), len(population.members)) if possible else 1
    if threads == 1:
        return population.side_by_side(1)
    together = population.side_by_side(threads)
    return together if _speedup(together, start, data) >= WORTHWHILE else population.side_by_side(1)


def _speedup(population: Population, start: Start, data: Examples) -> float:
    """Returns how many times as fast a member of each thread is trained by all threads as by one after the other."""
    count, threads = len(population.members), population.task.code_path.side_by_side or 1
    program = Program(population.task, count)
    states, metrics = jax.tree.map(jnp.copy, (start.states, start.metrics))
    order = program.epoch_orders(states.seed, 0)

    def timed(members: int, steps: int) -> float:
        nonlocal states, metrics
        began = time.perf_counter()
        counts = jnp.asarray(np.where(np.arange(count) < members, steps, 0), jnp.int32)
        states, metrics = program.advance(states, metrics, data, order, counts)
        jax.block_until_ready((states, metrics))
        return time.perf_counter() - began

    began = time.perf_counter()
    timed(1, 1)  # compiles
    most = max(1, round(SHARE_OF_STEPS * population.task.steps))
    steps = max(1, min(most, round(BLOCK_SECONDS / timed(1, 1))))
    ratios = []
    while len(ratios) < ROUNDS and (not ratios or time.perf_counter() - began < LONGEST_SECONDS):
        ratios.append(threads * timed(1, steps) / timed(threads, steps))
    return statistics.median(ratios)
