"""Names of data sets, and the split into training and validation."""

from __future__ import annotations

import numpy as np
import pytest

from jaxopt_bench.data import Split, dataset, train_validation
from jaxopt_bench.errors import UserError


def split_of(count: int) -> Split:
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 2, 2, 1))
    return Split(images, np.arange(count, dtype=np.int32))


def test_the_error_for_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown dataset 'cifar-100'; did you mean cifar100"):
        dataset("cifar-100")


def test_the_error_for_an_unsupported_file_lists_the_supported_formats():
    with pytest.raises(UserError, match=r"unknown dataset 'homes.xlsx'.* Expected a \.npz, \.csv or \.txt file"):
        dataset("homes.xlsx")


@pytest.mark.parametrize("count", [450, 1437, 50_000])
@pytest.mark.parametrize("percent", [1, 7, 10, 29, 50, 99])
def test_the_validation_part_starts_at_the_same_index_as_in_tfds(count: int, percent: int) -> None:
    import tensorflow_datasets as tfds

    train, validation = train_validation(split_of(count), percent / 100)
    assert validation is not None
    whole = {"train": tfds.core.SplitInfo(name="train", shard_lengths=[count], num_bytes=0)}
    slices = (f"train[:{100 - percent}%]", f"train[{100 - percent}%:]")
    first, last = (tfds.core.ReadInstruction.from_spec(text).to_absolute(whole)[0] for text in slices)
    assert (len(train), len(validation)) == (first.to, count - last.from_)


def test_the_last_examples_are_the_validation_part_and_none_is_lost() -> None:
    train, validation = train_validation(split_of(50), 0.1)
    assert validation is not None
    np.testing.assert_array_equal(train.labels, np.arange(45))
    np.testing.assert_array_equal(validation.labels, np.arange(45, 50))
    np.testing.assert_array_equal(validation.inputs[:, 0, 0, 0], np.arange(45, 50))


def test_a_fraction_of_zero_gives_no_validation_part() -> None:
    whole = split_of(5)
    assert train_validation(whole, 0.0) == (whole, None)


@pytest.mark.parametrize(
    ("fraction", "message"),
    [
        (0.01, "the validation part of 5 examples empty"),
        (0.99, "the training part of 5 examples empty"),
        (1.0, r"validation_fraction is 1.0. Expected"),
        (-0.1, r"validation_fraction is -0.1. Expected"),
        (float("nan"), r"validation_fraction is nan. Expected"),
    ],
)
def test_a_fraction_that_is_invalid_or_leaves_a_part_empty_is_refused(fraction: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        train_validation(split_of(5), fraction)
