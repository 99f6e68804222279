"""Ctrl-C on the command line: at any instant it ends the process with one line and exit code 130.

Nothing heavy may be imported here: it runs before everything else. Importing the package from Python changes nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

GRACE = 10
"""Seconds that a command has to clean up after Ctrl-C. Then the process ends, whatever it waits for."""
CODE = 128 + signal.SIGINT
"""The exit code after Ctrl-C."""

_SHOW_CURSOR = b"\x1b[?25h"


class _Process:
    """What this process does when it ends.

    Attributes:
      code: its exit code.
      message: the line that Ctrl-C prints.
      interrupted: whether Ctrl-C was pressed while a command ran.
      answered: whether the line, or a longer one, was printed.
    """

    code = 1
    message = "interrupted; nothing was started"
    interrupted = False
    answered = False


def take_over() -> None:
    """Makes Ctrl-C end this process at once, and lets it end without the interpreter's finalization.

    Threads of native libraries (JAX, TensorStore, Polars) still run when the interpreter takes itself apart, and can
    crash then. So the process leaves once all exit handlers of Python have run: this one is registered first, which
    makes it the last.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # it is ignored below nohup and in scripts' jobs
        signal.signal(signal.SIGINT, _leave_at_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # blocked while the process restarts itself
    sys.unraisablehook = _leave_if_interrupted
    atexit.register(_leave_without_finalization)


def end_with(code: int) -> None:
    """Sets the exit code of this process."""
    _Process.code = code


@contextlib.contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Makes Ctrl-C raise KeyboardInterrupt in this block, so that a command can clean up; the second leaves at once.

    Libraries may swallow the exception or wrap it in another, and cleaning up may hang: the process ends after `GRACE`
    seconds all the same. Does nothing in a process that `take_over` was not called in.

    Args:
      message: the line to print when this block, or what follows it, is interrupted.
    """
    if signal.getsignal(signal.SIGINT) is not _leave_at_once:
        yield
        return
    _Process.message = message
    signal.signal(signal.SIGALRM, _leave_at_once)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, _leave_at_once)


def was_interrupted() -> bool:
    """Returns whether Ctrl-C was pressed while a command ran, whatever exception came of it."""
    return _Process.interrupted


def say(text: str) -> None:
    """Prints why the process ends; Ctrl-C prints nothing more then."""
    _Process.answered = True
    print(text, file=sys.stderr)


def say_interrupted() -> None:
    """Prints the line of Ctrl-C, unless it was printed."""
    if not _Process.answered:
        say(_Process.message)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _Process.interrupted = True
    signal.signal(signal.SIGINT, _leave_at_once)
    signal.alarm(GRACE)
    raise KeyboardInterrupt


def _leave_at_once(number: int, frame: FrameType | None) -> NoReturn:
    """Ends the process in the middle of whatever it does. Files are replaced whole, so none is left half-written."""
    with contextlib.suppress(OSError):  # whoever read the output may be gone; and print is not safe in a handler
        if not _Process.answered:
            terminal = os.isatty(2) and os.environ.get("TERM") != "dumb"
            os.write(2, (_SHOW_CURSOR if terminal else b"") + b"\n" * os.isatty(2) + f"{_Process.message}\n".encode())
    os._exit(CODE)


def _leave_if_interrupted(unraisable: Any) -> None:
    """Ends the process where Python would print and drop a KeyboardInterrupt, as in a destructor or a callback.

    Other exceptions there are the libraries' own, such as TensorStore's after a failed write: --debug prints them.
    """
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        _leave_at_once(signal.SIGINT, None)
    if "--debug" in sys.argv:
        sys.__unraisablehook__(unraisable)


def _leave_without_finalization() -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # it is closed, or cannot be written to
            stream.flush()
    os._exit(_Process.code)
