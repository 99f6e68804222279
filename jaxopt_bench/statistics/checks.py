"""Checks of the arguments of the statistics, with messages for users."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Sized

from jaxopt_bench.errors import UserError

CONFIDENCE = 0.95
"""The confidence level of intervals, margins and tests."""


def check_finite(name: str, values: Sequence[float]) -> None:
    """Raises `UserError` for an empty list or values that are not finite."""
    _check_each(name, values, math.isfinite, "finite numbers")


def check_ordered(name: str, values: Sequence[float]) -> None:
    """Raises `UserError` for an empty list or NaN, which cannot be ordered. Infinite values are accepted."""
    _check_each(name, values, lambda value: not math.isnan(value), "numbers, infinite ones too")


def check_share(name: str, value: float) -> None:
    """Raises `UserError` for a value that is not strictly between 0 and 1."""
    if not 0 < value < 1:
        raise UserError(f"{name} is {value}. Expected: a number between 0 and 1, as 0.95.")


def check_lengths(**lists: Sized) -> None:
    """Raises `UserError` for lists of different lengths."""
    if len({len(values) for values in lists.values()}) > 1:
        found = ", ".join(f"{len(values)} {name}" for name, values in lists.items())
        raise UserError(f"there are {found}. Expected: as many of each.")


def _check_each(name: str, values: Sequence[float], accepts: Callable[[float], bool], accepted: str) -> None:
    if len(values) == 0:
        raise UserError(f"{name} is empty. Expected: at least one value.")
    for value in values:
        if not accepts(value):
            raise UserError(f"{name} has the value {value}. Expected: {accepted}.")
