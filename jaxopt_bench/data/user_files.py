"""A user's own data, given by the path of a file or a folder. A record contains only its name, not its folder."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Int64

from jaxopt_bench.data.specs import ExampleKind
from jaxopt_bench.errors import UserError
from jaxopt_bench.files import sha256_of_file

TEST_SHARE = 0.2
"""The share of the examples that becomes the test split if the data have no test split of their own."""
_SEED = 0  # for the choice of test examples, and for the order of the others
_SUFFIXES = (".npz", ".csv", ".txt")
ACCEPTED = "the path of a file (.npz, .csv) or of a folder of images"


class FileName(str):
    """The name of a file, or of a folder with a slash at its end, together with its path.

    Two objects with the same name are equal even if their paths differ, because the contents identify the data.

    Attributes:
      path: the absolute path; None if the name comes from a record and the path is not known.
    """

    path: Path | None

    def __new__(cls, name: str, path: Path | None = None) -> FileName:
        """Returns the name."""
        made = super().__new__(cls, name)
        made.path = path
        return made

    def existing_path(self) -> Path:
        """Returns the path.

        Raises:
          UserError: if the path is not known or does not exist.
        """
        if self.path is None:
            raise UserError(
                f"dataset is {str(self)!r}, which is not in the working directory. Expected --dataset PATH with the "
                "path of the data."
            )
        if not self.path.exists():
            raise UserError(f"dataset: {self.path} does not exist. Expected {ACCEPTED}.")
        return self.path


_NAMED: dict[str, Path] = {}  # the paths of the files that were named in this process


def is_file_name(name: str) -> bool:
    """Returns whether a name refers to the user's own data: it has the form of a path, or such a folder exists."""
    return isinstance(name, FileName) or name.endswith((*_SUFFIXES, "/")) or os.sep in name or os.path.isdir(name)


def file_name(name: str) -> FileName:
    """Returns the name of a file or a folder, given its path or its name in a record."""
    if isinstance(name, FileName) and name.path is not None:
        _NAMED[str(name)] = name.path
        return name
    path = Path(os.path.abspath(Path(name).expanduser()))
    is_folder = path.is_dir() or name.endswith("/")
    short = f"{path.name}/" if is_folder else path.name
    if path.exists():
        _NAMED[short] = path
        return FileName(short, path)
    is_recorded = short == name
    return FileName(short, _NAMED.get(short) if is_recorded else path)


Examples = tuple[np.ndarray, Int32[np.ndarray, " examples"]]
"""Inputs and labels."""


@dataclasses.dataclass(frozen=True, eq=False)
class UserData:
    """Examples with one of several classes each, on the host.

    Attributes:
      kind: the kind of the inputs: images (bytes, height × width × channels), vectors or sequences (float32).
      train: inputs and labels, in a random order with a fixed seed.
      test: inputs and labels.
      class_names: the names of the labels, in order.
      digest: twelve hexadecimal digits that identify the contents.
    """

    kind: ExampleKind
    train: Examples
    test: Examples
    class_names: tuple[str, ...]
    digest: str


def draw_order(count: int) -> Int64[np.ndarray, " examples"]:
    """Returns the indices of the examples in a random order with a fixed seed."""
    return np.random.default_rng(_SEED).permutation(count)


def split_examples(count: int, path: Path) -> tuple[Int64[np.ndarray, " train"], Int64[np.ndarray, " test"]]:
    """Returns the indices of the training examples, in a random order, and of the test examples.

    Args:
      count: the number of all examples.
      path: the path of the data, for messages.

    Raises:
      UserError: if there are too few examples for both splits.
    """
    order = draw_order(count)
    test = round(TEST_SHARE * count)
    if not 0 < test < count:
        raise UserError(
            f"{path} has {count} examples. Expected at least 3, since {TEST_SHARE:.0%} of them become the test split."
        )
    return order[test:], order[:test]


def split_or_shuffle(train: Examples, test: Examples | None, path: Path) -> tuple[Examples, Examples]:
    """Returns the training examples, in a random order, and the test split.

    Args:
      train: inputs and labels.
      test: inputs and labels of the test split; if None, a part of `train` becomes the test split.
      path: the path of the data, for messages.

    Raises:
      UserError: if there are too few examples for a test split.
    """
    inputs, labels = train
    if test is not None:
        order = draw_order(len(labels))
        return (inputs[order], labels[order]), test
    first, second = split_examples(len(labels), path)
    return (inputs[first], labels[first]), (inputs[second], labels[second])


def digest_of_file(path: Path) -> str:
    """Returns twelve hexadecimal digits that identify the content of a file.

    Raises:
      UserError: if it cannot be read.
    """
    try:
        return sha256_of_file(path)[:12]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}.") from error


def check_labels(labels: np.ndarray, where: str) -> Int32[np.ndarray, " examples"]:
    """Returns labels after a check that each number from 0 to the largest label occurs.

    Args:
      labels: the labels of all training examples.
      where: the file and the array, for messages.

    Raises:
      UserError: if a label is not an integer from 0 on, if there is only one class, or if a number does not occur. The
        message names the example or the number.
    """
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UserError(
            f"{where} is an array of {labels.dtype} of shape {list(labels.shape)}. Expected integers of shape "
            "[examples]."
        )
    if len(labels) and labels.min() < 0:
        index = int(labels.argmin())
        raise UserError(f"{where}[{index}] is {labels[index]}. Expected integers from 0 on.")
    found = np.unique(labels)
    if len(found) < 2:
        listed = ", ".join(map(str, found)) or "none"
        raise UserError(f"{where} has one class only ({listed}). Expected at least two.")
    if found[-1] != len(found) - 1:
        missing = int(np.flatnonzero(found != np.arange(len(found)))[0])
        raise UserError(
            f"{where} has labels up to {found[-1]}, and none is {missing}. Expected every number from 0 to the largest."
        )
    return labels.astype(np.int32)
