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


def tail_of(confidence: float, count: int, freedom: int) -> float:
    """Returns the share of draws that each tail of a percentile interval leaves out.

    A bootstrap of n values has a variance that is too small by (n − 1) / n, and normal tails in place of Student's. The
    tail is made smaller by as much as both matter for a mean, α'/2 = Φ(−√(n / (n − 1)) t), with t the quantile of
    Student's distribution at 1 − α/2.

    Args:
      confidence: of the interval, 1 − α.
      count: how many values are drawn from, of each stratum if there are several.
      freedom: degrees of freedom of Student's distribution: n − 1, or the sum of these over strata.

    Source: Hesterberg 2015, "What teachers should know about the bootstrap" (the expanded percentile interval).
    """
    quantile = scipy.special.stdtrit(freedom, (1 + confidence) / 2)
    return float(scipy.special.ndtr(-math.sqrt(count / (count - 1)) * quantile))


def ends_of(draws: Float[np.ndarray, " draws"], tail: float) -> tuple[float, float]:
    """Returns the ends of a percentile interval. They are values among the draws, which may be infinite.

    Args:
      draws: values of a statistic for samples that were drawn again; inf if it has no finite value.
      tail: the share of draws to leave out at each end.
    """
    ascending = np.sort(draws)
    cut = min(int(tail * len(ascending)), (len(ascending) - 1) // 2)
    return float(ascending[cut]), float(ascending[-1 - cut])
