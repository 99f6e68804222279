"""Being asked to stop."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any, Protocol


class Stoppable(Protocol):
    """What looks from time to time whether it was asked to stop.

    Attributes:
      signal: the number of the signal that asked; None before.
    """

    signal: int | None


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Those that ask for a stop: Ctrl-C, a batch system, a terminal that is closed."""


@contextlib.contextmanager
def stopped_by_signals(work: Stoppable) -> Iterator[None]:
    """Turns the first SIGINT, SIGTERM or SIGHUP into a request to stop; the second acts at once.

    A signal that the process was started to ignore, as `nohup` does with SIGHUP, stays ignored.
    """

    def request(number: int, frame: FrameType | None) -> None:
        work.signal = number
        restore()
        with contextlib.suppress(OSError):  # the terminal may be gone; and print must not be called in here
            os.write(2, b"\nstopping after a checkpoint; once more to stop at once\n")

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous: dict[int, Any] = {}
    with contextlib.suppress(ValueError):  # this is not the main thread, which alone may handle signals
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.signal(number, request)
    try:
        yield
    finally:
        restore()
