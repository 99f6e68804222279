"""Keeps problems with the output (a closed pipe, a limited encoding, library logs) from stopping a command."""

from __future__ import annotations

import codecs
import errno
import io
import logging
import os
import pathlib
import re
import sys
from typing import Any

from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.files import replacing

LIBRARIES = ("absl", "asyncio", "etils", "orbax", "tensorstore")
"""Loggers with messages for developers. The message of an error already contains the information that users need."""

STANDARD_OUTPUT = pathlib.Path("-")
"""The path that stands for standard output in flags for files."""

REPLACE = "jaxopt_bench"
"""The name of the error handler that replaces characters which an encoding does not have."""

_ASCII = {
    "─": "-", "━": "-", "│": "|", "┃": "|", "●": "o", "★": "*", "○": "o", "×": "x", "−": "-", "–": "-", "—": "-",
    "±": "+-", "…": "...", "≤": "<=", "≥": ">=", "•": "*", "’": "'", "‘": "'", "“": '"', "”": '"',
}  # fmt: skip
_GONE = (errno.EPIPE, errno.EIO)  # the reader of the pipe has gone, or the terminal was closed


class _Output(io.FileIO):
    """A file descriptor whose writes never raise.

    Attributes:
      error: the error of the first write that failed for any reason except a missing reader; None if there was none.
    """

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Writes data, or drops them if they cannot be written."""
        try:
            return super().write(data)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno not in _GONE and self.error is None:
                self.error = error
            return memoryview(data).nbytes


def prepare_output(debug: bool) -> None:
    """Prepares the output of this process. A command calls this before it prints anything.

    If the output is closed or cannot be written, the command continues without it. Characters that the encoding does
    not have are replaced.

    Args:
      debug: whether to show the logs of libraries.
    """
    codecs.register_error(REPLACE, _replace_characters)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):  # None if it was closed
            setattr(sys, name, _wrap_stream(stream))
    _ignore_useless_sizes()
    if not debug:
        _quiet_libraries()


def _wrap_stream(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(stream.fileno(), "wb", closefd=False)),
        encoding=stream.encoding,
        errors=REPLACE,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def output_error() -> OSError | None:
    """Flushes standard output. Returns the error if it could not be written, and None if it could."""
    if not isinstance(sys.stdout, io.TextIOWrapper):
        return None
    sys.stdout.flush()
    raw = getattr(sys.stdout.buffer, "raw", None)
    return raw.error if isinstance(raw, _Output) else None


def check_output_file(path: pathlib.Path) -> None:
    """Raises an error if a file cannot be written because its folder does not exist."""
    if not os.path.isdir(path.parent):
        raise UserError(f"{shortened(str(path.parent))} is not a folder. Expected a file in an existing folder.")


def write_output(path: pathlib.Path, content: bytes) -> None:
    """Writes a file that the user named; `-` is standard output."""
    if path == STANDARD_OUTPUT:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    with replacing(path) as (file, _):
        file.write(content)


def _replace_characters(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = "".join(_ASCII.get(character, "?") for character in error.object[error.start : error.end])
    return text, error.end


def _ignore_useless_sizes() -> None:
    """Removes unusable widths, such as COLUMNS=0, with which Rich prints nothing and tyro hangs."""
    width = os.environ.get("COLUMNS")
    if width is not None and not re.fullmatch("[2-9][0-9]|[1-9][0-9]{2,4}", width):
        del os.environ["COLUMNS"]


def _quiet_libraries() -> None:
    """Hides the logs of libraries. JAX's warnings are shown, each in one line."""
    for name in LIBRARIES:
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
    own = logging.StreamHandler()
    own.setLevel(logging.WARNING)
    own.setFormatter(_OneLine())
    jax = logging.getLogger("jax")
    jax.addHandler(own)
    jax.propagate = False


class _OneLine(logging.Formatter):
    """The message of a record, without its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the first line of the message."""
        return f"warning: {(record.getMessage().splitlines() or [''])[0][:500]}"
