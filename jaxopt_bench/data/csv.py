"""Reads a user's table from a CSV file: columns of numbers and of categories, and a column to predict."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int32

from jaxopt_bench.data.user_files import check_labels, digest_of_file
from jaxopt_bench.errors import UserError, shortened, unknown_name

if TYPE_CHECKING:  # functions import Polars when they read a file, so that the command line starts without it
    import polars as pl

MOST_CATEGORIES = 100
"""The largest number of different texts in a column. More texts are probably names or identifiers, not categories."""
_MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")


@dataclasses.dataclass(frozen=True, eq=False)
class CsvTable:
    """A table, on the host.

    Attributes:
      features: a row for each example. A column of numbers becomes one feature with the values of the file. A column
        of texts becomes one feature for each of its categories, in alphabetical order: 1 in the rows of that category,
        else 0.
      feature_names: for example "age" for a column of numbers, and "colour=red" for a category.
      target_name: the name of the column to predict.
      targets: the numbers of this column; None if it consists of texts.
      texts: the texts of this column; None if it consists of numbers.
      digest: twelve hexadecimal digits that identify the content of the file.
    """

    features: Float64[np.ndarray, "rows features"]
    feature_names: tuple[str, ...]
    target_name: str
    targets: Float64[np.ndarray, " rows"] | None
    texts: tuple[str, ...] | None
    digest: str

    def classes(self, path: Path) -> tuple[Int32[np.ndarray, " rows"], tuple[str, ...]]:
        """Returns the column to predict as classes, and their names.

        The classes are texts in alphabetical order, or integers from 0 on.

        Args:
          path: the path of the file, for messages.

        Raises:
          UserError: if the column has only one text, or its numbers are not integers from 0 on.
        """
        where = f"{path}: {self.target_name}"
        if self.texts is None:
            assert self.targets is not None
            whole = np.equal(self.targets, np.round(self.targets))
            if not whole.all():
                index = int(whole.argmin())
                raise UserError(
                    f"{path}, row {index + 1}: {self.target_name} is {self.targets[index]:g}. Expected classes: "
                    "texts, or integers from 0 on. --problem regression predicts numbers."
                )
            labels = check_labels(self.targets.astype(np.int64), where)
            return labels, tuple(map(str, range(labels.max() + 1)))
        names = sorted(set(self.texts))
        if len(names) < 2:
            raise UserError(f"{where} is {names[0]!r} in every row. Expected at least two classes.")
        codes = {name: code for code, name in enumerate(names)}
        return np.array([codes[text] for text in self.texts], np.int32), tuple(names)


def read_csv(path: Path, target: str | None) -> CsvTable:
    """Returns a table.

    Args:
      path: the path of a file with a header.
      target: the name of the column to predict. None raises an error that lists the columns.

    Raises:
      UserError: if the file is not a table, the column does not exist, a value is missing, or a column has more than
        `MOST_CATEGORIES` different texts. The message names the file and the column, and the row if a row is wrong.
    """
    import polars as pl

    frame = _read(path)
    if target is None:
        raise UserError(
            f"{path} has the columns {', '.join(frame.columns)}. Expected --target COLUMN, the column to predict."
        )
    if frame.width == 1 and (separators := set(frame.columns[0]) & set(";\t|")):
        raise UserError(
            f"{path} has one column, {shortened(frame.columns[0])}, which contains {min(separators)!r}. Expected "
            "columns separated by commas."
        )
    if target not in frame.columns:
        raise unknown_name(f"column of {path}", target, frame.columns)
    if frame.width < 2:
        raise UserError(
            f"{path} has only the column {target!r}. Expected at least one other column, from which it is predicted."
        )
    _check_missing(frame, path)
    parts: list[np.ndarray] = []
    names: list[str] = []
    for column in frame.columns:
        if column == target:
            continue
        series = frame[column]
        if series.dtype.is_numeric() or series.dtype == pl.Boolean:
            parts.append(_numbers(series))
            names.append(column)
        else:
            categories = _categories(series, path)
            parts += [(series == category).to_numpy().astype(np.float64) for category in categories]
            names += [f"{column}={category}" for category in categories]
    series = frame[target]
    if series.dtype.is_numeric():
        targets, texts = _numbers(series), None
    else:
        _categories(series, path)  # raises an error if there are too many
        targets, texts = None, tuple(map(str, series.cast(pl.String).to_list()))
    return CsvTable(np.stack(parts, axis=1), tuple(names), target, targets, texts, digest_of_file(path))


def _read(path: Path) -> pl.DataFrame:
    import polars as pl

    try:
        frame = pl.read_csv(path, infer_schema_length=None, null_values=list(_MISSING), raise_if_empty=True)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise UserError(
            f"{path} cannot be read as a table: {reason}. Expected a CSV file with a header, commas between the "
            "columns, and points in decimal numbers."
        ) from error
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        header = file.readline().rstrip("\r\n").split(",")
    if len(set(header)) < len(header) == frame.width:
        twice = next(name for name in header if header.count(name) > 1)
        raise UserError(f"{path} has the column {twice!r} twice. Expected different names in the header.")
    if frame.height == 0:
        raise UserError(f"{path} has a header and no rows. Expected at least one row.")
    return frame


def _check_missing(frame: pl.DataFrame, path: Path) -> None:
    for column in frame.columns:
        series = frame[column]
        missing = series.is_null()
        if series.dtype.is_float():
            missing |= ~series.is_finite().fill_null(True)
        if missing.any():
            index = int(missing.arg_max() or 0)
            raise UserError(
                f"{path}, row {index + 1}: the value of {column!r} is missing or not a finite number "
                f"({int(missing.sum())} such rows in this column). Expected a value in every row: fill it, or remove "
                "the row or the column."
            )


def _numbers(series: pl.Series) -> Float64[np.ndarray, " rows"]:
    import polars as pl

    return series.cast(pl.Float64).to_numpy()


def _categories(series: pl.Series, path: Path) -> list[str]:
    categories = sorted(map(str, series.unique().to_list()))
    if len(categories) > MOST_CATEGORIES:
        raise UserError(
            f"{path}: the column {series.name!r} has {len(categories)} different texts, such as "
            f"{shortened(categories[0])}. Expected numbers, or at most {MOST_CATEGORIES} categories: remove the "
            "column if it only identifies rows."
        )
    return categories
