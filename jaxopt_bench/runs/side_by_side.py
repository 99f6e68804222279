"""How many members train at the same time: measured when a population starts, and kept when it is resumed."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_bench.problems import Examples
from jaxopt_bench.runs.environment import thread_count
from jaxopt_bench.runs.population import Population
from jaxopt_bench.runs.restore import Start
from jaxopt_bench.training import Program, copied, part_size

WORTHWHILE = 1.1  # the speedup that threads must reach, since they need more memory
ROUNDS, BLOCK_SECONDS, LONGEST_SECONDS = 4, 0.1, 5.0
SHARE_OF_TRAINING = 0.05  # the approximate share of the training time that a measurement may take


def choose_side_by_side(
    population: Population, start: Start, data: Examples, log_every: int
) -> tuple[Population, Program]:
    """Returns the population and its program, with a code path that fixes how many members train at the same time.

    If the population continues, it keeps the recorded choice. If it starts, the choice is measured on copies of its
    states: either one member per thread at the same time, or one member after the other.

    Args:
      population: a population whose code path leaves the choice open.
      start: the step and the states from which training starts.
      data: the training split.
      log_every: the number of steps after which all members are needed together.
    """
    path, members = population.task.code_path, len(population.members)
    in_turn = population.side_by_side(1)
    if start.step:
        kept = with_recorded_threads(population)
        return kept, Program(kept.task, members)
    threads = min(thread_count(), members)
    if threads > 1 and path.allows_side_by_side:
        together = population.side_by_side(threads)
        program = Program(together.task, members)
        if _speedup(program, start, data, log_every) >= WORTHWHILE:
            return together, program
    return in_turn, Program(in_turn.task, members)


def with_recorded_threads(population: Population) -> Population:
    """Returns the population with the number of threads in the files of its first active member; 1 if there is none.

    If the code path has a number already, the population is returned unchanged.
    """
    if population.task.code_path.side_by_side is not None:
        return population
    environments = (population.active[0].entry.config or {}).get("environments", [{}])
    return population.side_by_side(environments[-1].get("code_path", {}).get("side_by_side") or 1)


def _speedup(program: Program, start: Start, data: Examples, log_every: int) -> float:
    """Returns the speedup of training all members side by side, compared to training them one after the other.

    At most one member per thread is trained here. The time for starting the threads and for joining the members' arrays
    counts against the threads. The shortest of several rounds is used, as other programs can only make a round slower.

    Args:
      program: trains members side by side.
      start: see `choose_side_by_side`, as for the other arguments.
      data: the training split.
      log_every: the number of steps after which all members are needed together.
    """
    count, threads = program.members, program.task.code_path.side_by_side or 1
    turns = part_size(program.task.code_path, count)
    copy = copied({"state": start.states, "metrics": start.metrics})  # has the structure of a checkpoint: compiled once
    states, metrics = copy["state"], copy["metrics"]
    order = program.epoch_permutations(states.seed, 0)

    def timed(members: int, steps: int) -> float:
        nonlocal states, metrics
        began = time.perf_counter()
        counts = jnp.asarray(np.where(np.arange(count) < members, steps, 0), jnp.int32)
        states, metrics = program.advance(states, metrics, data, order, counts)
        jax.block_until_ready((states, metrics))
        return time.perf_counter() - began

    timed(threads, 1)  # compiles
    began = time.perf_counter()
    without_steps = min(timed(0, 0) for _ in range(ROUNDS))
    most = round(SHARE_OF_TRAINING * program.task.steps * count / (2 * ROUNDS))
    steps = 1
    while 3 * steps <= most and timed(1, steps) - without_steps < BLOCK_SECONDS / 2:
        steps *= 3
    rounds = [(timed(1, steps), timed(threads, steps))]
    while len(rounds) < ROUNDS and time.perf_counter() - began < LONGEST_SECONDS:
        rounds.append((timed(1, steps), timed(threads, steps)))
    alone, together = (max(min(seconds) - without_steps, 1e-6) for seconds in zip(*rounds, strict=True))
    return count * alone / (turns * together + without_steps * steps / log_every)
