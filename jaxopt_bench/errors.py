"""The exception whose message is meant for users, and sentences that several messages share."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterable

MOST = 1600
"""The largest number of characters of a message."""
MOST_NAMES = 60
"""The largest number of names that a message lists in full."""


class UserError(Exception):
    """A mistake that the user can correct.

    Its message names the field or file, the value found there and the accepted values; the command line prints it
    without a traceback. If a message contains a value of thousands of characters, the middle of the message is left
    out.
    """

    def __init__(self, message: str):
        super().__init__(without_middle(message))


def without_middle(message: str) -> str:
    """Returns a message without its middle if it is longer than `MOST` characters."""
    return message if len(message) <= MOST else f"{message[: MOST // 2]} … {message[-MOST // 2 :]}"


class UnknownNameError(UserError):
    """A name is unknown. A record that a newer version wrote can contain one."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Returns the error for a `name` that is not in a table, with the nearest names that are in it.

    Args:
      kind: the kind of the name, in the singular ("optimizer").
      name: the name that the user wrote.
      known: all accepted names. All are listed, up to `MOST_NAMES`.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name[:100], names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    listed = ", ".join(names) if names else "none at all"
    if len(names) > MOST_NAMES:
        listed = f"{', '.join(near or names[:3])}, … ({len(names)} names)"
    return UnknownNameError(f"unknown {kind} {name!r}{hint} Expected: {listed}.")


def shortened(value: object, most: int = 60) -> str:
    """Returns the Python representation of a value, cut after `most` characters, for a message."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"


def in_one_line(error: BaseException) -> str:
    """Returns an exception's type and message in one line of at most 500 characters: compilers may write pages."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 500, placeholder=" …")
