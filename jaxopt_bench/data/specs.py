"""The names and properties of the data sets, and the arrays of a split. This module reads and writes no files."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from jaxopt_bench.errors import UnknownNameError, UserError, unknown_name

SplitName = Literal["train", "test"]
DATASET_SPLITS: tuple[SplitName, ...] = ("train", "test")

ExampleKind = Literal["images", "vectors", "sequences"]
"""The kind of an example: bytes of shape [height, width, channels], or float32 of shape [features] or
[length, channels]."""


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """The properties of a data set that are known before it is read.

    Attributes:
      name: the name in `DATASETS`; for images also the name in TFDS.
      shape: the shape of an example, such as height, width and channels.
      num_classes: the number of classes.
      train_examples: the number of examples in the train split.
      test_examples: the number of examples in the test split.
      description: a description in one line.
      version: the version of the data. For images it is the TFDS version, which is also the name of the folder.
      inputs: the kind of the examples.
    """

    name: str
    shape: tuple[int, ...]
    num_classes: int
    train_examples: int
    test_examples: int
    description: str
    version: str
    inputs: ExampleKind = "images"

    def examples(self, split: SplitName) -> int:
        """Returns the number of examples in `split`."""
        return {"train": self.train_examples, "test": self.test_examples}[split]


DATASETS: dict[str, DatasetSpec] = {
    "digits": DatasetSpec(
        name="digits",
        shape=(8, 8, 1),
        num_classes=10,
        train_examples=1437,
        test_examples=360,
        description="handwritten digits, 8 × 8 grey (UCI; comes with this package)",
        version="1.0.0",
    ),
    "mnist": DatasetSpec(
        name="mnist",
        shape=(28, 28, 1),
        num_classes=10,
        train_examples=60_000,
        test_examples=10_000,
        description="handwritten digits, 28 × 28 grey (LeCun et al. 1998)",
        version="3.0.1",
    ),
    "fashion_mnist": DatasetSpec(
        name="fashion_mnist",
        shape=(28, 28, 1),
        num_classes=10,
        train_examples=60_000,
        test_examples=10_000,
        description="clothes of 10 kinds, 28 × 28 grey (Xiao et al. 2017)",
        version="3.0.1",
    ),
    "cifar10": DatasetSpec(
        name="cifar10",
        shape=(32, 32, 3),
        num_classes=10,
        train_examples=50_000,
        test_examples=10_000,
        description="photographs of 10 kinds of things, 32 × 32 colour (Krizhevsky 2009)",
        version="3.0.2",
    ),
    "cifar100": DatasetSpec(
        name="cifar100",
        shape=(32, 32, 3),
        num_classes=100,
        train_examples=50_000,
        test_examples=10_000,
        description="photographs of 100 kinds of things, 32 × 32 colour (Krizhevsky 2009)",
        version="3.0.2",
    ),
    "mnist1d": DatasetSpec(
        name="mnist1d",
        shape=(40, 1),
        num_classes=10,
        train_examples=4000,
        test_examples=1000,
        description="ten shapes, deformed and noisy, as sequences of 40 numbers (Greydanus and Kobak 2020; generated)",
        version="1.0.0",
        inputs="sequences",
    ),
}

GENERATED = frozenset({"mnist1d"})  # their examples are computed, and nothing is stored
PACKAGED = frozenset({"digits"})  # their examples are part of this package


def dataset(name: str) -> DatasetSpec:
    """Returns the data set called `name`.

    Raises:
      UserError: if there is no such data set. The message lists similar names.
    """
    if name in DATASETS:
        return DATASETS[name]
    error = unknown_name("dataset", name, DATASETS)
    if "." in name or "/" in name:
        raise UnknownNameError(
            f"{error} Expected a .npz, .csv or .txt file, or a folder of images, for data of your own."
        )
    raise error


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Examples in record order, on the host.

    Attributes:
      inputs: images as bytes, 0 to 255, usually memory-mapped and read-only; or vectors or sequences of numbers.
      labels: class indices.
    """

    inputs: UInt8[np.ndarray, "examples height width channels"] | Float32[np.ndarray, "examples ..."]
    labels: Int32[np.ndarray, " examples"]

    def __len__(self) -> int:
        return len(self.labels)


def train_validation(split: Split, validation_fraction: float) -> tuple[Split, Split | None]:
    """Returns the first part of `split` for training and the last part for validation.

    The border is rounded to a whole example in the same way as in TFDS: 0.1 gives `train[:90%]` and `train[90%:]`.

    Args:
      split: the examples.
      validation_fraction: the share for validation, at least 0 and below 1; 0 gives no validation part.

    Raises:
      UserError: if the fraction is out of range, or leaves one of the parts empty.
    """
    if not 0 <= validation_fraction < 1:
        raise UserError(f"validation_fraction is {validation_fraction!r}. Expected: a number >= 0 and < 1.")
    if validation_fraction == 0:
        return split, None
    # TFDS uses whole percentages; 100 * 0.07 is a whole number only after rounding.
    percent = round(100 - 100 * validation_fraction, 9)
    border = round(percent * len(split) / 100)
    if not 0 < border < len(split):
        empty = "training" if border == 0 else "validation"
        raise UserError(
            f"validation_fraction is {validation_fraction!r}, which leaves the {empty} part of {len(split)} examples "
            f"empty. Expected: 0, or a fraction that leaves each part at least one example."
        )
    first, last = slice(None, border), slice(border, None)
    return Split(split.inputs[first], split.labels[first]), Split(split.inputs[last], split.labels[last])


def feature_mean_and_std(inputs: Float32[np.ndarray, "examples ..."]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the mean and the standard deviation of each feature of vectors, or of each channel of sequences.

    They are computed in float64. If a feature is constant, its standard deviation is returned as 1 instead of 0.

    Args:
      inputs: vectors, [examples, features], or sequences, [examples, length, channels].
    """
    axes = tuple(range(inputs.ndim - 1))
    mean, std = inputs.mean(axes, np.float64), inputs.std(axes, np.float64)
    return tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist())
