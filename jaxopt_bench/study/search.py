"""Draws trials from a search space."""

from __future__ import annotations

import hashlib
import itertools
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import Axis, Choice, Space

Point = dict[str, Any]
"""The values that a trial draws for fields of its optimizer and its schedule, by the names of the fields."""


FIRST_FIELDS = ("optimizer.learning_rate", "optimizer.weight_decay")
"""The fields that have the first dimensions of the cube, because nearly all search spaces have them. The other fields
follow in the order of their names."""

_LEAST_DIMENSIONS = 16  # of the cube; scrambling depends on the number of dimensions, so most spaces share one


def draw(space: Space, count: int, how: str, *purpose: int | str) -> list[Point]:
    """Returns different points of a search space.

    If more points are drawn, the first points remain the same, except in a grid.

    Points are drawn in the unit cube, and each field has a dimension, see `FIRST_FIELDS`. A coordinate of a point is a
    share of the field's range. So with equal purposes, spaces with the same number of fields draw the same shares of
    their ranges, and spaces with different numbers of fields share the dimensions that both have. The order of the
    fields in a space does not affect the points.

    Args:
      space: a search space with at least one field.
      count: the number of points; a grid may have fewer, and so may a space with few values.
      how: "sobol" (a scrambled Sobol sequence: Owen, "Randomly permuted (t,m,s)-nets and (t,s)-sequences", 1995),
        "random" (independent draws) or "grid".
      *purpose: identifies the draw: equal purposes give equal points, and different purposes give independent points.

    Returns:
      The points, with their fields in the order of their dimensions.

    Raises:
      UserError: if `count` is too small for a grid with two values of each range.
    """
    space = Space({field: space[field] for field in sorted(space, key=_dimension)})
    if how == "grid":
        return _grid(space, count)
    shares, wanted, drawn = {"sobol": _sobol, "random": _random}[how], min(count, _size(space)), count
    points = _distinct(space, shares(len(space), drawn, _seed(purpose)))
    while len(points) < wanted and drawn < _MOST_DRAWS * count:  # some points were drawn twice
        drawn *= 2  # of the same sequence
        points = _distinct(space, shares(len(space), drawn, _seed(purpose)))
    return points[:count]


def _dimension(field: str) -> tuple[int, str]:
    """Returns the sort key of a field."""
    return FIRST_FIELDS.index(field) if field in FIRST_FIELDS else len(FIRST_FIELDS), field


_MOST_DRAWS = 64  # the maximum of draws for each wanted point: more than enough to find all points of a small space


def _size(space: Space) -> float:
    """Returns the number of points of a space."""
    return math.prod(len(set(s.values)) if isinstance(s, Choice) else math.inf for s in space.values())


def _distinct(space: Space, rows: Iterable[Sequence[float]]) -> list[Point]:
    """Returns the points without duplicates, in drawing order."""
    points: dict[tuple[object, ...], Point] = {}
    for row in rows:
        point = _point(space, row)
        points.setdefault(tuple(point.values()), point)
    return list(points.values())


def _point(space: Space, shares: Sequence[float]) -> Point:
    return {field: searched.value(float(s)) for (field, searched), s in zip(space.items(), shares, strict=True)}


def _sobol(dimensions: int, count: int, seed: int) -> np.ndarray:
    from scipy.stats import qmc  # takes a second or two to import

    sampler = qmc.Sobol(max(dimensions, _LEAST_DIMENSIONS), scramble=True, rng=np.random.default_rng(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # SciPy warns unless the count is a power of two
        return sampler.random(count)[:, :dimensions]


def _random(dimensions: int, count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((count, max(dimensions, _LEAST_DIMENSIONS)))[:, :dimensions]


def _seed(purpose: Sequence[int | str]) -> int:
    return int.from_bytes(hashlib.sha256("\n".join(map(str, purpose)).encode()).digest()[:8], "big")


def _grid(space: Space, count: int) -> list[Point]:
    """Returns the largest grid with at most `count` points. Its ranges have about equal numbers of values."""
    sizes = {field: len(searched.values) if isinstance(searched, Choice) else 2 for field, searched in space.items()}
    if math.prod(sizes.values()) > count:
        raise UserError(
            f"a grid over {', '.join(space)} has at least {math.prod(sizes.values())} points where the budget is "
            f"{count} trials. Expected: a larger budget, fewer fields, or another search."
        )
    ranges = [field for field, searched in space.items() if not isinstance(searched, Choice)]
    while ranges:
        smallest = min(ranges, key=lambda field: sizes[field])
        if math.prod(sizes.values()) // sizes[smallest] * (sizes[smallest] + 1) > count:
            break
        sizes[smallest] += 1
    values = [_values(space[field], size) for field, size in sizes.items()]
    return [dict(zip(sizes, point, strict=True)) for point in itertools.product(*values)]


def _values(searched: Axis | Choice, size: int) -> Sequence[object]:
    return searched.values if isinstance(searched, Choice) else [searched.value(i / (size - 1)) for i in range(size)]
