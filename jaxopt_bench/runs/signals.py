"""Signals that ask a process to stop, and the exceptions that follow."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, Protocol, TypeVar

from jaxopt_bench.runs.processes import max_signal_over_processes

T = TypeVar("T")


class Interrupted(KeyboardInterrupt):
    """A run or a study was asked to stop, and stopped. If a run had made steps, they are in a checkpoint.

    Like Python's own `KeyboardInterrupt`, it is not caught by `except Exception`.

    Attributes:
      signal: the signal's number.
      path: the directory of the run or the population, or the folder of the study.
      step: the step of the last checkpoint; 0 if there is none; None for a study.
      fresh: whether the run was started with --fresh, so that the same command would start another run.
    """

    def __init__(self, number: int, path: pathlib.Path, step: int | None = None, fresh: bool = False):
        super().__init__(number, path, step, fresh)  # pickle reconstructs the exception from these arguments
        self.signal, self.path, self.step, self.fresh = number, path, step, fresh

    def __str__(self) -> str:
        target = f"{self.path}" if self.step is None else f"{self.path} from step {self.step:,}"
        return f"{describe_resuming(self.fresh)} to resume {target}."


def describe_resuming(fresh: bool) -> str:
    """Returns the beginning of the message about interrupted training: the command that resumes it."""
    return f"interrupted. Run the same command{' (without --fresh)' if fresh else ''}"


class WorkStopped(Exception):  # noqa: N818 (it was asked for)
    """Some work is unfinished, because the process was asked to stop."""


class Stoppable(Protocol):
    """Work that checks regularly whether it was asked to stop.

    Attributes:
      signal: the number of the signal that asked it to stop; None before.
    """

    signal: int | None


class StopRequest:
    """Whether this process, or another process of the same training, was asked to stop.

    Attributes:
      signal: the number of the signal that this process received; None before.
      any_signal: the number of the signal that this process or another had received at the last call of `requested`;
        None if there was none.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.any_signal: int | None = None

    def requested(self) -> bool:
        """Returns whether a stop was requested. With several processes, all must call this at the same time."""
        self.any_signal = max_signal_over_processes(self.signal)
        return self.any_signal is not None

    def until_requested(self, items: Iterable[T]) -> Iterator[T]:
        """Yields the items; after a request to stop, it raises `WorkStopped` instead of yielding the next one."""
        for item in items:
            if self.requested():
                raise WorkStopped
            yield item


STOPPING = "stopping after the next checkpoint; press Ctrl-C again to stop at once"
NOTICES: list[Callable[[str], None]] = []
"""Functions that show a message on a display. A signal handler calls the last one."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that ask for a stop: from Ctrl-C, from a batch system, or from closing a terminal."""


@contextlib.contextmanager
def handle_stop_signals(work: Stoppable) -> Iterator[None]:
    """Turns the first SIGINT, SIGTERM or SIGHUP into a request to stop. The second one has its usual effect.

    If the process was started with a signal ignored, as `nohup` does with SIGHUP, that signal stays ignored. In a
    thread other than the main thread this function changes nothing, because Python handles signals only there.
    """

    def request(number: int, frame: FrameType | None) -> None:
        work.signal = number
        restore()
        if NOTICES:
            NOTICES[-1](STOPPING)
            return
        with contextlib.suppress(OSError):  # the terminal may be closed; and print is not allowed in a handler
            os.write(2, f"\n{STOPPING}\n".encode())

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous: dict[int, Any] = {}
    with contextlib.suppress(ValueError):  # this is not the main thread; only the main thread may handle signals
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.signal(number, request)
    try:
        yield
    finally:
        restore()
