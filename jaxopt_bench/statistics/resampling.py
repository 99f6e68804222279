"""Bootstraps over seeds and over workloads: how draws become intervals."""

from __future__ import annotations

import math

import numpy as np
import scipy.special
from jaxtyping import Float

RESAMPLES = 2_000
FEWEST_SEEDS = 3
"""The fewest results of a contender on a workload that a bootstrap over seeds can draw from."""
FEWEST_WORKLOADS = 5
"""The fewest workloads that a bootstrap over workloads can draw from."""


def widening(confidence: float, count: int, freedom: int) -> float:
    """Returns the factor by which a normal interval of a mean is too narrow if its variance is that of a bootstrap.

    A bootstrap of n values has a variance that is too small by (n − 1) / n, and normal tails in place of Student's.

    Args:
      confidence: of the interval.
      count: how many values are drawn from, of each stratum if there are several.
      freedom: degrees of freedom of Student's distribution: n − 1, or the sum of these over strata.
    """
    quantile = scipy.special.stdtrit(freedom, (1 + confidence) / 2)
    return math.sqrt(count / (count - 1)) * float(quantile / scipy.special.ndtri((1 + confidence) / 2))


def tail_of(confidence: float, count: int, freedom: int) -> float:
    """Returns the share of draws that each tail of an interval leaves out, so that it is wider by `widening`.

    With α = 1 − confidence, z the quantiles of the normal distribution and w the factor, it is Φ(−w z(1 − α/2)).

    Args:
      confidence: of the interval.
      count: see `widening`.
      freedom: see `widening`.

    Source: Hesterberg 2015, "What teachers should know about the bootstrap" (the expanded percentile interval).
    """
    return float(scipy.special.ndtr(widening(confidence, count, freedom) * scipy.special.ndtri((1 - confidence) / 2)))


def ends_of(draws: Float[np.ndarray, " draws"], tail: float) -> tuple[float, float]:
    """Returns the ends of a percentile interval. They are values among the draws, which may be infinite.

    Args:
      draws: values of a statistic for samples that were drawn again; inf if it has no finite value.
      tail: the share of draws to leave out at each end.
    """
    ascending = np.sort(draws)
    cut = min(int(tail * len(ascending)), (len(ascending) - 1) // 2)
    return float(ascending[cut]), float(ascending[-1 - cut])
