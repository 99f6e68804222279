"""Sweeps: one experiment at every point of a grid of its optimizer's and schedule's numbers, with several seeds."""

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
"""The largest number of runs of a grid. More are probably a typing error."""


def grid(experiment: Experiment, values: Mapping[str, Sequence[float]], seeds: int = 1) -> list[Experiment]:
    """Returns an experiment for every combination of the fields' values and of `seeds` seeds from its own on.

    Args:
      experiment: what they are all like.
      values: by field, as "optimizer.learning_rate"; fields that are arrays in training.
      seeds: how many.

    Raises:
      UserError: for a field that cannot be swept, a value that its field does not accept, values that are equal in
        float32, in which they are trained, or too many runs.
    """
    total = seeds * math.prod(map(len, values.values()))
    if total > LARGEST_GRID:
        raise UserError(f"these values and seeds make {total:,} runs. Expected at most {LARGEST_GRID:,}.")
    for name, points in values.items():
        _check_field(experiment, name)
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
    """Returns the fields that a population's members may differ in, the seed apart."""
    parts: Sequence[tuple[str, Config]] = (("optimizer", experiment.optimizer), ("schedule", experiment.schedule))
    return [
        f"{part}.{name}"
        for part, config in parts
        for name, value in float_fields(config).items()
        if isinstance(value, float)
    ]


def _check_field(experiment: Experiment, name: str) -> None:
    fields = sweepable(experiment)
    if name not in fields:
        raise unknown_name("field to sweep", name, fields)


def _check_distinct(name: str, values: Sequence[float]) -> None:
    """Checks that no two values are one in training, whose numbers have some seven digits."""
    with np.errstate(over="ignore", under="ignore"):
        trained = np.asarray(values, np.float64).astype(np.float32).tolist()
    first: dict[float, float] = {}
    for value, rounded in zip(values, trained, strict=True):
        if rounded in first:
            raise UserError(
                f"{name}: {first[rounded]!r} and {value!r} are the same number in float32, in which training computes. "
                "Expected values that differ there."
            )
        first[rounded] = value
