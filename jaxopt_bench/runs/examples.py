"""`test_examples.npz`: the result of a run's model for each test example.

It is a NumPy archive, neither compressed nor pickled. It has an array for each step at which the test split was
evaluated:

    <metric>/<step>    bool or float32 [n]    the contribution of each of n test examples to the headline metric, such
                                              as whether it is classified correctly; see `Metric.contributions`
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32

from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.files import replacing
from jaxopt_bench.problems import Metric
from jaxopt_bench.runs.arrays import read_arrays

EXAMPLES = "test_examples.npz"


def load_examples(path: str | pathlib.Path, metric: str) -> dict[int, Float32[np.ndarray, " examples"]]:
    """Returns the contribution of each test example to a metric, by the step at which the test split was evaluated.

    Args:
      path: `runs/<experiment>/<digest>`.
      metric: the name of the run's headline metric.

    Returns:
      An array for each step; {} if nothing was recorded.

    Raises:
      UserError: if the file is damaged; the message names the array.
    """
    path = pathlib.Path(path) / EXAMPLES
    if not path.exists():
        return {}
    found = {}
    for name, array in read_arrays(path).items():
        of, _, step = name.rpartition("/")
        if of != metric or not step.isdecimal():
            raise UserError(f"{path} is damaged: the array {shortened(name)} is unknown. Expected {metric}/STEP.")
        if array.ndim != 1 or array.dtype not in (np.bool_, np.float32) or not np.isfinite(array).all():
            raise UserError(
                f"{path} is damaged: {name} is {array.dtype}{list(array.shape)}. Expected finite numbers, bool or "
                "float32 [examples]."
            )
        found[int(step)] = array.astype(np.float32)
    return found


def save_examples(path: pathlib.Path, metric: Metric, step: int, statistics: Mapping[str, np.ndarray]) -> None:
    """Adds the contribution of each test example to a metric to the file of a run.

    It writes nothing if the metric has no contributions of single examples, or if a contribution is not finite.

    Args:
      path: `runs/<experiment>/<digest>`.
      metric: the run's headline metric.
      step: the step at which the test split was evaluated.
      statistics: the statistics of each test example [examples], by name.

    Raises:
      UserError: if the file exists and is damaged.
    """
    values = metric.contributions(statistics)
    if values is None or not np.isfinite(values).all():
        return
    arrays = {**load_examples(path, metric.name), step: values.astype(np.float32)}
    with replacing(path / EXAMPLES, follow_links=False) as (file, _):
        packed = {f"{metric.name}/{step}": _packed(array) for step, array in arrays.items()}
        np.savez(file, **packed)  # type: ignore[arg-type]


def _packed(array: Float32[np.ndarray, " examples"]) -> np.ndarray:
    """Returns numbers as booleans if all are 0 or 1, because booleans need a quarter of the bytes."""
    return array.astype(np.bool_) if np.isin(array, (0.0, 1.0)).all() else array
