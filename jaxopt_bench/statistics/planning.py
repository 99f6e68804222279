"""The power of a comparison, computed before any measurement."""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from collections.abc import Sequence

import numpy as np
import scipy.special

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics.checks import CONFIDENCE, check_finite, check_share

POWER = 0.8
"""The default power: the probability that a test detects a true difference."""
MOST_SEEDS = 100_000
"""The largest number of seeds that is considered. If it is too small, no practical number is enough."""
_PRECISION = 1e-6
_MOST_FREEDOM = 1e6
"""For at least this many degrees of freedom, Student's t distribution is practically the normal distribution."""
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(8)
_QUANTILES, _WEIGHTS = (_NODES + 1) / 4, _NODE_WEIGHTS / 2
"""Quantiles below one half represent all quantiles, because the two samples can be exchanged."""


@functools.lru_cache
def minimum_detectable_difference(
    optimizers: int, results: int, *, power: float = POWER, sampling: float = 0.0
) -> float | None:
    """Returns the smallest detectable difference of two optimizers, in standard deviations of single results.

    All pairs are compared with the tests of `compare_pairs`, corrected by Bonferroni's method. `compare_pairs` uses
    Holm's method, which detects this difference at least as often. The results of all optimizers are assumed to be
    normal with the same standard deviation.

    Args:
      optimizers: the number of optimizers that are compared.
      results: the number of independent results of each optimizer: the seeds or, with several searches, the searches.
      power: the probability that the difference is detected.
      sampling: the variance of a difference that the choice of the test examples causes, in squared standard deviations
        of single results; see `Difference.sampling`. 0 for differences on the same test examples.

    Returns:
      The difference; None if there are fewer than 2 optimizers or 2 results, so that nothing can be tested.

    Raises:
      UserError: if a number is less than 1, `sampling` is negative or not finite, or a share not between 0 and 1.

    Source: see `power_of_comparison`.
    """
    check_share("power", power)
    _check_not_negative("sampling", sampling)
    for name, number in (("optimizers", optimizers), ("results", results)):
        if number < 1:
            raise UserError(f"{name} is {number}. Expected at least 1.")
    if min(optimizers, results) < 2:
        return None
    level = (1 - CONFIDENCE) / math.comb(optimizers, 2)

    def shown(difference: float) -> bool:
        return power_of_comparison(results, difference, level=level, sampling=sampling) >= power

    low, high = 0.0, 1.0
    while not shown(high):
        low, high = high, 2 * high
    while high - low > _PRECISION * high:
        middle = (low + high) / 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high


def power_of_comparison(
    results: int, difference: float, *, level: float, deviation: float = 1.0, sampling: float = 0.0
) -> float:
    """Returns the probability that the tests of `compare_pairs` detect a difference of two optimizers.

    These are Welch's t test and, if the results of single test examples are known, a second test with a standard error
    that includes the part from the examples. A difference counts if both tests are significant. The power is that of
    the less powerful test, because both tests use the same means.

    With few results, Welch's test has less power than a t test with a pooled variance, because it often has fewer
    degrees of freedom. With 6 optimizers and 3 results each, a pooled test detects a difference of 6.4 standard
    deviations in 80% of the cases. Welch's test detects it in 51%, and needs 9.5 standard deviations for 80%.

    Args:
      results: the number of independent results of each of the two optimizers, at least 2.
      difference: the true difference of the means; its sign does not matter.
      level: the level of the two-sided tests, such as 0.05; for one of m pairs 0.05 / m.
      deviation: the standard deviation of single results, in the unit of `difference`.
      sampling: the variance of the difference that the choice of the test examples causes, in the square of this unit.

    Source: Welch 1947, "The generalization of 'Student's' problem when several different population variances are
    involved". Given the shares of the two sample variances in their sum, the statistic has a noncentral t distribution
    with 2(n − 1) degrees of freedom, and its critical value is that of Welch's degrees of freedom. The share has a beta
    distribution with both parameters (n − 1)/2. The power is averaged over this distribution (Gauss–Legendre quadrature
    over its quantiles; compared with 20,000 quantiles, the error is at most 2e-4). With `sampling`, both degrees of
    freedom are those of Satterthwaite 1946, "An approximate distribution of estimates of variance components".
    """
    alone = _power(results, difference, level, deviation, 0.0)
    return min(alone, _power(results, difference, level, deviation, sampling)) if sampling else alone


def _power(results: int, difference: float, level: float, deviation: float, sampling: float) -> float:
    """Returns the power of one of the two tests; see `power_of_comparison`."""
    seeds = 2 * deviation**2 / results
    total = seeds + sampling
    if total == 0:
        return 1.0
    weight, own = seeds / total, results - 1
    shares = scipy.special.betaincinv(own / 2, own / 2, _QUANTILES)
    with np.errstate(divide="ignore", over="ignore"):
        of_critical = own / np.square(weight) / (shares**2 + (1 - shares) ** 2)
        of_statistic = 2 * own / np.square(weight)
    critical = scipy.special.stdtrit(np.minimum(of_critical, _MOST_FREEDOM), 1 - level / 2)
    shift = abs(difference) / math.sqrt(total)
    # SciPy returns NaN if a probability is below about 1e-17.
    tails = scipy.special.nctdtr(min(of_statistic, _MOST_FREEDOM), shift, np.stack([critical, -critical]))
    missed, opposite = np.nan_to_num(tails)
    return float(_WEIGHTS @ (1 - missed + opposite))


def results_needed(optimizers: int, difference: float, *, most: int) -> int | None:
    """Returns the smallest number of results of each optimizer with which a comparison detects a difference.

    Args:
      optimizers: the number of optimizers that are compared, at least 2.
      difference: the difference in standard deviations of single results; see `minimum_detectable_difference`.
      most: the largest number of results to try.

    Returns:
      The number; None if `most` results are too few.
    """
    level = (1 - CONFIDENCE) / math.comb(optimizers, 2)
    counts = range(2, most + 1)
    return next((n for n in counts if power_of_comparison(n, difference, level=level) >= POWER), None)


def pooled_deviation(groups: Sequence[Sequence[float]]) -> float | None:
    """Returns the pooled standard deviation of values within groups.

    It is the root of the mean variance of the groups, weighted by their degrees of freedom.

    Args:
      groups: the groups of values, such as the results of each optimizer over seeds, in any unit.

    Returns:
      The standard deviation, in the unit of the values; None if no group has two values.

    Raises:
      UserError: if a value is not finite.
    """
    known = [group for group in groups if len(group) > 1]
    for group in known:
        check_finite("groups", group)
    freedom = sum(len(group) - 1 for group in known)
    return math.sqrt(sum(statistics.variance(g) * (len(g) - 1) for g in known) / freedom) if freedom else None


def seeds_needed(
    *, difference: float, deviation: float, power: float = 0.8, confidence: float = 0.95, sampling: float = 0.0
) -> int | None:
    """Returns the smallest number of seeds of each of two optimizers with which `compare_pairs` detects a difference.

    Args:
      difference: the true difference of the means; its sign does not matter.
      deviation: the standard deviation of the results of a single seed, in the same unit.
      power: the probability that the test detects the difference.
      confidence: one minus the probability of a false positive of the two-sided test; for one of m tests
        1 − 0.05 / m.
      sampling: the variance of the difference that does not depend on the number of seeds; see `Difference.sampling`.

    Returns:
      At least 2; None if 100,000 seeds are too few, as for a difference of zero.

    Raises:
      UserError: if the difference is not finite, the deviation negative or not finite, or a share not between 0
        and 1.

    Source: see `power_of_comparison`. With many seeds, the numbers are those of Cohen 1988, "Statistical power analysis
    for the behavioral sciences", chapter 2.
    """
    check_finite("difference", [difference])
    check_share("power", power)
    check_share("confidence", confidence)
    _check_not_negative("deviation", deviation)
    _check_not_negative("sampling", sampling)
    if difference == 0:
        return None
    level = 1 - confidence

    def shown(count: int) -> bool:
        return power_of_comparison(count, difference, level=level, deviation=deviation, sampling=sampling) >= power

    # A normal test, with a known deviation, needs at most this many seeds. From there on the step is doubled.
    quantiles = max(float(scipy.special.ndtri([(1 + confidence) / 2, power]).sum()), _PRECISION)
    affordable = (abs(difference) / quantiles) * (abs(difference) / quantiles) - sampling
    if affordable * MOST_SEEDS < 2 * deviation**2 or affordable <= 0:
        return None
    too_few, step = max(1, math.ceil(2 * deviation**2 / affordable) - 1), 1
    while not shown(min(too_few + step, MOST_SEEDS)):
        if too_few + step >= MOST_SEEDS:
            return None
        too_few, step = too_few + step, 2 * step
    enough = min(too_few + step, MOST_SEEDS)
    while enough - too_few > 1:
        between = (too_few + enough) // 2
        too_few, enough = (too_few, between) if shown(between) else (between, enough)
    return enough


@dataclasses.dataclass(frozen=True)
class SeedRange:
    """The number of seeds needed to detect a difference of the measured size.

    Attributes:
      low: the number for the lower end of the interval of the standard deviation; None if 100,000 are too few.
      high: the number for the upper end of this interval; None if 100,000 are too few.
    """

    low: int | None
    high: int | None


def seed_range(
    first: Sequence[float],
    second: Sequence[float],
    *,
    confidence: float,
    least_deviation: float = 0.0,
    sampling: float = 0.0,
) -> SeedRange | None:
    """Returns the number of seeds of each of two optimizers that detect their measured difference with a power of 80%.

    The standard deviation of a few seeds is uncertain: with 3 seeds of each optimizer, the ends of its 95% interval
    differ by a factor of 5 to 12. So the numbers of seeds for both ends of this interval are returned. The true
    difference is not known either. The numbers are for a difference of the measured size.

    Args:
      first: results of one optimizer.
      second: results of the other optimizer.
      confidence: the confidence of the test; see `seeds_needed`.
      least_deviation: the least standard deviation of the values; see `least_deviation`.
      sampling: see `seeds_needed`.

    Returns:
      The range; None if one of the optimizers has a single value.

    Raises:
      UserError: if a list is empty, or a value is not finite.
    """
    check_finite("first", first)
    check_finite("second", second)
    if min(len(first), len(second)) == 1:
        return None
    variances = [max(statistics.variance(values), least_deviation**2) for values in (first, second)]
    total = sum(variances)
    parts = zip(variances, (first, second), strict=True)
    freedom = total**2 / sum(v**2 / (len(values) - 1) for v, values in parts) if total else 1.0
    difference = statistics.fmean(first) - statistics.fmean(second)
    variance = total / 2
    ends = [math.sqrt(variance * freedom / scipy.special.chdtri(freedom, share)) for share in (0.025, 0.975)]
    low, high = (
        seeds_needed(difference=difference, deviation=end, confidence=confidence, sampling=sampling) for end in ends
    )
    return SeedRange(low, high)


def _check_not_negative(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise UserError(f"{name} is {value}. Expected a finite number >= 0.")
