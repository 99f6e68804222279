"""A reporter that interrupts training at a chosen step, like Ctrl-C or a batch system."""

from __future__ import annotations

import os
import signal

from jaxopt_bench.runs import Reporter


class StoppedAt(Reporter):
    """Sends SIGTERM to its own process, once, when the run reaches a step."""

    def __init__(self, step: int | None):
        """Args: the step; None for never."""
        self.step = step

    def advance(self, step: int, examples_per_second: float, seconds_left: float) -> None:
        """See `Reporter`."""
        if self.step is not None and step >= self.step:
            self.step = None
            os.kill(os.getpid(), signal.SIGTERM)
