"""Signals that ask a process to stop, and the exceptions that follow."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, Protocol, TypeVar

from jaxopt_bench.runs.processes import heard_by_any

T = TypeVar("T")


class Interrupted(KeyboardInterrupt):
    """A run, or a study, was asked to stop, and did so after writing a checkpoint.

    As for Python's own `KeyboardInterrupt`, `except Exception` does not catch it.

    Attributes:
      signal: the signal's number.
    """

    def __init__(self, number: int, path: pathlib.Path, step: int | None = None):
        super().__init__(number, path, step)  # pickle makes the exception of these again
        self.signal, self.path, self.step = number, path, step

    def __str__(self) -> str:
        target = f"{self.path}" if self.step is None else f"{self.path} from step {self.step:,}"
        return f"interrupted. Run the same command (without --fresh) to resume {target}."


class Unfinished(Exception):  # noqa: N818 (it was asked for)
    """Some work was left unfinished, since the process was asked to stop."""


class Stoppable(Protocol):
    """Work that checks from time to time whether it was asked to stop.

    Attributes:
      signal: the number of the signal that asked; None before.
    """

    signal: int | None


class StopRequest:
    """Whether this process, or one that it trains with, was asked to stop.

    Attributes:
      signal: the number of the signal that this process received; None before.
      any_signal: the number of the signal that this process or another received, at the last call of `requested`;
        None if none did.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.any_signal: int | None = None

    def requested(self) -> bool:
        """Returns whether a stop was requested. With several processes, all must ask at the same time."""
        self.any_signal = heard_by_any(self.signal)
        return self.any_signal is not None

    def until_requested(self, items: Iterable[T]) -> Iterator[T]:
        """Yields items, and raises `Unfinished` instead of the next one after a request."""
        for item in items:
            if self.requested():
                raise Unfinished
            yield item


STOPPING = "stopping after a checkpoint; once more to stop at once"
NOTICES: list[Callable[[str], None]] = []
"""Displays of a terminal. The last one shows what a handler of signals has to say. It is called within the handler."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Those that ask for a stop: Ctrl-C, a batch system, a terminal that is closed."""


@contextlib.contextmanager
def stopped_by_signals(work: Stoppable) -> Iterator[None]:
    """Turns the first SIGINT, SIGTERM or SIGHUP into a request to stop. The second one has its usual effect.

    A signal that the process was started to ignore, as `nohup` does with SIGHUP, stays ignored.
    """

    def request(number: int, frame: FrameType | None) -> None:
        work.signal = number
        restore()
        if NOTICES:
            NOTICES[-1](STOPPING)
            return
        with contextlib.suppress(OSError):  # the terminal may be gone; and print must not be called in here
            os.write(2, f"\n{STOPPING}\n".encode())

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous: dict[int, Any] = {}
    with contextlib.suppress(ValueError):  # this is not the main thread, and only that one may handle signals
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.signal(number, request)
    try:
        yield
    finally:
        restore()
