"""What a comparison can show, known before anything is measured."""

from __future__ import annotations

import dataclasses
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
MOST_SEEDS = 100_000
"""The largest number of seeds that is considered: if it is too small, no number is enough in practice."""
_PRECISION = 1e-6
_MOST_FREEDOM = 1e6
"""From here on, Student's t distribution is the normal one to all digits that matter."""
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(8)
_QUANTILES, _WEIGHTS = (_NODES + 1) / 4, _NODE_WEIGHTS / 2
"""Quantiles below one half stand for all, since the two samples can change places."""


@functools.lru_cache
def least_difference(
    optimizers: int, results: int, *, power: float = POWER, confidence: float = 0.95, sampling: float = 0.0
) -> float | None:
    """Returns the smallest difference of two optimizers that a comparison would see, in deviations of single results.

    All pairs are compared as `compare_pairs` does it, corrected by Bonferroni's method. Holm's method, which
    `compare_pairs` uses, sees this difference at least as often. The results of all optimizers are normal with the same
    deviation.

    Args:
      optimizers: how many are compared.
      results: independent results of each, such as seeds; with several searches, the searches.
      power: how often the difference should be seen.
      confidence: one minus the probability that any difference is seen between equal optimizers.
      sampling: the variance of a difference that the choice of the test examples causes, in squared deviations of
        single results; see `Difference.sampling`. 0 for differences on the same test examples.

    Returns:
      The difference; None if nothing can be tested, with less than 2 optimizers or 2 results.

    Raises:
      UserError: if a number is less than 1, `sampling` is negative or not finite, or a share not between 0 and 1.

    Source: see `power_of_comparison`.
    """
    check_share("power", power)
    check_share("confidence", confidence)
    _check_not_negative("sampling", sampling)
    for name, number in (("optimizers", optimizers), ("results", results)):
        if number < 1:
            raise UserError(f"{name} is {number}. Expected at least 1.")
    if min(optimizers, results) < 2:
        return None
    level = (1 - confidence) / math.comb(optimizers, 2)

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
    """Returns how often two optimizers are found to differ by the tests of `compare_pairs`.

    These are Welch's t test and, if the results of single test examples are known, a second test whose standard error
    also has the part from the examples. A difference counts if both show it. The less powerful one is taken, since the
    two use the same means.

    With few results, Welch's test sees less than a t test with a pooled variance: its degrees of freedom are often
    fewer. Of 6 optimizers with 3 results each, a pooled test sees 6.4 deviations in 80% of the cases; Welch's test sees
    these in 51%, and needs 9.5.

    Args:
      results: independent results of each of the two, at least 2.
      difference: the true difference of the means; its sign does not matter.
      level: of the two-sided tests, such as 0.05; for one of m pairs 0.05 / m.
      deviation: the standard deviation of single results, in the unit of `difference`.
      sampling: the variance of the difference that the choice of the test examples causes, in the square of this unit.

    Source: Welch 1947, "The generalization of 'Student's' problem when several different population variances are
    involved". Given the shares of the two sample variances in their sum, the statistic has a noncentral t distribution
    with 2(n − 1) degrees of freedom, and its critical value is that of Welch's degrees of freedom. The share has a beta
    distribution with both parameters (n − 1)/2, over which the power is averaged (Gauss–Legendre quadrature over its
    quantiles; relative to 20,000 quantiles the error is at most 2e-4). With `sampling`, both degrees of freedom are
    those of Satterthwaite 1946, "An approximate distribution of estimates of variance components".
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
    # SciPy has NaN if a probability is below 1e-17 or so.
    tails = scipy.special.nctdtr(min(of_statistic, _MOST_FREEDOM), shift, np.stack([critical, -critical]))
    missed, opposite = np.nan_to_num(tails)
    return float(_WEIGHTS @ (1 - missed + opposite))


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
    counts = range(2, most + 1)
    return next((n for n in counts if power_of_comparison(n, difference, level=level) >= POWER), None)


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


def seeds_needed(
    *, difference: float, deviation: float, power: float = 0.8, confidence: float = 0.95, sampling: float = 0.0
) -> int | None:
    """Returns the smallest number of seeds of each of two optimizers with which `compare_pairs` would see a difference.

    Args:
      difference: the true difference of the means; its sign does not matter.
      deviation: the standard deviation of the results of a single seed, in the same unit.
      power: how often the test should see it.
      confidence: one minus how often the two-sided test may see a difference where there is none; for one of m tests
        1 − 0.05 / m.
      sampling: the variance of the difference that stays however many seeds there are; see `Difference.sampling`.

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

    # A normal test, which knows the deviation, needs at most as many. From there on the step is doubled.
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
    """How many seeds would show a difference of the size that was measured.

    Attributes:
      low: if the deviation is as small as it may be; None if 100,000 are too few.
      high: if the deviation is as large as it may be; None likewise.
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
    """Returns how many seeds of each of two optimizers would show, with a power of 80%, the difference they have here.

    The deviation of a few seeds is known badly: its 95% interval spans a factor of 6 over 3 seeds. So the numbers at
    both ends of this interval are given. The size of the true difference is not known either: this is about one of the
    size that was measured.

    Args:
      first: results of one optimizer.
      second: results of the other.
      confidence: of the test; see `seeds_needed`.
      least_deviation: the deviation that the values have at least; see `least_deviation`.
      sampling: see `seeds_needed`.

    Returns:
      The range; None if one of the two has a single value.

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
