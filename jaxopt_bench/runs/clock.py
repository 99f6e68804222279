"""The stopwatch of a run."""

from __future__ import annotations

import time

SLICE_SECONDS = 1.0  # how long the display may stand still


class Clock:
    """Times slices of steps, the first of a process apart, since it compiles."""

    def __init__(self, batch_size: int):
        self.batch_size = batch_size
        self.members = 1
        self.seconds_per_step = 0.0
        self.compiled = self.estimated = False
        self.all_seconds, self.all_steps = 0.0, 0  # of this process, compilation apart
        self.seconds = 0.0  # of this lap, a member's share
        self.lap_seconds, self.lap_examples = 0.0, 0  # of this lap, compilation apart
        self.steps, self.began = 0, 0.0  # of the slice under way

    def start(self, steps: int, members: int = 1) -> None:
        """Begins to time a slice: so many steps of each of so many members."""
        self.steps, self.members, self.began = steps, members, time.perf_counter()

    def stop(self) -> None:
        """Ends the slice."""
        seconds = time.perf_counter() - self.began
        self.seconds += seconds / self.members
        if self.compiled:
            self.all_seconds, self.all_steps = self.all_seconds + seconds, self.all_steps + self.steps
            self.lap_seconds += seconds
            self.lap_examples += self.steps * self.batch_size * self.members
            self.seconds_per_step = seconds / self.steps
        self.compiled = True

    @property
    def examples_per_second(self) -> float:
        """The speed of the last slice, all members together."""
        return self.members * self.batch_size / self.seconds_per_step if self.seconds_per_step else 0.0

    def slice(self, limit: int) -> int:
        """Returns how many steps to make next: one, then as many as fit `SLICE_SECONDS`."""
        if not self.seconds_per_step:
            return 1
        return max(1, min(limit, round(SLICE_SECONDS / self.seconds_per_step)))

    def first_estimate(self) -> bool:
        """Returns True once, when enough steps were timed for an estimate."""
        enough = self.all_steps >= 3 and self.all_seconds > SLICE_SECONDS / 2
        first, self.estimated = enough and not self.estimated, self.estimated or enough
        return first

    def lap(self) -> dict[str, float | None]:
        """Returns a member's share of the seconds since the last lap, and the examples/s, all members together.

        Steps that compiled do not count in the speed.
        """
        speed = self.lap_examples / self.lap_seconds if self.lap_examples else None
        result = {"seconds": self.seconds, "examples_per_second": speed}
        self.seconds = self.lap_seconds = 0.0
        self.lap_examples = 0
        return result
