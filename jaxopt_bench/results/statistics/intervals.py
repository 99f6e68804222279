"""What a handful of seeds says about a mean."""

from __future__ import annotations

import dataclasses
import math
import statistics
import warnings
from collections.abc import Sequence

import numpy as np
import scipy.special  # scipy.stats takes a second or two to import

from jaxopt_bench.results.statistics.checks import check_finite, check_share

BOOTSTRAP_FROM = 20  # values: with fewer a bootstrap covers less often than it says
RESAMPLES = 9999


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean and how sure it is.

    Attributes:
      mean: of the values.
      margin: half the width of its confidence interval; None where a single value says nothing of it.
      count: how many values there are.
      middle: of the interval; None where that is the mean.
    """

    mean: float
    margin: float | None
    count: int
    middle: float | None = None

    @property
    def low(self) -> float:
        """The interval's lower end; the mean itself where there is none."""
        return self._middle - (self.margin or 0.0)

    @property
    def high(self) -> float:
        """The interval's upper end; the mean itself where there is none."""
        return self._middle + (self.margin or 0.0)

    @property
    def _middle(self) -> float:
        return self.mean if self.middle is None else self.middle


def estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Returns the mean of independent values and an interval of it.

    Below 20 values that is Student's t interval, which over three normal values covers as often as it says, where a
    percentile bootstrap covers 75% for its 95%. From 20 on it is the BCa bootstrap, which follows a skewed
    distribution and need not be symmetric: over 25 normal values it covers 92%, over lognormal ones 89%, where the t
    interval covers 95% and 88%. The same values in any order have the same interval.

    Args:
      values: at least one, as of several seeds, in any unit.
      confidence: how often the interval should hold the true mean.

    Returns:
      The estimate, in the values' unit. Equal values have an interval of width zero.

    Raises:
      UserError: where there are no values, or one that is not finite.

    Source: Student 1908, "The probable error of a mean"; Efron 1987, "Better bootstrap confidence intervals".
    """
    check_finite("values", values)
    check_share("confidence", confidence)
    mean, count = statistics.fmean(values), len(values)
    if count == 1:
        return Estimate(mean, None, 1)
    if count >= BOOTSTRAP_FROM and min(values) < max(values):
        low, high = _bootstrap(values, confidence)
        if math.isfinite(low) and math.isfinite(high):  # not so where values differ by rounding alone
            return Estimate(mean, (high - low) / 2, count, (low + high) / 2)
    quantile = float(scipy.special.stdtrit(count - 1, (1 + confidence) / 2))
    return Estimate(mean, quantile * statistics.stdev(values) / math.sqrt(count), count)


def _bootstrap(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """Returns the ends of the mean's BCa interval; NaN where it has none."""
    import scipy.stats  # here, so that the command line starts without it

    with warnings.catch_warnings():  # SciPy's words on NaN
        warnings.simplefilter("ignore")
        low, high = scipy.stats.bootstrap(
            (np.sort(np.asarray(values, np.float64)),),
            np.mean,
            n_resamples=RESAMPLES,
            batch=max(1, 1_000_000 // len(values)),  # a few megabytes
            confidence_level=confidence,
            method="BCa",
            rng=np.random.default_rng(0),
        ).confidence_interval
    return float(low), float(high)
