"""Tables of numbers by name. A table has rows of features, and each row has a number to predict."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, Float64

from jaxopt_bench.data.csv import read_csv
from jaxopt_bench.data.user_files import FileName, split_examples
from jaxopt_bench.errors import UserError, unknown_name

_DIAMONDS = pathlib.Path(__file__).parent / "diamonds" / "diamonds.npz"
_DIAMONDS_TEST = 2000
"""The number of diamonds in the test split, which is the end of the file. The order of the file is random."""


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """A table, on the host.

    Attributes:
      features: a row for each example.
      targets: the number to predict in each row, in its unit.
      is_test: whether a row belongs to the test split; the other rows are for training and validation.
      feature_names: the names of the columns of `features`.
      target_name: the name of the predicted quantity, such as "price".
      target_unit: its unit, such as "USD"; empty for a plain number.
      digest: for a user's file, twelve hexadecimal digits that identify its content; else empty.
    """

    features: Float64[np.ndarray, "rows features"]
    targets: Float64[np.ndarray, " rows"]
    is_test: Bool[np.ndarray, " rows"]
    feature_names: tuple[str, ...]
    target_name: str
    target_unit: str = ""
    digest: str = ""


def load_table(name: str, target: str | None = None) -> Table:
    """Returns the table called `name`.

    Args:
      name: a name in `TABLES`, or the name of a user's `.csv` file. A fixed share of a file is the test split.
      target: for a file, the column of numbers to predict.

    Raises:
      UserError: if there is no such table, or the column does not consist of numbers.
    """
    if isinstance(name, FileName):
        path = name.existing_path()
        return _read_file(path, path.stat().st_mtime_ns, target)
    if name not in TABLES:
        raise unknown_name("table", name, TABLES)
    return TABLES[name]()


@functools.lru_cache(maxsize=2)
def _read_file(path: pathlib.Path, modified: int, target: str | None) -> Table:
    del modified  # a changed file is read again
    table = read_csv(path, target)
    if table.targets is None:
        raise UserError(
            f"{path}: the column {table.target_name!r} consists of texts. Expected numbers; --problem classification "
            "predicts classes."
        )
    _, test = split_examples(len(table.targets), path)
    return Table(
        features=table.features,
        targets=table.targets,
        is_test=np.isin(np.arange(len(table.targets)), test),
        feature_names=table.feature_names,
        target_name=table.target_name,
        digest=table.digest,
    )


def _diamonds() -> Table:
    """Returns the diamonds of ggplot2 (a subset of 10,000) with their prices in dollars; see diamonds/README.md."""
    scales = dict.fromkeys(("cut", "color", "clarity"), 1.0)
    scales |= dict.fromkeys(("carat", "depth", "table", "x", "y", "z"), 0.01)
    with np.load(_DIAMONDS) as stored:
        columns = {name: scales[name] * stored[name].astype(np.float64) for name in stored.files if name in scales}
        prices = stored["price"].astype(np.float64)
    return Table(
        features=np.stack(list(columns.values()), axis=1),
        targets=prices,
        is_test=np.arange(len(prices)) >= len(prices) - _DIAMONDS_TEST,
        feature_names=tuple(columns),
        target_name="price",
        target_unit="USD",
    )


TABLES: Mapping[str, Callable[[], Table]] = {"diamonds": _diamonds}
"""The function that reads each table."""
