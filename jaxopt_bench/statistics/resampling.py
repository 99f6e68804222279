"""Bootstraps over seeds and over workloads: the intervals from the draws."""

from __future__ import annotations

import math

import numpy as np
import scipy.special
from jaxtyping import Float

from jaxopt_bench.statistics.checks import CONFIDENCE

RESAMPLES = 2_000
FEWEST_SEEDS = 3
"""The smallest number of results of a contender on a workload for a bootstrap over seeds."""
FEWEST_WORKLOADS = 5
"""The smallest number of workloads for a bootstrap over workloads."""


def interval_inflation(count: int, freedom: int) -> float:
    """Returns the factor by which a normal interval of a mean with the variance of a bootstrap is too narrow.

    The variance of a bootstrap of n values is too small by the factor (n − 1) / n, and its tails are normal instead of
    Student's.

    Args:
      count: the number of values in the sample, or in each stratum if there are several strata.
      freedom: the degrees of freedom of Student's distribution: n − 1, or the sum of n − 1 over the strata.
    """
    quantile = scipy.special.stdtrit(freedom, (1 + CONFIDENCE) / 2)
    return math.sqrt(count / (count - 1)) * float(quantile / scipy.special.ndtri((1 + CONFIDENCE) / 2))


def tail_share(count: int, freedom: int) -> float:
    """Returns the share of draws to omit in each tail of an interval to widen the interval by `interval_inflation`.

    It is Φ(−w z(1 − α/2)), where α = 5%, z is the quantile function of the normal distribution and w is the
    factor.

    Args:
      count: see `interval_inflation`.
      freedom: see `interval_inflation`.

    Source: Hesterberg 2015, "What teachers should know about the bootstrap" (the expanded percentile interval).
    """
    return float(scipy.special.ndtr(interval_inflation(count, freedom) * scipy.special.ndtri((1 - CONFIDENCE) / 2)))


def percentile_interval(draws: Float[np.ndarray, " draws"], tail: float) -> tuple[float, float]:
    """Returns the ends of a percentile interval. Each end is one of the draws, which may be infinite.

    Args:
      draws: the values of a statistic for resampled data; inf if the statistic has no finite value.
      tail: the share of draws to omit at each end.
    """
    ascending = np.sort(draws)
    cut = min(int(tail * len(ascending)), (len(ascending) - 1) // 2)
    return float(ascending[cut]), float(ascending[-1 - cut])
