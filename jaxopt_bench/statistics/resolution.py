"""The resolution of measured values, and the least deviation that follows from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxopt_bench.statistics.checks import check_finite

MOST_EXAMPLES = 100_000
"""The largest number of examples that is recognised."""
FLOAT32 = 2.0**-23
"""The relative distance of neighbouring float32 numbers."""
_MOST_VALUES = 64


def share_step(values: Sequence[float]) -> float | None:
    """Returns the greatest 1/n of which all values are multiples, as shares of n examples are.

    The values may be rounded to float32. A number of examples that all values allow is found also if there are more in
    truth, such as 10 of 100 if all shares are tenths; the step is then too large, never too small.

    Args:
      values: from 0 to 1.

    Returns:
      The step; None if all values are 0 or 1, which allow any number, or if they allow none up to 100,000.

    Raises:
      UserError: if there are no values, or one is not finite.
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
    """Returns the smallest deviation that a test should assume, also if measured values are equal.

    A few values that are measured in steps can be equal by chance. Their sample deviation is then zero, and a test
    would call any difference significant. Values that alternate between two neighbouring steps have a deviation of up
    to half a step, and a few of them are often equal. With it as the least deviation, equal optimizers keep the level
    of the test (see the tests of `compare_pairs`).

    Args:
      values: all that were measured, in any unit.
      shares: whether each is a share of a number of examples, the same for all, such as an accuracy.

    Returns:
      The deviation, in the values' unit: half a step, which for values that are no shares is that of float32.

    Raises:
      UserError: if there are no values, or one is not finite.

    Source: Popoviciu 1935, "Sur les équations algébriques ayant toutes leurs racines réelles": the variance of values
    in an interval is at most the square of half its width.
    """
    check_finite("values", values)
    step = share_step(values) if shares else None
    if step is None:
        step = max(FLOAT32 * max(abs(value) for value in values), float(np.finfo(np.float32).tiny))
    return step / 2
