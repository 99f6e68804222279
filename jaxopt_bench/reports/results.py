"""Tables of runs for a terminal. Columns that differ between rows are in the table, common values are listed once."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

LONGEST = 32
"""The maximum length of a text on a terminal; the middle of a longer text is left out."""
_GAP = 2  # characters between two columns


@dataclasses.dataclass(frozen=True)
class ResultsTable:
    """A Polars table in a form that is easy to read on a terminal.

    It selects its columns when it is printed, because the width of the terminal is not known earlier. If the terminal
    is too narrow for all columns, the names of the others are listed below the table: the last columns, but first those
    with a different text in each row. A single row is shown vertically.

    Attributes:
      frame: such as `Results.runs`, or an answer of `Results.sql`.
      most: the maximum number of rows; the rest are counted.
      longest: the maximum length of a text, in characters; None if texts are never shortened.
      folds: whether columns with the same value in all rows, and columns without any value, are listed above and below
        the table instead.
    """

    frame: pl.DataFrame
    most: int = 40
    longest: int | None = LONGEST
    folds: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        frame = self.frame
        if not len(frame):
            yield Text(f"no rows; columns: {', '.join(map(_clean, frame.columns))}")
            return
        empty = [name for name in frame.columns if self.folds and frame[name].null_count() == len(frame)]
        filled = frame.drop(empty)
        if len(frame) == 1:
            yield _upright(filled)
        else:
            same = [name for name in filled.columns if self.folds and filled[name].n_unique() == 1]
            if same:
                values = (f"{_clean(name)} {_format_cell(filled[name][0], self.longest)}" for name in same)
                yield Text(f"the same in all {len(frame):,} rows: {', '.join(values)}")
            yield from self._differing(filled.drop(same), options.max_width)
        if empty:
            yield Text(f"without any value: {', '.join(map(_clean, empty))}")

    def _differing(self, frame: pl.DataFrame, width: int) -> RenderResult:
        """Yields the columns that fit, and the names of the other columns."""
        if not frame.columns:
            return
        names = _fitting(frame.columns, columns := _columns(frame.head(self.most), self.longest), width)
        if len(names) < len(columns):  # a column with a different text in each row says least
            own = [name for name in frame.columns if frame.schema[name] == pl.String and frame[name].is_unique().all()]
            names = _fitting([*(name for name in frame.columns if name not in own), *own], columns, width)
        table = Table(box=box.SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False, show_edge=False)
        for name in names:
            justify: Literal["left", "right"] = "right" if frame.schema[name].is_numeric() else "left"
            table.add_column(Text(columns[name].head), justify=justify, no_wrap=True)
        for cells in zip(*(columns[name].cells for name in names), strict=True):
            table.add_row(*map(Text, cells))
        yield table
        if len(frame) > self.most:
            yield Text(f"… and {len(frame) - self.most:,} more rows of {len(frame):,}")
        left = [name for name in frame.columns if name not in names]
        if left:
            yield Text(f"not shown: {', '.join(map(_clean, left))}")


@dataclasses.dataclass(frozen=True)
class _Column:
    head: str
    cells: Sequence[str]

    @property
    def width(self) -> int:
        return _GAP + max(Text(text).cell_len for text in (*self.head.split("\n"), *self.cells))


def _columns(frame: pl.DataFrame, longest: int | None) -> dict[str, _Column]:
    """Returns the columns by name. Titles are broken after dots and underscores, so that queries can still use them."""
    heads = {name: _clean(name).replace(".", ".\n").replace("_", "_\n") for name in frame.columns}
    return {
        name: _Column(head, [_format_cell(value, longest) for value in frame[name]]) for name, head in heads.items()
    }


def _fitting(names: Sequence[str], columns: Mapping[str, _Column], width: int) -> list[str]:
    """Returns the first names whose columns fit side by side: at least one."""
    ends = itertools.accumulate(columns[name].width for name in names)
    return list(names[: max(1, sum(end <= width for end in ends))])


def _upright(frame: pl.DataFrame) -> Table:
    table = Table(box=None, show_header=False, padding=(0, _GAP, 0, 0), pad_edge=False)
    for name in frame.columns:
        table.add_row(Text(_clean(name)), Text(_format_cell(frame[name][0], longest=None)))
    return table


def _format_cell(value: object, longest: int | None = LONGEST) -> str:
    """Returns a value as a cell: floats have four digits, and control characters for the terminal are removed."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if math.isfinite(value) and 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
    if isinstance(value, (pl.Series, list)):
        text = "[" + ", ".join(_format_cell(item, None) for item in value) + "]"
    else:
        text = _clean(str(value).lower() if isinstance(value, bool) else str(value))
    if longest is None or len(text) <= longest:
        return text
    tail = 2 * longest // 3
    return f"{text[: longest - tail - 1]}…{text[-tail:]}"


def _clean(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in text)
