"""The stopwatch of a run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

SLICE_SECONDS = 1.0  # how long the display may stand still


class Clock:
    """Times steps, the first of a process apart, since it compiles."""

    def __init__(self, batch_size: int):
        self.batch_size = batch_size
        self.seconds_per_step = 0.0
        self.compiled = self.estimated = False
        self.all_seconds, self.all_steps = 0.0, 0  # of this process, compilation apart
        self.seconds = 0.0  # of this lap
        self.lap_seconds, self.lap_steps = 0.0, 0  # of this lap, compilation apart

    @contextlib.contextmanager
    def measuring(self, steps: int) -> Iterator[None]:
        """Times the steps made inside."""
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        self.seconds += seconds
        if self.compiled:
            self.all_seconds, self.all_steps = self.all_seconds + seconds, self.all_steps + steps
            self.lap_seconds, self.lap_steps = self.lap_seconds + seconds, self.lap_steps + steps
            self.seconds_per_step = seconds / steps
        self.compiled = True

    @property
    def images_per_second(self) -> float:
        """The speed of the last slice."""
        return self.batch_size / self.seconds_per_step if self.seconds_per_step else 0.0

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
        """Returns the seconds since the last lap, and the images/s of those steps that did not compile."""
        speed = self.lap_steps * self.batch_size / self.lap_seconds if self.lap_steps else None
        result = {"seconds": self.seconds, "images_per_second": speed}
        self.seconds = self.lap_seconds = 0.0
        self.lap_steps = 0
        return result
