"""Data sets by name, read without TensorFlow, and augmentation on the device."""

from jaxopt_bench.data.augmentation import Augmentation, augment, denormalise, normalise, standardise
from jaxopt_bench.data.datasets import (
    DATASETS,
    Dataset,
    DatasetSpec,
    Split,
    dataset,
    is_prepared,
    load,
    prepare,
    train_validation,
)

__all__ = [
    "DATASETS",
    "Augmentation",
    "Dataset",
    "DatasetSpec",
    "Split",
    "augment",
    "dataset",
    "denormalise",
    "is_prepared",
    "load",
    "normalise",
    "prepare",
    "standardise",
    "train_validation",
]
