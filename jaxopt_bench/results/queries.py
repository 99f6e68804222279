"""Checks that SQL queries do not read files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from jaxopt_bench.errors import UserError

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*[^*/]*\*/)"""  # comments too; one with * or / in it is not read here
    r"""|(?P<text>'(?:[^'\\]|'')*')"""
    r"""|(?P<quoted>"(?:[^"\\]|"")*"|`(?:[^`\\]|``)*`)"""
    r"""|(?P<word>\w+)"""
    r"""|(?P<other>[-+*/%=<>!,.;:()\[\]|&?@^~{}])"""
)
_READS = re.compile(r"(read|scan)_")


def check_reads_no_file(query: str) -> None:
    """Checks that an SQL query calls no function that reads files, such as Polars' `read_csv`.

    The names of such functions may occur in string literals, quoted names and comments. If a query contains syntax that
    SQL dialects interpret differently (backslashes, dollar quotes, prefixed strings, nested comments), these names must
    not occur in it at all.

    Raises:
      UserError: if the query calls such a function; the message names it.
    """
    names = _called(query)
    if names is None:
        names = re.findall(r"\w+", query)
    for name in names:
        if _READS.search(_plain(name)):
            raise UserError(
                f"the query calls {name[:60]!r}, and functions that read files are not allowed. Expected a query over "
                "the tables runs and curves."
            )


def _called(query: str) -> list[str] | None:
    """Returns the names before parentheses; None if they cannot be determined reliably."""
    found: list[str] = []
    before: tuple[str, str, bool] | None = None  # last token except spaces: kind, text, whether no space follows
    for kind, text in _tokens(query):
        if kind is None:
            return None
        if kind in ("text", "quoted") and before is not None and before[0] == "word" and before[2]:
            return None  # a prefix such as E or N changes how the text is read
        if text == "(" and before is not None and before[0] in ("word", "quoted"):
            found.append(before[1].strip('"`'))
        if kind != "space":
            before = (kind, text, True)
        elif before is not None:
            before = (before[0], before[1], False)
    return found


def _tokens(query: str) -> Iterator[tuple[str | None, str]]:
    """Yields the kinds and texts of tokens; the kind is None for text with more than one interpretation."""
    at = 0
    while at < len(query):
        match = _TOKEN.match(query, at)
        if match is None:
            yield None, query[at:]
            return
        if match.lastgroup == "other" and query.startswith(("/*", "//", "*/"), at):
            yield None, query[at:]
            return
        yield match.lastgroup, match[0]
        at = match.end()


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
