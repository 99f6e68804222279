"""A report's table on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Collection

import rich.table
from rich import box
from rich.text import Text

from jaxopt_bench.reports.table import Table

_HEADING = 8  # characters: narrow cells do not make a heading narrower than this


def terminal(table: Table, leave_out: Collection[str] = (), show_lines: bool = False) -> rich.table.Table:
    """Returns a table that Rich can print.

    Args:
      table: the table; its title is above it and its note below.
      leave_out: titles of columns that are left out because the terminal is narrow.
      show_lines: whether there is space between rows, for cells with several lines.
    """
    shown = rich.table.Table(
        title=table.title, title_justify="left", caption=table.note or None, caption_justify="left",
        box=box.SIMPLE, show_lines=show_lines, pad_edge=False,
    )  # fmt: skip
    for i, title in enumerate(table.columns):
        if title in leave_out:
            continue
        if i in table.numeric:
            widest = max((len(line) for row in table.rows for line in _narrow(row[i]).split("\n")), default=0)
            heading = textwrap.wrap(title, max(widest, _HEADING), break_long_words=False)
            least = max(widest, *map(len, heading))
            shown.add_column(Text("\n".join(heading)), justify="right", no_wrap=True, min_width=least)
        else:
            shown.add_column(Text(title), no_wrap=i == 0 and bool(table.numeric))
    for row in table.rows:
        cells = [(i, cell) for i, cell in enumerate(row) if table.columns[i] not in leave_out]
        shown.add_row(*(Text(_narrow(cell) if i in table.numeric else cell) for i, cell in cells))
    return shown


def _narrow(cell: str) -> str:
    """Returns a number with its interval below it, as narrow as possible."""
    number, *below = cell.split("\n")
    return "\n".join([number, *(line.strip("()").replace(" to ", "–") for line in below)])
