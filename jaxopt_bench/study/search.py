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
"""What a trial draws: values of some fields of its optimizer and its schedule, by their names."""


def draw(space: Space, count: int, how: str, *purpose: int | str) -> list[Point]:
    """Returns points of a search space, by field, no two the same.

    The first ones of more points are those of fewer, but for a grid's.

    Args:
      space: at least one field.
      count: how many points; how many at most of a grid, and of a space that has no more.
      how: "sobol" (a scrambled Sobol sequence: Owen, "Randomly permuted (t,m,s)-nets and (t,s)-sequences", 1995),
        "random" (independent draws) or "grid".
      *purpose: what tells this draw from others: equal purposes give equal points.

    Raises:
      UserError: for a grid of so few points that some range would have no second one.
    """
    if how == "grid":
        return _grid(space, count)
    shares, wanted, drawn = {"sobol": _sobol, "random": _random}[how], min(count, _size(space)), count
    points = _distinct(space, shares(len(space), drawn, _seed(purpose)))
    while len(points) < wanted and drawn < _MOST_DRAWS * count:  # some were drawn twice: on in the same sequence
        drawn *= 2
        points = _distinct(space, shares(len(space), drawn, _seed(purpose)))
    return points[:count]


_MOST_DRAWS = 64  # as often as points are wanted: more than a space needs that has as many and none to spare


def _size(space: Space) -> float:
    """Returns how many points a space has."""
    return math.prod(len(set(s.values)) if isinstance(s, Choice) else math.inf for s in space.values())


def _distinct(space: Space, rows: Iterable[Sequence[float]]) -> list[Point]:
    """Returns the points, each where it comes first."""
    points: dict[tuple[object, ...], Point] = {}
    for row in rows:
        point = _point(space, row)
        points.setdefault(tuple(point.values()), point)
    return list(points.values())


def _point(space: Space, shares: Sequence[float]) -> Point:
    return {field: searched.value(float(s)) for (field, searched), s in zip(space.items(), shares, strict=True)}


def _sobol(dimensions: int, count: int, seed: int) -> np.ndarray:
    from scipy.stats import qmc  # takes a second or two to import

    sampler = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a count is no power of two, which a budget need not be
        return sampler.random(count)


def _random(dimensions: int, count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((count, dimensions))


def _seed(purpose: Sequence[int | str]) -> int:
    return int.from_bytes(hashlib.sha256("\n".join(map(str, purpose)).encode()).digest()[:8], "big")


def _grid(space: Space, count: int) -> list[Point]:
    """Returns the largest grid of at most `count` points whose ranges have as equal a number of values as can be."""
    sizes = {field: len(searched.values) if isinstance(searched, Choice) else 2 for field, searched in space.items()}
    if math.prod(sizes.values()) > count:
        raise UserError(
            f"a grid over {', '.join(space)} has at least {math.prod(sizes.values())} points where the budget is "
            f"{count} trials; accepted: a larger budget, fewer fields, or another search."
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
