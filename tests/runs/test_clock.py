"""The clock of training: separate compilation time, laps, and one estimate for steps of any speed."""

from __future__ import annotations

import pytest

from jaxopt_bench.runs import clock as clock_module
from jaxopt_bench.runs.clock import Clock


class Time:
    """A clock that tests advance."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(clock_module, "time", time)
    return time


def take(clock: Clock, time: Time, steps: int, seconds: float, members: int = 1) -> None:
    clock.start(steps, members)
    time.now += seconds
    clock.stop()


def test_the_step_that_compiles_counts_in_the_seconds_and_not_in_the_speed(time):
    clock = Clock(batch_size=10)
    take(clock, time, 1, 30.0)
    assert clock.lap() == {"seconds": 30.0, "examples_per_second": None}
    take(clock, time, 4, 2.0)
    assert clock.lap() == {"seconds": 2.0, "examples_per_second": 20.0}
    assert clock.examples_per_second == 20.0


def test_a_lap_counts_the_members_that_made_its_steps(time):
    clock = Clock(batch_size=10)
    take(clock, time, 1, 30.0)
    clock.lap()
    take(clock, time, 2, 4.0, members=4)
    take(clock, time, 2, 3.0, members=3)
    clock.start(2, 1)  # the next chunk starts before the lap is read
    assert clock.lap() == {"seconds": 2.0, "examples_per_second": 20.0}


def test_slices_are_one_step_until_steps_are_timed_and_then_about_a_second(time):
    clock = Clock(batch_size=10)
    for seconds in (30.0, 0.125):
        assert clock.next_chunk_steps(50) == 1
        take(clock, time, 1, seconds)
    assert clock.next_chunk_steps(50) == 8
    assert clock.next_chunk_steps(7) == 7
    take(clock, time, 1, 5.0)
    assert clock.next_chunk_steps(50) == 1


def test_seconds_are_divided_among_members_and_speed_is_that_of_all(time):
    clock = Clock(batch_size=10)
    take(clock, time, 1, 30.0)
    clock.lap()
    clock.start(2, members=4)
    time.now += 8.0
    clock.stop()
    assert clock.lap() == {"seconds": 2.0, "examples_per_second": 10.0}


def test_one_long_step_is_enough_for_an_estimate(time):
    clock = Clock(batch_size=10)
    take(clock, time, 1, 30.0)  # with compilation
    assert not clock.first_estimate()
    take(clock, time, 1, 4.0)
    assert clock.first_estimate()


@pytest.mark.parametrize("seconds_per_step", [0.002, 0.3, 20.0])
def test_the_estimate_is_made_once_for_steps_of_any_speed(time, seconds_per_step):
    clock, estimates = Clock(batch_size=10), 0
    take(clock, time, 1, 30.0)
    for _ in range(100):
        take(clock, time, 5, 5 * seconds_per_step)
        clock.lap()
        estimates += clock.first_estimate()
    assert estimates == 1
