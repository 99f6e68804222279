"""Alternating measurement: contenders alternate in short blocks, so that disturbances of the machine affect all."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol


class Contender(Protocol):
    """An object that makes steps of training, or updates alone."""

    def run(self, steps: int) -> None:
        """Makes the given number of steps, and returns when the device has finished them."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """The duration of a measurement.

    Attributes:
      rounds: number of measured blocks of each contender.
      block_seconds: the intended duration of a block. A block has at least one step.
      warmup: number of blocks of each contender before the measured blocks.
    """

    rounds: int
    block_seconds: float
    warmup: int = 1


@dataclasses.dataclass(frozen=True)
class Spread:
    """A median with its quartiles."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """Returns the median and the quartiles of samples, interpolated linearly between them."""
        if len(samples) == 1:
            return cls(samples[0], samples[0], samples[0])
        lower, median, upper = statistics.quantiles(samples, n=4, method="inclusive")
        return cls(median, lower, upper)

    def fields(self, name: str) -> dict[str, float | list[float]]:
        """Returns two fields of a row: the median under `name`, and the quartiles."""
        return {name: self.median, f"{name}_quartiles": [self.lower, self.upper]}


@dataclasses.dataclass(frozen=True)
class Timing:
    """The measured times of one contender.

    Attributes:
      steps: number of steps in each block.
      seconds: seconds per step in each round.
    """

    steps: int
    seconds: tuple[float, ...]

    def per_second(self, count: int) -> Spread:
        """Returns the number of items per second, if each step handles `count` items."""
        return Spread.of([count / seconds for seconds in self.seconds])

    def milliseconds(self) -> Spread:
        """Returns the milliseconds per step."""
        return Spread.of([1e3 * seconds for seconds in self.seconds])


def alternate(
    contenders: Mapping[str, Contender], plan: Plan, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Timing]:
    """Returns the seconds per step of each contender, measured in alternating blocks.

    Every second round has the reverse order, so that a drift within a round does not favour a contender.
    """
    steps = {name: steps_per_block(contender, plan.block_seconds, clock) for name, contender in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(-plan.warmup, plan.rounds):
        for name in sorted(contenders, key=list(contenders).index, reverse=turn % 2 == 1):
            settle(contenders[name])
            began = clock()
            contenders[name].run(steps[name])
            if turn >= 0:
                seconds[name].append((clock() - began) / steps[name])
    return {name: Timing(steps[name], tuple(seconds[name])) for name in contenders}


def settle(contender: Contender) -> None:
    """Lets a contender use up the work that it did between its blocks, so that its steady state is measured."""
    if hasattr(contender, "settle"):
        contender.settle()


def steps_per_block(contender: Contender, block_seconds: float, clock: Callable[[], float]) -> int:
    """Returns the number of steps that take about one block. The first step, which compiles, is not timed."""
    contender.run(1)
    steps = 1
    while True:
        settle(contender)
        began = clock()
        contender.run(steps)
        seconds = clock() - began
        if seconds >= block_seconds / 4:
            return max(1, round(steps * block_seconds / seconds))
        steps *= 4


def ratio(ones: Timing, others: Timing) -> Spread:
    """Returns the speed of one contender relative to another: the spread of the ratios in the rounds."""
    return Spread.of([other / one for one, other in zip(ones.seconds, others.seconds, strict=True)])


def fastest(timings: Mapping[str, Timing]) -> str:
    """Returns the name of the contender with the shortest median step."""
    return min(timings, key=lambda name: statistics.median(timings[name].seconds))
