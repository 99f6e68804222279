"""The one exception a user is meant to read, and the sentences that recur in it."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterable

MOST = 1600
"""Characters of a message."""
MOST_NAMES = 60
"""Names that a message lists in full."""


class UserError(Exception):
    """A mistake the user can mend.

    Its message names the field or file, the value found there and what would be accepted; the command line
    prints it without a traceback. Of a message that holds a value of thousands of characters the middle is left out.
    """

    def __init__(self, message: str):
        super().__init__(without_middle(message))


def without_middle(message: str) -> str:
    """Returns a message without its middle if it is longer than `MOST` characters."""
    return message if len(message) <= MOST else f"{message[: MOST // 2]} … {message[-MOST // 2 :]}"


class UnknownNameError(UserError):
    """A name is unknown. A record that a newer version wrote can contain one."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Returns the error for a `name` that is in no table, with the nearest names that are.

    Args:
      kind: what was looked up, in the singular ("optimizer").
      name: what the user wrote.
      known: every name that would have been accepted. All are listed, up to `MOST_NAMES`.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name[:100], names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    listed = ", ".join(names) if names else "none at all"
    if len(names) > MOST_NAMES:
        listed = f"{', '.join(near or names[:3])}, … ({len(names)} names)"
    return UnknownNameError(f"unknown {kind} {name!r}{hint} Expected: {listed}.")


def shortened(value: object, most: int = 60) -> str:
    """Returns a value as Python writes it, cut after so many characters, for a message."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"


def in_one_line(error: BaseException) -> str:
    """Returns an exception's type and message in one line of at most 500 characters: compilers may write pages."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 500, placeholder=" …")
