"""MNIST-1D against its authors' package."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from jaxopt_bench import data
from jaxopt_bench.data import mnist1d
from jaxopt_bench.errors import UserError


def test_the_data_are_those_of_the_authors_package() -> None:
    from mnist1d.data import get_dataset_args, make_dataset

    theirs = make_dataset(get_dataset_args())
    sequences, labels = mnist1d.generate()
    np.testing.assert_array_equal(labels, np.concatenate([theirs["y"], theirs["y_test"]]))
    expected = np.concatenate([theirs["x"], theirs["x_test"]]).astype(np.float32)
    np.testing.assert_allclose(sequences, expected, atol=1e-6)
    assert len(theirs["y"]) == mnist1d.TRAIN_EXAMPLES


def test_the_labels_never_change() -> None:
    """A run's record contains only the mean and standard deviation of the data, so it would not reveal a change."""
    sequences, labels = mnist1d.generate()
    found = hashlib.sha256(labels.tobytes()).hexdigest()
    assert found == "343d27bb023cbbfe98bd258e8958f2bb90aea365a196a7bc6f0c19efb7014a47"
    np.testing.assert_allclose([sequences.mean(), sequences.std()], [0, 1], atol=1e-6)
    np.testing.assert_array_equal(np.bincount(labels), [500] * 10)


def test_mnist1d_is_loaded_like_other_data_sets() -> None:
    dataset, (sequences, labels) = data.load("mnist1d"), mnist1d.generate()
    train, test = dataset.split("train"), dataset.split("test")
    assert train.inputs.shape == (4000, 40, 1)
    assert test.inputs.shape == (1000, 40, 1)
    np.testing.assert_array_equal(np.concatenate([train.inputs, test.inputs])[..., 0], sequences)
    np.testing.assert_array_equal(np.concatenate([train.labels, test.labels]), labels)
    np.testing.assert_allclose(
        [*dataset.mean, *dataset.std], [sequences[:4000].mean(), sequences[:4000].std()], rtol=1e-4
    )
    assert data.is_prepared("mnist1d")
    with pytest.raises(UserError, match=r"mnist1d is generated when it is used\. Expected a data set that must"):
        data.prepare("mnist1d")
