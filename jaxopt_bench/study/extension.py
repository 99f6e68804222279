"""Extensions of search spaces: boxes beyond an edge of a space, in which some of the trials are drawn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from jaxopt_bench.config import Bounds, Config
from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import Axis, Choice, Space


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extension(Config):
    """A box in which some of a contender's trials are drawn, instead of its search space.

    Both ends are budgets in the unit of the study: trials, or epochs of trials.

    Raises:
      UserError: if the box has no trials, or there are no trials before it.
    """

    after: int
    """The budget before the first trial in the box."""
    until: int
    """The budget including the last trial in the box."""
    space: Space
    """The box, with the same fields as the search space."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.after < self.until:
            raise UserError(f"Extension.after is {self.after} and until is {self.until}. Expected 0 < after < until.")


def union(spaces: Sequence[Space]) -> Space:
    """Returns the smallest space that contains some spaces with the same fields and scales."""
    first, *others = spaces
    return Space({field: _around(searched, [space[field] for space in others]) for field, searched in first.items()})


def _around(searched: Axis | Choice, others: Sequence[Axis | Choice]) -> Axis | Choice:
    if isinstance(searched, Choice):
        return searched
    axes = [searched, *(other for other in others if isinstance(other, Axis))]
    return dataclasses.replace(searched, low=min(a.low for a in axes), high=max(a.high for a in axes))


def axis_beyond(axis: Axis, *, higher: bool, bounds: Bounds) -> Axis | None:
    """Returns the range beyond an end of a range: one more decade, or on a linear scale half of the range.

    Args:
      axis: the range.
      higher: whether to extend the end with the higher values.
      bounds: the bounds of the hyperparameter; the new range does not exceed them.

    Returns:
      The new range, which starts at the end of the old one; None if the bounds leave no range.
    """
    at_high = higher != (axis.scale == "log_one_minus")  # `axis.high` is the end of 1 minus the value
    edge = axis.high if at_high else axis.low
    if axis.scale == "linear":
        end = edge + (axis.high - axis.low) / 2 * (1 if at_high else -1)
    else:
        end = edge * 10 if at_high else edge / 10
    end = _limited(end, axis, bounds)
    low, high = (edge, end) if at_high else (end, edge)
    return Axis(low, high, axis.scale, "beyond an edge of the search space") if low < high else None


def _limited(end: float, axis: Axis, bounds: Bounds) -> float:
    """Returns the end of a range, or the bound of its hyperparameter if the end is beyond it."""
    is_one_minus = axis.scale == "log_one_minus"  # a decay rate, which is not negative
    least = next((b for b in (bounds.at_least, bounds.above) if b is not None), 0.0 if is_one_minus else -math.inf)
    most = next((b for b in (bounds.at_most, bounds.below) if b is not None), math.inf)
    value = 1 - end if is_one_minus else end
    limited = min(max(value, least), most)
    if limited == value:
        return end
    return 1 - limited if is_one_minus else limited
