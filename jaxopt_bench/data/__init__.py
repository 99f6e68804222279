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
from jaxopt_bench.data.user_data import check_data_options, read_user_data
from jaxopt_bench.data.user_files import FileName, UserData, file_name, is_file_name

__all__ = [
    "DATASETS",
    "Augmentation",
    "Dataset",
    "DatasetSpec",
    "FileName",
    "Split",
    "UserData",
    "augment",
    "check_data_options",
    "dataset",
    "denormalise",
    "file_name",
    "is_file_name",
    "is_prepared",
    "load",
    "normalise",
    "prepare",
    "read_user_data",
    "standardise",
    "train_validation",
]
