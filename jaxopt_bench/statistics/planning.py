"""What a comparison can show, known before anything is measured."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence

import numpy as np
import scipy.special

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics.checks import check_finite, check_share

POWER = 0.8
"""How often a test should see a difference that is there."""
_NODES = 64
_PRECISION = 1e-6


@functools.lru_cache
def least_difference(optimizers: int, results: int, *, power: float = POWER, confidence: float = 0.95) -> float | None:
    """Returns the smallest difference of two optimizers that a comparison would see, in deviations of single results.

    All pairs are compared by Welch's t test, corrected by Bonferroni's method. Holm's method, which `compare_pairs`
    uses, sees this difference at least as often. The results of all optimizers are normal with the same deviation.

    With few results, this is much larger than the numbers of a t test with pooled variances say, as those of
    `seeds_needed`: the degrees of freedom of Welch's test are then often fewer. For 6 optimizers with 3 results each it
    is 9.5 deviations; such a t test would see 6.4, of which Welch's test sees only half.

    Args:
      optimizers: how many are compared.
      results: independent results of each, such as seeds; with several searches, the searches.
      power: how often the difference should be seen.
      confidence: one minus the probability that any difference is seen between equal optimizers.

    Returns:
      The difference; None if nothing can be tested, with less than 2 optimizers or 2 results.

    Raises:
      UserError: if a number is less than 1, or a share not between 0 and 1.

    Source: Welch 1947, "The generalization of 'Student's' problem when several different population variances are
    involved". Given the shares of the two sample variances in their sum, the statistic has a noncentral t distribution
    with 2(n − 1) degrees of freedom, and its critical value is that of Welch's degrees of freedom. The share has a beta
    distribution with both parameters (n − 1)/2, over which the power is averaged.
    """
    check_share("power", power)
    check_share("confidence", confidence)
    for name, number in (("optimizers", optimizers), ("results", results)):
        if number < 1:
            raise UserError(f"{name} is {number}. Expected at least 1.")
    if min(optimizers, results) < 2:
        return None
    level = (1 - confidence) / math.comb(optimizers, 2)
    low, high = 0.0, 1.0
    while _power_of_welch(results, high, level) < power:
        low, high = high, 2 * high
    while high - low > _PRECISION * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _power_of_welch(results, middle, level) < power else (low, middle)
    return high


def _power_of_welch(results: int, effect: float, level: float) -> float:
    """Returns how often a two-sided test of two samples sees a difference of `effect` deviations."""
    freedom = results - 1
    shares = scipy.special.betaincinv(freedom / 2, freedom / 2, (np.arange(_NODES) + 0.5) / _NODES)
    critical = scipy.special.stdtrit(freedom / (shares**2 + (1 - shares) ** 2), 1 - level / 2)
    shift = effect * math.sqrt(results / 2)
    # SciPy has NaN if a probability is below 1e-17 or so.
    missed, opposite = np.nan_to_num(scipy.special.nctdtr(2 * freedom, shift, np.stack([critical, -critical])))
    return float(np.mean(1 - missed + opposite))


def results_for(optimizers: int, difference: float, *, most: int) -> int | None:
    """Returns the fewest results of each optimizer with which a comparison would see a difference.

    Args:
      optimizers: how many are compared, at least 2.
      difference: in deviations of single results; see `least_difference`.
      most: the largest number to try.

    Returns:
      The number; None if `most` results are too few.
    """
    level = 0.05 / math.comb(optimizers, 2)
    return next((n for n in range(2, most + 1) if _power_of_welch(n, difference, level) >= POWER), None)


def pooled_deviation(groups: Sequence[Sequence[float]]) -> float | None:
    """Returns the standard deviation of values within groups: the root of their mean variance, by degrees of freedom.

    Args:
      groups: such as the results of each optimizer over seeds, in any unit.

    Returns:
      The deviation, in the values' unit; None if no group has two values.

    Raises:
      UserError: if a value is not finite.
    """
    known = [group for group in groups if len(group) > 1]
    for group in known:
        check_finite("groups", group)
    freedom = sum(len(group) - 1 for group in known)
    return math.sqrt(sum(statistics.variance(g) * (len(g) - 1) for g in known) / freedom) if freedom else None
