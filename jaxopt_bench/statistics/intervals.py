"""Means of a few values and their confidence intervals."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

import scipy.special  # the import of scipy.stats takes a second or two

from jaxopt_bench.statistics.checks import check_finite, check_share

MOST_EXPONENT = 700.0  # e to a higher power is outside the range of a float


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean and its confidence interval.

    Attributes:
      mean: the mean of the values.
      interval: the lower and the upper end of the interval; None for a single value, which gives no estimate of noise.
      count: the number of values.
    """

    mean: float
    interval: tuple[float, float] | None
    count: int

    @property
    def low(self) -> float:
        """The lower end of the interval; the mean if there is no interval."""
        return self.mean if self.interval is None else self.interval[0]

    @property
    def high(self) -> float:
        """The upper end of the interval; the mean if there is no interval."""
        return self.mean if self.interval is None else self.interval[1]


def estimate(
    values: Sequence[float],
    confidence: float = 0.95,
    *,
    least: float | None = None,
    greatest: float | None = None,
    least_deviation: float = 0.0,
) -> Estimate:
    """Returns the mean of independent values and a confidence interval within the bounds of the values.

    This is Student's t interval. For normal values, it covers the true mean with exactly the given confidence, for any
    number of values. Bootstraps have a lower coverage: the 95% percentile interval of 3 normal values covers the true
    mean in 75% of cases, and the 95% BCa interval of 25 values in 92%. The order of the values does not matter.

    If a quantity has one bound, the t interval is computed for the logarithm of the distance d of the mean from this
    bound. The standard error of the logarithm is s / (d · √n) by the delta method, so the distances of the ends from
    the bound are d · exp(± t · s / (d · √n)). For a quantity that is never negative, such as a loss, d is the mean. The
    95% interval covers the true mean of normal values as often as the plain t interval, and that of lognormal values
    more often. The table shows the coverage in 200,000 samples of n values each, in percent (the plain t interval in
    parentheses):

    ================================  ===========  ===========  ===========  ===========
    values                            n = 2        n = 3        n = 5        n = 8
    ================================  ===========  ===========  ===========  ===========
    normal, deviation 0.1 of mean     95.0 (95.0)  95.0 (95.0)  95.0 (95.0)  95.0 (95.0)
    normal, deviation 0.2 of mean     95.0 (95.0)  95.0 (95.0)  95.1 (95.0)  95.1 (95.0)
    lognormal, sigma 0.3              94.8 (94.5)  94.7 (94.0)  94.5 (93.8)  94.4 (93.8)
    lognormal, sigma 0.5              94.8 (93.9)  94.2 (92.3)  93.6 (91.6)  93.3 (91.8)
    lognormal, sigma 1                93.8 (89.3)  91.5 (83.7)  88.9 (82.1)  88.2 (83.0)
    ================================  ===========  ===========  ===========  ===========

    The interval of a quantity with two bounds, such as an accuracy, is the plain t interval, cut off at the bounds.

    Args:
      values: at least one value, such as the results of several seeds, in any unit.
      confidence: the probability that the interval contains the true mean.
      least: the least possible value, such as 0 for a loss; None if there is none. If a value is nevertheless below
        this bound, the bound is ignored.
      greatest: the greatest possible value, such as 1 for R²; in the same way.
      least_deviation: the least standard deviation of the values; see `least_deviation`. If it is 0, equal values have
        an interval of width zero.

    Returns:
      The estimate, in the unit of the values.

    Raises:
      UserError: if there are no values, or a value is not finite.

    Source: Student 1908, "The probable error of a mean"; Oehlert 1992, "A note on the delta method".
    """
    check_finite("values", values)
    check_share("confidence", confidence)
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Estimate(mean, None, 1)
    low, high = t_interval(
        mean,
        max(statistics.stdev(values), least_deviation),
        len(values),
        confidence,
        least if least is not None and min(values) >= least else None,
        greatest if greatest is not None and max(values) <= greatest else None,
    )
    return Estimate(mean, (low, high), len(values))


def t_interval(
    mean: float, deviation: float, count: int, confidence: float, least: float | None, greatest: float | None
) -> tuple[float, float]:
    """Returns the ends of Student's t interval, within the bounds of the values; see `estimate`.

    Args:
      mean: the mean of the values.
      deviation: their sample standard deviation.
      count: the number of values, at least 2.
      confidence: the probability that the interval contains the true mean.
      least: the least possible value; no value is below it. None if there is none.
      greatest: the greatest possible value; no value is above it. None if there is none.
    """
    quantile = float(scipy.special.stdtrit(count - 1, (1 + confidence) / 2))
    margin = quantile * deviation / math.sqrt(count)
    if least is not None and greatest is not None:
        return min(max(mean - margin, least), mean), max(min(mean + margin, greatest), mean)
    if least is not None:
        near, far = _distances(mean - least, margin)
        return min(least + near, mean), max(least + far, mean)
    if greatest is not None:
        near, far = _distances(greatest - mean, margin)
        return min(greatest - far, mean), max(greatest - near, mean)
    return mean - margin, mean + margin


def _distances(distance: float, margin: float) -> tuple[float, float]:
    """Returns the distances of the ends of an interval from a bound: first the nearer end, then the farther end."""
    if distance <= 0:
        return 0.0, margin
    factor = math.exp(min(margin / distance, MOST_EXPONENT))
    return distance / factor, distance * factor
