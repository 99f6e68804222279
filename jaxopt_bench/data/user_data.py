"""Reads a user's own data with classes, in all supported formats, once for all runs of a process."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from jaxopt_bench.data.csv import read_csv
from jaxopt_bench.data.folders import read_folder
from jaxopt_bench.data.npz import read_npz
from jaxopt_bench.data.user_files import ACCEPTED, FileName, UserData, split_examples
from jaxopt_bench.errors import UserError


def check_data_options(name: FileName, target: str | None, resize: tuple[int, int] | None) -> None:
    """Checks that the options are valid for the format of the data.

    Raises:
      UserError: if `target` is given for data that are not a table, or `resize` for data that are not a folder.
    """
    if target is not None and not name.endswith(".csv"):
        raise UserError(f"target is {target!r}, but {name} is not a table. Expected a target for .csv files only.")
    if resize is not None and not name.endswith("/"):
        raise UserError(f"resize is {resize}, but {name} is not a folder of images. Expected None.")


def read_user_data(name: FileName, target: str | None = None, resize: tuple[int, int] | None = None) -> UserData:
    """Returns the examples of a file or a folder, and their classes.

    The features of a table have mean 0 and standard deviation 1 over the examples that are not in the test split.

    Args:
      name: the name of a `.npz` file, a `.csv` file or a folder of images.
      target: for a table, the column of classes.
      resize: for images, the height and width to which they are scaled.

    Raises:
      UserError: if the data have another format or cannot be read; see `read_npz`, `read_csv` and `read_folder`.
    """
    path = name.existing_path()
    check_data_options(name, target, resize)
    return _read(path, path.stat().st_mtime_ns, target, resize)


@functools.lru_cache(maxsize=2)
def _read(path: Path, modified: int, target: str | None, resize: tuple[int, int] | None) -> UserData:
    del modified  # a changed file is read again
    if path.is_dir():
        return read_folder(path, resize)
    if path.suffix == ".npz":
        return read_npz(path)
    if path.suffix == ".csv":
        return _classes_of_table(path, target)
    raise UserError(f"dataset: {path} is not a supported file. Expected {ACCEPTED}.")


def _classes_of_table(path: Path, target: str | None) -> UserData:
    table = read_csv(path, target)
    labels, names = table.classes(path)
    train, test = split_examples(len(labels), path)
    mean, std = table.features[train].mean(axis=0), table.features[train].std(axis=0)
    features = ((table.features - mean) / np.where(std > 0, std, 1)).astype(np.float32)  # a constant column becomes 0
    return UserData(
        kind="vectors",
        train=(features[train], labels[train]),
        test=(features[test], labels[test]),
        class_names=names,
        digest=table.digest,
    )
