"""What the data sets are called, and the arrays a split consists of. Nothing here touches a file."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Int32, UInt8

from jaxopt_bench.errors import UserError, unknown_name

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "test")


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """What is known of a data set before any of it is read.

    Attributes:
      name: its name in `DATASETS` and in TFDS.
      image_shape: height, width, channels.
      num_classes: how many labels there are.
      train_examples: how many examples the train split has.
      test_examples: how many examples the test split has.
      description: one line for people.
      version: the TFDS version that is read and prepared; it names the folder.
    """

    name: str
    image_shape: tuple[int, int, int]
    num_classes: int
    train_examples: int
    test_examples: int
    description: str
    version: str

    def examples(self, split: SplitName) -> int:
        """Returns how many examples `split` has."""
        return {"train": self.train_examples, "test": self.test_examples}[split]


DATASETS: dict[str, DatasetSpec] = {
    "digits": DatasetSpec(
        name="digits",
        image_shape=(8, 8, 1),
        num_classes=10,
        train_examples=1437,
        test_examples=360,
        description="handwritten digits, 8 × 8 grey (UCI; comes with this package)",
        version="1.0.0",
    ),
    "cifar10": DatasetSpec(
        name="cifar10",
        image_shape=(32, 32, 3),
        num_classes=10,
        train_examples=50_000,
        test_examples=10_000,
        description="photographs of 10 kinds of things, 32 × 32 colour (Krizhevsky 2009)",
        version="3.0.2",
    ),
    "cifar100": DatasetSpec(
        name="cifar100",
        image_shape=(32, 32, 3),
        num_classes=100,
        train_examples=50_000,
        test_examples=10_000,
        description="photographs of 100 kinds of things, 32 × 32 colour (Krizhevsky 2009)",
        version="3.0.2",
    ),
}

PACKAGED = frozenset({"digits"})  # those whose examples come with this package


def dataset(name: str) -> DatasetSpec:
    """Returns the data set called `name`.

    Raises:
      UserError: if there is none, with the nearest names.
    """
    if name not in DATASETS:
        raise unknown_name("dataset", name, DATASETS)
    return DATASETS[name]


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Examples in record order, on the host.

    Attributes:
      images: bytes, 0 to 255, usually memory-mapped and read-only.
      labels: class indices.
    """

    images: UInt8[np.ndarray, "examples height width channels"]
    labels: Int32[np.ndarray, " examples"]

    def __len__(self) -> int:
        return len(self.labels)


def train_validation(split: Split, validation_fraction: float) -> tuple[Split, Split | None]:
    """Returns the first part of `split` to train on and the last part to validate on.

    The border is rounded to a whole example as TFDS rounds it: 0.1 gives `train[:90%]` and `train[90%:]`.

    Args:
      split: the examples.
      validation_fraction: the share that validates, at least 0 and below 1; 0 gives no validation part.

    Raises:
      UserError: if the fraction is out of range, or leaves one of the parts empty.
    """
    if not 0 <= validation_fraction < 1:
        raise UserError(f"validation_fraction is {validation_fraction!r}; accepted: a number >= 0 and < 1.")
    if validation_fraction == 0:
        return split, None
    # TFDS computes with percents that are whole numbers; 100 * 0.07 is one only after rounding.
    percent = round(100 - 100 * validation_fraction, 9)
    border = round(percent * len(split) / 100)
    if not 0 < border < len(split):
        empty = "training" if border == 0 else "validation"
        raise UserError(
            f"validation_fraction is {validation_fraction!r}, which leaves the {empty} part of {len(split)} examples "
            f"empty; accepted: 0, or a fraction that leaves each part at least one example."
        )
    first, last = slice(None, border), slice(border, None)
    return Split(split.images[first], split.labels[first]), Split(split.images[last], split.labels[last])
