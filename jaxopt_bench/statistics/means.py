"""Means of values, some of which may be unknown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def complete_mean(values: Sequence[float | None]) -> float | None:
    """Returns the mean; None if there are no values, or a value is None."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None
