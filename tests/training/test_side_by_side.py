"""Members side by side: threads that train parts of the members at the same time, and the number of threads."""

from __future__ import annotations

import dataclasses
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.training import CodePath, Program, Task, choose_code_path
from jaxopt_bench.training.code_path import LAYERS, SIDE_BY_SIDE
from jaxopt_bench.training.side_by_side import Threads
from tests.tasks import changed, drawn_images, task_on

MAP = CodePath("pure", "compiled", "map")


def test_all_parts_are_computed_at_the_same_time():
    """Within the compiled program, each of three parts waits until the other two have reached the same point.

    The first call (data is 0) does not wait, because in it one thread compiles the program for all.
    """
    all_there = threading.Barrier(3, timeout=60)

    @jax.jit
    def advance(states, metrics, data, order, steps):
        meet = lambda data: np.int32(not data or all_there.wait() < 3)  # noqa: E731
        met = jax.pure_callback(meet, jax.ShapeDtypeStruct((), jnp.int32), data)
        return states + met * steps, metrics + data * order

    threads = Threads(members=10, parts=3)
    states, metrics, order = jnp.arange(10), jnp.zeros(10), jnp.arange(10)
    steps = jnp.array([5, 0, 0, 0, 7, 1, 0, 2, 3, 4])
    states, metrics = threads.advance(advance, states, metrics, jnp.float32(0), order, steps)
    assert states.tolist() == [5, 1, 2, 3, 11, 6, 6, 9, 11, 13]
    states, metrics = threads.advance(advance, states, metrics, jnp.float32(2), order, steps)
    assert states.tolist() == [10, 1, 2, 3, 18, 7, 6, 11, 14, 17]
    assert metrics.tolist() == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]


def test_members_that_make_steps_are_divided_evenly_among_the_threads():
    """Four of ten members make steps. Each of two threads trains two of them, for any indices of the four."""
    busy = []

    def advance(states, metrics, data, order, steps):
        busy.append(int(np.count_nonzero(steps)))
        return states, metrics

    for moving in ([0, 1, 2, 3], [6, 7, 8, 9], [0, 2, 4, 6]):
        steps = np.zeros(10, np.int32)
        steps[moving] = 5
        Threads(10, 2).advance(advance, jnp.zeros(10), jnp.zeros(10), None, jnp.zeros(10), jnp.asarray(steps))
    assert busy == [2, 2] * 3


@pytest.fixture
def task(tiny) -> Task:
    return task_on(changed(tiny, batch_size=16), 96, code_path=MAP)


def test_threads_need_more_memory_than_members_that_take_turns(task):
    """Each thread needs the memory of a program for its part, but the threads share the examples."""
    data = drawn_images(96)
    examples = sum(leaf.nbytes for leaf in jax.tree.leaves(data))
    in_turn, half = (Program(task, members).needed_bytes(data) for members in (4, 2))
    together = Program(task.side_by_side(2), 4).needed_bytes(data)
    assert in_turn < 2 * half - examples < together < 2 * in_turn


def test_the_number_of_threads_is_measured_on_cpu_and_1_on_other_backends(monkeypatch):
    monkeypatch.delenv(SIDE_BY_SIDE, raising=False)
    monkeypatch.delenv(LAYERS, raising=False)
    assert choose_code_path("cpu").side_by_side is None
    assert [choose_code_path(backend).side_by_side for backend in ("gpu", "tpu", "METAL")] == [1, 1, 1]
    monkeypatch.setenv(LAYERS, "plain")  # Python calls every step
    assert choose_code_path("cpu").side_by_side == 1


def test_the_environment_variable_sets_the_number_of_threads(monkeypatch):
    monkeypatch.delenv(LAYERS, raising=False)
    for named, expected in (("1", 1), ("3", 3), ("", None)):
        monkeypatch.setenv(SIDE_BY_SIDE, named)
        assert choose_code_path("cpu").side_by_side == expected


@pytest.mark.parametrize(
    ("named", "backend", "message"),
    [
        ("0", "cpu", "JAXOPT_BENCH_SIDE_BY_SIDE is '0'. Expected an integer of 1 or more"),
        ("many", "cpu", "JAXOPT_BENCH_SIDE_BY_SIDE is 'many'. Expected an integer of 1 or more"),
        ("2", "gpu", "JAXOPT_BENCH_SIDE_BY_SIDE is '2'. Expected 1: only compiled loops on a single CPU device"),
    ],
)
def test_invalid_numbers_of_threads_are_refused(monkeypatch, named, backend, message):
    monkeypatch.setenv(SIDE_BY_SIDE, named)
    with pytest.raises(UserError, match=message):
        choose_code_path(backend)
    with pytest.raises(UserError, match=r"CodePath\.side_by_side"):
        dataclasses.replace(MAP, side_by_side=0)
