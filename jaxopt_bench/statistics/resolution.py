"""The resolution of measured values, and the least deviation that follows from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxopt_bench.statistics.checks import check_finite

MOST_EXAMPLES = 100_000
"""The largest number of examples that `share_step` can find."""
FLOAT32 = 2.0**-23
"""The relative distance between neighbouring float32 numbers."""
_MOST_VALUES = 64


def share_step(values: Sequence[float]) -> float | None:
    """Returns the greatest 1/n such that all values are multiples of it, like shares of n examples.

    The values may be rounded to float32. The step 1/n belongs to the smallest number n of examples that is consistent
    with the values. Of 128 or more different values, only a part is used. The true number of examples may be larger:
    for example 100 instead of 10 if all shares are tenths. Then the step is too large. It is never too small.

    Args:
      values: values from 0 to 1.

    Returns:
      The step; None if all values are 0 or 1, which are consistent with any number, or if no number up to 100,000 is
      consistent with the values.

    Raises:
      UserError: if there are no values, or a value is not finite.
    """
    check_finite("values", values)
    different = np.unique(np.asarray(values, np.float64))
    if np.isin(different, (0.0, 1.0)).all():
        return None
    counts = np.arange(2, MOST_EXAMPLES + 1, dtype=np.float64)
    for value in different[:: max(1, len(different) // _MOST_VALUES)]:
        numbers = counts * value
        counts = counts[np.abs(numbers - np.round(numbers)) <= 2 * FLOAT32 * counts]
    return float(1 / counts[0]) if len(counts) else None


def least_deviation(values: Sequence[float], *, shares: bool) -> float:
    """Returns the smallest standard deviation that a test should assume, even if the measured values are equal.

    A few values that are measured in steps can be equal by chance. Then their sample deviation is zero, and a test
    would call any difference significant. Values that alternate between two neighbouring steps have a standard
    deviation of up to half a step, and a few of them are often equal. If half a step is the least deviation, the test
    keeps its level for equal optimizers (see the tests of `compare_pairs`).

    Args:
      values: all measured values, in any unit.
      shares: whether each value is a share of the same number of examples, such as an accuracy.

    Returns:
      The standard deviation, in the unit of the values: half a step. If the values are not shares, or `share_step`
      finds no step, the step is that of float32 numbers at the largest absolute value.

    Raises:
      UserError: if there are no values, or a value is not finite.

    Source: Popoviciu 1935, "Sur les équations algébriques ayant toutes leurs racines réelles": the variance of values
    in an interval is at most the square of half its width.
    """
    check_finite("values", values)
    step = share_step(values) if shares else None
    if step is None:
        step = max(FLOAT32 * max(abs(value) for value in values), float(np.finfo(np.float32).tiny))
    return step / 2
