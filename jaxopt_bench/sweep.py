"""Sweeps: an experiment at every point of a grid of hyperparameters, with several seeds."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from jaxopt_bench.config import Config, float_fields
from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.experiment import Experiment

LARGEST_GRID = 10_000
"""The largest number of runs in a grid. A larger number is probably a typing error."""


def grid(experiment: Experiment, values: Mapping[str, Sequence[float]], seeds: int = 1) -> list[Experiment]:
    """Returns an experiment for every combination of the fields' values, with each of several seeds.

    Args:
      experiment: the experiment with the values of all other fields.
      values: the values by field, such as "optimizer.learning_rate"; only fields that are arrays in training.
      seeds: the number of consecutive seeds; the first one is the seed of `experiment`.

    Raises:
      UserError: for a field that cannot be swept, a value that its field does not accept, values that are equal in
        float32 (the precision of training), or too many runs.
    """
    total = seeds * math.prod(map(len, values.values()))
    if total > LARGEST_GRID:
        raise UserError(f"these values and seeds make {total:,} runs. Expected at most {LARGEST_GRID:,}.")
    fields = sweepable(experiment)
    for name, points in values.items():
        if name not in fields:
            raise unknown_name("field to sweep", name, fields)
        _check_distinct(name, points)
    made = []
    for combination in itertools.product(*values.values()):
        point = experiment
        for name, value in zip(values, combination, strict=True):
            part, field = name.split(".")
            changed = dataclasses.replace(getattr(point, part), **{field: value})
            point = dataclasses.replace(point, **{part: changed})
        made += [dataclasses.replace(point, seed=experiment.seed + i) for i in range(seeds)]
    return made


def sweepable(experiment: Experiment) -> list[str]:
    """Returns the fields, besides the seed, in which the members of a population may differ."""
    parts: Sequence[tuple[str, Config]] = (("optimizer", experiment.optimizer), ("schedule", experiment.schedule))
    return [
        f"{part}.{name}"
        for part, config in parts
        for name, value in float_fields(config).items()
        if isinstance(value, float)
    ]


def _check_distinct(name: str, values: Sequence[float]) -> None:
    """Checks that all values differ in float32, the precision of training."""
    with np.errstate(over="ignore", under="ignore"):
        trained = np.asarray(values, np.float64).astype(np.float32).tolist()
    first: dict[float, float] = {}
    for value, rounded in zip(values, trained, strict=True):
        if rounded in first:
            raise UserError(
                f"{name}: {first[rounded]!r} and {value!r} are the same number in float32, in which training computes. "
                "Expected values that differ in float32."
            )
        first[rounded] = value
