"""Tables as data: for people on a terminal and on pages, and as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import dataclasses
import io
import pathlib
import re
from typing import Literal

import polars as pl

from jaxopt_bench.files import replacing

NONE = "–"
NOT_REACHED = "not reached"

Format = Literal["md", "csv", "tex"]

_FORMULA = r"^[=+\-@\t\r\n]"
_NUMBERS = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?( [-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?)*$"
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_[]!|~#"} | {"<": "&lt;", "&": "&amp;"})


@dataclasses.dataclass(frozen=True)
class Table:
    """A table for people, and its numbers for programs.

    Attributes:
      name: the name of its files.
      title: the title of the table.
      columns: the titles of the columns.
      rows: one text for each column.
      numbers: the same rows with unformatted numbers, for CSV.
      note: a note for the reader.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: pl.DataFrame
    note: str = ""

    @property
    def numeric(self) -> frozenset[int]:
        """The indices of the numeric columns, which are aligned to the right."""
        return frozenset(i for i in range(1, len(self.columns)) if all(_numeric(row[i]) for row in self.rows))

    def text(self, form: Format) -> str:
        """Returns the table in Markdown ("md"), CSV, or LaTeX ("tex", for the package booktabs).

        Markdown and LaTeX need the extra `report`.
        """
        if form == "csv":
            return csv_text(self.numbers)
        import tabulate

        align = ["right" if i in self.numeric else "left" for i in range(len(self.columns))]
        one_line = [[" ".join(cell.split()) for cell in row] for row in self.rows]
        cells = [[cell.translate(_MARKDOWN) for cell in row] for row in one_line] if form == "md" else one_line
        style = "github" if form == "md" else "latex_booktabs"
        return (
            tabulate.tabulate(cells, headers=self.columns, tablefmt=style, disable_numparse=True, colalign=align) + "\n"
        )

    def save(self, folder: pathlib.Path) -> list[str]:
        """Writes the table in its three formats into an existing folder. Returns the names of the files."""
        forms: tuple[Format, ...] = ("md", "csv", "tex")
        for form in forms:
            with replacing(folder / f"{self.name}.{form}", follow_links=False) as (file, _):
                file.write(self.text(form).encode())
        return [f"{self.name}.{form}" for form in forms]


def _numeric(cell: str) -> bool:
    return cell[:1].isdigit() or cell[:1] in "–-−+" or cell == NOT_REACHED


def csv_text(table: pl.DataFrame) -> str:
    """Returns a table as CSV. Spreadsheets will not read any of its texts as a formula.

    An apostrophe is put before a text or a column title that begins with a character that can start a formula, unless
    the text is a number, or numbers with spaces between them. Lists are written with spaces between their items.

    Source: OWASP, "CSV injection".
    """
    lists = [name for name, kind in table.schema.items() if isinstance(kind, pl.List)]
    flat = table.with_columns(pl.col(n).list.eval(pl.element().cast(pl.String)).list.join(" ") for n in lists)
    texts = [pl.col(name) for name, kind in flat.schema.items() if kind == pl.String]
    formulas = [(text, text.str.contains(_FORMULA) & ~text.str.contains(_NUMBERS)) for text in texts]
    safe = flat.with_columns(pl.when(found).then("'" + text).otherwise(text).name.keep() for text, found in formulas)
    titles = io.StringIO()
    csv.writer(titles, lineterminator="\n").writerow("'" + n if re.search(_FORMULA, n) else n for n in table.columns)
    return titles.getvalue() + safe.write_csv(include_header=False)
