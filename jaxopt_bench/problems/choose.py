"""Chooses the kind of problem for a user's data, and a small network for it."""

from __future__ import annotations

from collections.abc import Mapping

from jaxopt_bench.data import FileName, file_name
from jaxopt_bench.data.csv import read_csv
from jaxopt_bench.data.user_data import read_user_data
from jaxopt_bench.models import CNN, CNN1D, MLP, Inputs, Model
from jaxopt_bench.problems.base import ProblemConfig
from jaxopt_bench.problems.classification import Classification
from jaxopt_bench.problems.language import Language
from jaxopt_bench.problems.regression import Regression

NETWORKS: Mapping[Inputs, Model] = {"images": CNN(), "vectors": MLP(), "sequences": CNN1D()}


def choose_problem(dataset: str, target: str | None = None) -> ProblemConfig:
    """Returns the problem with a user's data as its data set.

    The problem is a classification for a folder of images, a file of arrays, or a table with a target of texts. It is a
    regression for a table with a target of numbers. For a text it is a language model of the bytes. All settings are
    the defaults.

    Args:
      dataset: the path of a folder or a file: `.npz`, `.csv`, or any other ending for a text.
      target: for a table, the column to predict.

    Raises:
      UserError: if the data cannot be read.
    """
    name = file_name(dataset)
    if name.endswith(".csv"):
        table = read_csv(name.existing_path(), target)
        if table.texts is None:
            return Regression(dataset=name, target=target)
        return Classification(dataset=name, target=target, model=NETWORKS["vectors"])
    if name.endswith((".npz", "/")):
        return Classification(dataset=name, model=NETWORKS[input_kind_of(name)])
    return Language(dataset=name)


def input_kind_of(name: FileName) -> Inputs:
    """Returns the kind of the examples of a folder or a file.

    Raises:
      UserError: if the file cannot be read.
    """
    if name.endswith("/"):
        return "images"
    if name.endswith(".csv"):
        return "vectors"
    return read_user_data(name).kind if name.endswith(".npz") else "tokens"
