"""Names of data sets, and the cut between training and validation."""

from __future__ import annotations

import numpy as np
import pytest

from jaxopt_bench.data import Split, dataset, train_validation
from jaxopt_bench.errors import UserError


def split_of(count: int) -> Split:
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 2, 2, 1))
    return Split(images, np.arange(count, dtype=np.int32))


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown dataset 'cifar-100'; did you mean cifar100"):
        dataset("cifar-100")


def test_a_file_of_another_form_is_answered_with_the_forms_that_can_be_read():
    with pytest.raises(UserError, match=r"unknown dataset 'homes.xlsx'.* Expected a \.npz, \.csv or \.txt file"):
        dataset("homes.xlsx")


@pytest.mark.parametrize("count", [450, 1437, 50_000])
@pytest.mark.parametrize("percent", [1, 7, 10, 29, 50, 99])
def test_the_border_is_where_tfds_puts_it(count: int, percent: int) -> None:
    import tensorflow_datasets as tfds

    train, validation = train_validation(split_of(count), percent / 100)
    assert validation is not None
    whole = {"train": tfds.core.SplitInfo(name="train", shard_lengths=[count], num_bytes=0)}
    slices = (f"train[:{100 - percent}%]", f"train[{100 - percent}%:]")
    first, last = (tfds.core.ReadInstruction.from_spec(text).to_absolute(whole)[0] for text in slices)
    assert (len(train), len(validation)) == (first.to, count - last.from_)


def test_the_last_examples_validate_and_none_is_lost() -> None:
    train, validation = train_validation(split_of(50), 0.1)
    assert validation is not None
    np.testing.assert_array_equal(train.labels, np.arange(45))
    np.testing.assert_array_equal(validation.labels, np.arange(45, 50))
    np.testing.assert_array_equal(validation.inputs[:, 0, 0, 0], np.arange(45, 50))


def test_no_fraction_is_no_validation_part() -> None:
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
def test_a_fraction_that_leaves_nothing_is_refused(fraction: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        train_validation(split_of(5), fraction)
