"""The parameter table and the parameter count. Neither imports TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import jaxopt_bench
from jaxopt_bench.models import CNN, MODELS, count_parameters, parameter_overview


def test_the_count_is_the_number_of_array_elements() -> None:
    params = {"a": np.zeros((3, 4)), "b": {"c": np.zeros(5), "d": np.zeros(())}}
    assert count_parameters(params) == 3 * 4 + 5 + 1
    assert count_parameters({}) == 0


@pytest.mark.parametrize("name", ["cnn", "resnet20"])
def test_the_table_has_a_row_for_each_parameter_and_their_total(shapes_of: Callable[..., Any], name: str) -> None:
    variables = shapes_of(MODELS[name].module(10), 32, 32, 3)
    table = parameter_overview(variables)
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")][1:]
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(variables["params"])]
    assert sorted(rows) == sorted("/".join(part.key for part in path) for path in paths)
    assert f"Total: {count_parameters(variables['params']):,} " in table


def test_shapes_parameters_and_arrays_give_the_same_table(
    shapes_of: Callable[..., Any], random_variables: Callable[..., Any]
) -> None:
    module = CNN().module(10)
    shapes = shapes_of(module, 8, 8, 1)
    arrays = random_variables(module, 8, 8, 1)
    assert parameter_overview(shapes) == parameter_overview(shapes["params"]) == parameter_overview(arrays)


CHILD = """
import sys

class Watch:
    seen = []
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tensorflow":
            self.seen.append(name)

sys.meta_path.insert(0, Watch())
import numpy
from jaxopt_bench.models import parameter_overview
print(parameter_overview({"weights": numpy.zeros((3, 5))}).splitlines()[-1])
print("asked for:", Watch.seen)
try:
    import tensorflow
except ImportError:
    pass
print("watched:", Watch.seen[:1])
"""


def test_the_models_and_their_overview_do_not_import_tensorflow() -> None:
    root = Path(jaxopt_bench.__file__).parents[1]
    child = subprocess.run([sys.executable, "-c", CHILD], cwd=root, capture_output=True, text=True, check=True)
    assert child.stdout.splitlines() == ["Total: 15 -- 120 bytes", "asked for: []", "watched: ['tensorflow']"]
