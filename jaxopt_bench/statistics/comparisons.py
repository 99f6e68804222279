"""Comparisons of two optimizers: their difference, its significance, and the number of seeds that would show it."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

import numpy as np
import scipy.special

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics.checks import check_finite, check_lengths, check_ordered, check_share
from jaxopt_bench.statistics.intervals import Estimate, estimate

MOST_PAIRS = 100_000
"""The largest number of pairs that is considered: if it is too small, no number is enough in practice."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """The mean difference of pairs.

    Attributes:
      estimate: of the mean of first − second.
      p_value: two-sided, of the paired t test; None for a single pair.
    """

    estimate: Estimate
    p_value: float | None


def paired_difference(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Difference:
    """Returns the mean of first − second over pairs, its interval, and the p value of the paired t test.

    The interval is that of `estimate`: from 20 pairs on it is a bootstrap's, and at the edge it and the p value can
    disagree.

    Args:
      first: values of one optimizer, one a seed, in any unit.
      second: values of the other, of the same seeds in the same order.
      confidence: how often the interval should hold the true mean difference.

    Returns:
      The difference, in the values' unit. Where all differences are equal its p value is 1 if they are zero, else 0.

    Raises:
      UserError: where the lists are empty or not equally long, or a value is not finite.

    Source: Student 1908, "The probable error of a mean".
    """
    check_lengths(first=first, second=second)
    check_finite("first", first)
    check_finite("second", second)
    differences = [a - b for a, b in zip(first, second, strict=True)]
    return Difference(estimate(differences, confidence), _t_test(differences))


def _t_test(values: Sequence[float]) -> float | None:
    """Returns the two-sided p value of a zero mean; None for a single value."""
    if len(values) == 1:
        return None
    mean, error = statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))
    if error == 0:
        return 0.0 if mean else 1.0
    return 2 * float(scipy.special.stdtr(len(values) - 1, -abs(mean / error)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Returns p values adjusted for how many there are.

    To call every difference real whose adjusted p value is at most 0.05 is to call any wrongly with probability 0.05
    at most, however the tests depend on each other.

    Args:
      p_values: one a comparison; None where a comparison has none, which is not counted.

    Returns:
      The adjusted p values in the order given, None where None was given.

    Raises:
      UserError: where one is not between 0 and 1.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    adjusted: list[float | None] = [None] * len(p_values)
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    least = 0.0
    for rank, (p, index) in enumerate(known):
        if not 0 <= p <= 1:
            raise UserError(f"p_values has the value {p}; accepted: numbers from 0 to 1, or None.")
        least = max(least, min(1.0, (len(known) - rank) * p))
        adjusted[index] = least
    return adjusted


def probability_better(first: Sequence[float], second: Sequence[float], *, higher: bool) -> float:
    """Returns the probability that a run of the first beats a run of the second.

    It is the share of all pairs of one value of each in which the first is better; a tie counts half. Two optimizers
    that are alike have 0.5.

    Args:
      first: values of one optimizer; infinite ones stand for runs that diverged.
      second: values of the other, as many as there are.
      higher: whether higher values are better, such as of an accuracy; else lower ones are, such as of a loss.

    Raises:
      UserError: where a list is empty, or a value is NaN.

    Source: Mann and Whitney 1947, "On a test of whether one of two random variables is stochastically larger than the
    other", whose U it is, divided by the number of pairs; Agarwal et al. 2021, "Deep reinforcement learning at the
    edge of the statistical precipice", who call it the probability of improvement.
    """
    check_ordered("first", first)
    check_ordered("second", second)
    ascending = np.sort(np.asarray(second, np.float64))
    below = int(np.searchsorted(ascending, first, side="left").sum())
    not_above = int(np.searchsorted(ascending, first, side="right").sum())
    twice_above, twice_pairs = below + not_above, 2 * len(first) * len(second)
    return (twice_above if higher else twice_pairs - twice_above) / twice_pairs


def seeds_needed(*, difference: float, deviation: float, power: float = 0.8, confidence: float = 0.95) -> int | None:
    """Returns the smallest number of pairs at which a paired t test would see a difference of this size.

    Args:
      difference: the true mean difference of a pair; its sign does not matter.
      deviation: the standard deviation of the pairs' differences, in the same unit.
      power: how often the test should see it.
      confidence: one minus how often the two-sided test may see a difference where there is none.

    Returns:
      At least 2; None where 100,000 pairs are too few, as for a difference of zero.

    Raises:
      UserError: where the difference is not finite, the deviation negative or not finite, or a share not between 0
        and 1.

    Source: Cohen 1988, "Statistical power analysis for the behavioral sciences", chapter 2; with the noncentral t
    distribution in place of its tables.
    """
    check_finite("difference", [difference])
    check_share("power", power)
    check_share("confidence", confidence)
    if not 0 <= deviation < math.inf:
        raise UserError(f"deviation is {deviation}; accepted: a number >= 0.")
    if difference == 0:
        return None
    effect = abs(difference) / deviation if deviation else math.inf
    enough = 2
    while _power(enough, effect, confidence) < power:
        if enough >= MOST_PAIRS:
            return None
        enough = min(2 * enough, MOST_PAIRS)
    too_few = enough // 2
    while enough - too_few > 1:
        between = (too_few + enough) // 2
        if _power(between, effect, confidence) < power:
            too_few = between
        else:
            enough = between
    return enough


def _power(count: int, effect: float, confidence: float) -> float:
    """Returns how often a two-sided paired t test over `count` pairs sees a difference of `effect` deviations."""
    critical = scipy.special.stdtrit(count - 1, (1 + confidence) / 2)
    shift = effect * math.sqrt(count)
    # SciPy has NaN where a probability is below 1e-17 or so.
    missed, opposite = np.nan_to_num(scipy.special.nctdtr(count - 1, shift, (critical, -critical)))
    return float(1 - missed + opposite)
