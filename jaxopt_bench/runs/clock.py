"""The stopwatch of a run."""

from __future__ import annotations

import time

CHUNK_SECONDS = 1.0  # the longest time between two updates of the display
LONG_SECONDS = 2.0  # after this time, fewer than three steps are enough for an estimate


class Clock:
    """Times chunks of steps. The first chunk of a process is timed separately, because it includes compilation."""

    def __init__(self, batch_size: int):
        self.batch_size = batch_size
        self.members = 1
        self.seconds_per_step = 0.0
        self.compiled = self.estimated = False
        self.all_seconds, self.all_steps = 0.0, 0  # of this process, without compilation
        self.seconds = 0.0  # of this lap, one member's share
        self.lap_seconds, self.lap_examples = 0.0, 0  # of this lap, without compilation
        self.steps, self.began = 0, 0.0  # of the current chunk

    def start(self, steps: int, members: int = 1) -> None:
        """Starts to time a chunk of `steps` steps for each of `members` members."""
        self.steps, self.members, self.began = steps, members, time.perf_counter()

    def stop(self) -> None:
        """Ends the chunk."""
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
        """The speed of the last chunk, for all members together."""
        return self.members * self.batch_size / self.seconds_per_step if self.seconds_per_step else 0.0

    def next_chunk_steps(self, limit: int) -> int:
        """Returns the number of steps of the next chunk: as many as fit into `CHUNK_SECONDS`, from 1 to `limit`.

        It is 1 until a chunk without compilation has been timed.
        """
        if not self.seconds_per_step:
            return 1
        return max(1, min(limit, round(CHUNK_SECONDS / self.seconds_per_step)))

    def first_estimate(self) -> bool:
        """Returns True once: when enough steps have been timed for an estimate."""
        enough = self.all_seconds > CHUNK_SECONDS / 2 and (self.all_steps >= 3 or self.all_seconds > LONG_SECONDS)
        first, self.estimated = enough and not self.estimated, self.estimated or enough
        return first

    def lap(self) -> dict[str, float | None]:
        """Returns a member's share of the seconds since the last lap, and the examples/s of all members together.

        Chunks that include compilation do not count in the speed.
        """
        speed = self.lap_examples / self.lap_seconds if self.lap_examples else None
        result = {"seconds": self.seconds, "examples_per_second": speed}
        self.seconds = self.lap_seconds = 0.0
        self.lap_examples = 0
        return result
