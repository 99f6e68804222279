"""Ctrl-C on the command line: at any time it ends the process with one line of output and exit code 130.

Nothing heavy may be imported here: this module runs before everything else. Importing the package from Python changes
nothing.
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
"""Seconds that a command has to clean up after Ctrl-C. After that the process ends in any case."""
CODE = 128 + signal.SIGINT
"""The exit code after Ctrl-C."""

_SHOW_CURSOR = b"\x1b[?25h"


class _Process:
    """The state that determines how this process ends.

    Attributes:
      code: its exit code.
      message: the line that Ctrl-C prints.
      interrupted: whether Ctrl-C was pressed while a command ran.
      answered: whether this line, or a longer one, was printed.
    """

    code = 1
    message = "interrupted; nothing was started"
    interrupted = False
    answered = False


def install_interrupt_handlers() -> None:
    """Makes Ctrl-C end this process at once, and lets the process end without the interpreter's finalization.

    Threads of native libraries (JAX, TensorStore, Polars) still run during the interpreter's finalization, and can
    crash then. So the process ends as soon as all exit handlers of Python have run: the handler of this function is
    registered first, which makes it the last one to run.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # nohup and jobs of scripts ignore the signal
        signal.signal(signal.SIGINT, _leave_at_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # blocked while the process restarts itself
    sys.unraisablehook = _leave_if_interrupted
    atexit.register(_leave_without_finalization)


def set_exit_code(code: int) -> None:
    """Sets the exit code of this process."""
    _Process.code = code


@contextlib.contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Makes Ctrl-C raise KeyboardInterrupt in this block, so that a command can clean up; a second Ctrl-C ends at once.

    Libraries may swallow the exception or wrap it in another one, and cleaning up may hang: the process still ends
    after `GRACE` seconds. This function does nothing in a process in which `install_interrupt_handlers` was not called.

    Args:
      message: the line to print if this block, or the code after it, is interrupted.
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


def continue_after_interrupt() -> None:
    """Lets a command continue after Ctrl-C, with all its time; the next Ctrl-C interrupts it again."""
    if signal.getsignal(signal.SIGALRM) is _leave_at_once:  # only in a block of `interruptible`
        signal.alarm(0)
        signal.signal(signal.SIGINT, _interrupt)
    _Process.interrupted = False


def was_interrupted() -> bool:
    """Returns whether Ctrl-C was pressed while a command ran, no matter which exception followed."""
    return _Process.interrupted


def say(text: str) -> None:
    """Prints why the process ends; after that, Ctrl-C prints nothing more."""
    _Process.answered = True
    print(text, file=sys.stderr)


def say_interrupted() -> None:
    """Prints the line for Ctrl-C, unless it was printed already."""
    if not _Process.answered:
        say(_Process.message)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _Process.interrupted = True
    signal.signal(signal.SIGINT, _leave_at_once)
    signal.alarm(GRACE)
    raise KeyboardInterrupt


def _leave_at_once(number: int, frame: FrameType | None) -> NoReturn:
    """Ends the process immediately. Files are replaced atomically, so no file is left incomplete."""
    with contextlib.suppress(OSError):  # the reader of the output may be gone; and print is not safe in a handler
        if not _Process.answered:
            terminal = os.isatty(2) and os.environ.get("TERM") != "dumb"
            os.write(2, (_SHOW_CURSOR if terminal else b"") + b"\n" * os.isatty(2) + f"{_Process.message}\n".encode())
    os._exit(CODE)


def _leave_if_interrupted(unraisable: Any) -> None:
    """Ends the process if Python would print and drop a KeyboardInterrupt, as in a destructor or a callback.

    Other exceptions there come from libraries, such as TensorStore's after a failed write: --debug prints them.
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
