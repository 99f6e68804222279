"""Sweeps: one experiment at every point of a grid of its optimizer's and schedule's numbers, with several seeds."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping, Sequence

from jaxopt_bench.config import Config, float_arrays
from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.experiment import Experiment

DIGITS = 6  # significant digits of a grid's points: enough to tell them apart, few enough to read
MOST_RUNS = 10_000
"""Runs that a grid may have: more of them are a slip of the finger."""


@dataclasses.dataclass(frozen=True)
class Range:
    """Points from `low` to `high`, both included, evenly spaced in their logarithm.

    Raises:
      UserError: where there are no such points.
    """

    low: float
    high: float
    count: int

    def __post_init__(self) -> None:
        if not (0 < self.low < self.high < math.inf and self.count >= 2):
            raise UserError(
                f"the range {self.low:g}..{self.high:g}:{self.count} has no points that are evenly spaced in their "
                "logarithm; accepted: LOW..HIGH:COUNT with 0 < LOW < HIGH and COUNT >= 2, as 1e-4..1e-1:8."
            )

    @property
    def points(self) -> list[float]:
        """The points, ascending, to six significant digits."""
        ratio = math.log(self.high / self.low)
        inner = (self.low * math.exp(ratio * i / (self.count - 1)) for i in range(1, self.count - 1))
        return [self.low, *(float(f"{point:.{DIGITS}g}") for point in inner), self.high]


def parse_range(word: str) -> Range | None:
    """Returns the range that a word such as "1e-4..1e-1:8" means; None where the word does not look like one.

    Raises:
      UserError: where it looks like one and is none.
    """
    match = re.fullmatch(r"([-+]?\.?\d.*?)\.\.(.*)", word)
    if match is None:
        return None
    try:
        high, _, count = match[2].partition(":")
        return Range(float(match[1]), float(high), int(count))
    except (TypeError, ValueError) as error:
        raise UserError(f"{word!r} is no range; accepted: LOW..HIGH:COUNT, as 1e-4..1e-1:8.") from error


def grid(experiment: Experiment, ranges: Mapping[str, Range], seeds: int = 1) -> list[Experiment]:
    """Returns an experiment for every combination of the ranges' points and of `seeds` seeds from its own on.

    Args:
      experiment: what they are all like.
      ranges: by field, as "optimizer.learning_rate"; fields that are arrays in training.
      seeds: how many.

    Raises:
      UserError: for a field that cannot be swept, a point that its field does not accept, or too many of them.
    """
    total = seeds * math.prod(r.count for r in ranges.values())
    if total > MOST_RUNS:
        raise UserError(f"these ranges and seeds make {total:,} runs; accepted: at most {MOST_RUNS:,}.")
    for name in ranges:
        _check_field(experiment, name)
    made = []
    for values in itertools.product(*(r.points for r in ranges.values())):
        point = experiment
        for name, value in zip(ranges, values, strict=True):
            part, field = name.split(".")
            changed = dataclasses.replace(getattr(point, part), **{field: value})
            point = dataclasses.replace(point, **{part: changed})
        made += [dataclasses.replace(point, seed=experiment.seed + i) for i in range(seeds)]
    return made


def sweepable(experiment: Experiment) -> list[str]:
    """Returns the fields that a population's members may differ in, the seed apart."""
    parts: Sequence[tuple[str, Config]] = (("optimizer", experiment.optimizer), ("schedule", experiment.schedule))
    return [
        f"{part}.{name}" for part, config in parts for name, array in float_arrays(config).items() if array.ndim == 0
    ]


def _check_field(experiment: Experiment, name: str) -> None:
    fields = sweepable(experiment)
    if name not in fields:
        raise unknown_name("field to sweep", name, fields)
