"""What the statistics refuse, in a user's words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Sized

from jaxopt_bench.errors import UserError


def check_finite(name: str, values: Sequence[float]) -> None:
    """Refuses an empty list and values that are not finite."""
    _check_each(name, values, math.isfinite, "finite numbers")


def check_ordered(name: str, values: Sequence[float]) -> None:
    """Refuses an empty list and NaN, which no order has a place for; infinite values pass."""
    _check_each(name, values, lambda value: not math.isnan(value), "numbers, infinite ones too")


def check_share(name: str, value: float) -> None:
    """Refuses what is not strictly between 0 and 1."""
    if not 0 < value < 1:
        raise UserError(f"{name} is {value}. Expected: a number between 0 and 1, as 0.95.")


def check_lengths(**lists: Sized) -> None:
    """Refuses lists that are not equally long."""
    if len({len(values) for values in lists.values()}) > 1:
        found = ", ".join(f"{len(values)} {name}" for name, values in lists.items())
        raise UserError(f"there are {found}. Expected: as many of each.")


def _check_each(name: str, values: Sequence[float], accepts: Callable[[float], bool], accepted: str) -> None:
    if len(values) == 0:
        raise UserError(f"{name} is empty. Expected: at least one value.")
    for value in values:
        if not accepts(value):
            raise UserError(f"{name} has the value {value}. Expected: {accepted}.")
