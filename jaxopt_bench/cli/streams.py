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
"""Loggers whose messages are for developers. What they report of an error, the error's own message says."""

STANDARD_OUTPUT = pathlib.Path("-")
"""What stands for standard output where a file can be named."""

REPLACE = "jaxopt_bench"
"""The name of our way to replace characters that an encoding lacks."""

_ASCII = {
    "─": "-", "━": "-", "│": "|", "┃": "|", "●": "o", "★": "*", "○": "o", "×": "x", "−": "-", "–": "-", "—": "-",
    "±": "+-", "…": "...", "≤": "<=", "≥": ">=", "•": "*", "’": "'", "‘": "'", "“": '"', "”": '"',
}  # fmt: skip
_GONE = (errno.EPIPE, errno.EIO)  # nobody reads the pipe, or the terminal was closed


class _Output(io.FileIO):
    """A file descriptor whose writes never raise.

    Attributes:
      error: of the first write that failed for another reason than that nobody reads; None before.
    """

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Writes, or drops what cannot be written."""
        try:
            return super().write(data)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno not in _GONE and self.error is None:
                self.error = error
            return memoryview(data).nbytes


def prepare_output(debug: bool) -> None:
    """Prepares this process's output for a command, which calls this before it prints anything.

    If the output is closed or cannot be written, the command continues without it. Characters that the encoding lacks
    are replaced.

    Args:
      debug: whether to show the logs of libraries.
    """
    codecs.register_error(REPLACE, _replace_characters)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):  # None where it was closed
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
    """Returns why standard output could not be written, after flushing it; None if it could."""
    if not isinstance(sys.stdout, io.TextIOWrapper):
        return None
    sys.stdout.flush()
    raw = getattr(sys.stdout.buffer, "raw", None)
    return raw.error if isinstance(raw, _Output) else None


def check_output_file(path: pathlib.Path) -> None:
    """Raises the error for a file that cannot be written since its folder does not exist."""
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
    """Removes a width that nothing can be read at, such as COLUMNS=0, at which Rich prints nothing and tyro hangs."""
    width = os.environ.get("COLUMNS")
    if width is not None and not re.fullmatch("[2-9][0-9]|[1-9][0-9]{2,4}", width):
        del os.environ["COLUMNS"]


def _quiet_libraries() -> None:
    """Hides libraries' logs; of JAX's, warnings stay, in one line each."""
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
    """A record's message, without its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the first line of the message."""
        return f"warning: {(record.getMessage().splitlines() or [''])[0][:500]}"
