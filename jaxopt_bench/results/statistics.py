"""What a handful of seeds says about a mean."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

import scipy.special  # scipy.stats takes a second or two to import


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean and how sure it is.

    Attributes:
      mean: of the values.
      margin: half the width of its confidence interval; None where a single value says nothing of it.
      count: how many values there are.
    """

    mean: float
    margin: float | None
    count: int

    @property
    def low(self) -> float:
        """The interval's lower end; the mean itself where there is none."""
        return self.mean - (self.margin or 0.0)

    @property
    def high(self) -> float:
        """The interval's upper end; the mean itself where there is none."""
        return self.mean + (self.margin or 0.0)


def estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Returns the mean of independent values and Student's t interval of it.

    With three values it covers as often as it says, where a percentile bootstrap covers 75% for its 95%.

    Args:
      values: at least one, as of several seeds.
      confidence: how often the interval should hold the true mean.

    Source: Student, "The probable error of a mean", 1908.
    """
    mean, count = statistics.fmean(values), len(values)
    if count == 1:
        return Estimate(mean, None, 1)
    quantile = float(scipy.special.stdtrit(count - 1, (1 + confidence) / 2))
    return Estimate(mean, quantile * statistics.stdev(values) / math.sqrt(count), count)
