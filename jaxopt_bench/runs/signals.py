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


@contextlib.contextmanager
def stopped_by_signals(work: Stoppable) -> Iterator[None]:
    """Turns the first SIGINT or SIGTERM into a request to stop; the second acts at once."""

    def request(number: int, frame: FrameType | None) -> None:
        work.signal = number
        restore()
        with contextlib.suppress(OSError):  # whoever read the output may be gone; and print is not safe in here
            os.write(2, b"\nstopping after a checkpoint; once more to stop at once\n")

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous: dict[int, Any] = {}
    with contextlib.suppress(ValueError):  # not the main thread: signals are its affair
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, request)
    try:
        yield
    finally:
        restore()
