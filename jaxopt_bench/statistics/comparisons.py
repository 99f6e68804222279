"""Comparisons of optimizers: their differences, and whether these are significant."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Sequence

import numpy as np
import scipy.special
from jaxtyping import Float

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics.checks import CONFIDENCE, check_finite, check_ordered
from jaxopt_bench.statistics.crossed import CrossedErrors
from jaxopt_bench.statistics.intervals import Estimate


@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference of the means of two optimizers. Several differences are tested together.

    Attributes:
      estimate: the mean of the first minus the mean of the second, with an interval that is corrected for the number of
        differences. `count` is the smaller number of values of the two optimizers. If the results of single examples
        are known, the interval also covers other test examples.
      p_value: the two-sided p value of the test that belongs to the interval; None if an optimizer has a single value.
      adjusted: the p value adjusted for the number of differences; None if `p_value` is None.
      significant: whether the difference is significant among all differences. If and only if it is significant, zero
        is not inside its interval. Zero can be an end of the interval.
      same_examples: the same mean with the interval for the same test examples and other seeds.
      sampling: the variance of the difference that the choice of the test examples causes for any number of seeds; 0 if
        the results of single examples are not known.
    """

    estimate: Estimate
    p_value: float | None
    adjusted: float | None
    significant: bool
    same_examples: Estimate
    sampling: float = 0.0


def compare_pairs(
    samples: Sequence[Sequence[float]],
    *,
    least_deviation: float = 0.0,
    examples: Sequence[Float[np.ndarray, "values examples"]] | None = None,
) -> list[Difference]:
    """Returns the differences of all pairs of optimizers, tested together.

    Each pair is tested by Welch's t test, which does not assume equal variances. Holm's method decides which
    differences are significant. It limits the probability that any difference between equal optimizers is called
    significant to 5%.

    The interval of a pair has the confidence of Bonferroni's method, 1 − 0.05 / m for m pairs. So all
    intervals together contain the true differences with probability 95%. The interval of a significant
    difference does not cross zero. If only a later step of Holm's method makes the difference significant, the interval
    is cut off at zero.

    All optimizers are tested on the same examples, so a difference also depends on the choice of these examples. If
    `examples` is given, the tests and intervals apply to the population from which the examples are a sample. Then the
    variance of a difference has a part from the examples; see `CrossedErrors`. Such a difference counts only if it is
    also significant on these examples. The reason: with few seeds, the estimate of their variance is so inaccurate that
    the test with the examples, which has more degrees of freedom, can be the less strict one.

    Args:
      samples: independent values of each optimizer, such as the results of several seeds.
      least_deviation: the least standard deviation of the values of each optimizer; see `least_deviation`.
      examples: for each optimizer, the results of the same test examples in each of its values. The values are the
        means of the rows.

    Returns:
      The differences, first minus second, in the order of `itertools.combinations(samples, 2)`. Pairs in which one
      optimizer has a single value are not tested and not counted.

    Raises:
      UserError: if a sample is empty, or a value is not finite.

    Source: Welch 1947, "The generalization of 'Student's' problem when several different population variances are
    involved"; Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    for values in samples:
        check_finite("values", values)
    means = [statistics.fmean(values) for values in samples]
    errors = [_squared_error(values, least_deviation) for values in samples]
    pairs = [*itertools.combinations(range(len(samples)), 2)]
    tested = [pair for pair in pairs if all(errors[i] is not None for i in pair)]
    welch = _welch(samples, means, errors, tested)
    level = 1 - CONFIDENCE
    same = _decide([welch], level)
    crossed = None if examples is None else CrossedErrors.of(examples)
    decided = same if crossed is None else _decide([welch, _with_examples(welch, crossed, tested)], level)
    index = {pair: position for position, pair in enumerate(tested)}

    def difference(i: int, j: int) -> Difference:
        mean, count, at = means[i] - means[j], min(len(samples[i]), len(samples[j])), index.get((i, j))
        if at is None:
            alone = Estimate(mean, None, count)
            return Difference(alone, None, None, significant=False, same_examples=alone)
        return Difference(
            Estimate(mean, decided.intervals[at], count),
            decided.p_values[at],
            decided.adjusted[at],
            decided.significant[at],
            Estimate(mean, same.intervals[at], count),
            0.0 if crossed is None else crossed.sampling(i, j),
        )

    return [difference(i, j) for i, j in pairs]


@dataclasses.dataclass(frozen=True)
class _Decisions:
    """The results of several tests that are corrected together; see `Difference`."""

    p_values: list[float]
    adjusted: list[float | None]
    significant: list[bool]
    intervals: list[tuple[float, float]]


def _decide(tests: Sequence[_Tests], level: float) -> _Decisions:
    """Returns p values, decisions and simultaneous intervals at a level, such as 0.05.

    Args:
      tests: one or several tests of the same pairs. A difference counts if all tests are significant, so the largest p
        value and the widest interval are used.
      level: see above.
    """
    p_values: list[float] = np.max([test.p_values for test in tests], axis=0).tolist()
    adjusted = holm(p_values)
    significant = [value is not None and value <= level for value in adjusted]
    margins = np.max([test.margins(level / max(len(p_values), 1)) for test in tests], axis=0)
    middles = tests[0].differences
    ends = zip((middles - margins).tolist(), (middles + margins).tolist(), strict=True)
    intervals = [_without_zero(*own) if seen else own for own, seen in zip(ends, significant, strict=True)]
    return _Decisions(p_values, adjusted, significant, intervals)


def _squared_error(values: Sequence[float], least_deviation: float) -> float | None:
    """Returns the squared standard error of the mean; None for a single value."""
    return None if len(values) == 1 else max(statistics.variance(values), least_deviation**2) / len(values)


@dataclasses.dataclass(frozen=True)
class _Tests:
    """t tests of some pairs: their differences, standard errors and degrees of freedom.

    Attributes:
      parts: the squared standard errors of the two means of each pair [2, pairs].
      part_freedom: their degrees of freedom [2, pairs].
    """

    differences: np.ndarray
    errors: np.ndarray
    freedom: np.ndarray
    parts: np.ndarray
    part_freedom: np.ndarray

    @property
    def p_values(self) -> np.ndarray:
        """The two-sided p values. If the deviation is zero, the p value is 1 for a difference of zero, else 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(self.differences == 0, 0.0, np.abs(self.differences) / self.errors)
        return 2 * scipy.special.stdtr(self.freedom, -t)

    def margins(self, level: float) -> np.ndarray:
        """Returns the half widths of the intervals, which each miss the true difference with probability `level`."""
        return scipy.special.stdtrit(self.freedom, 1 - level / 2) * self.errors


def _welch(
    samples: Sequence[Sequence[float]],
    means: Sequence[float],
    errors: Sequence[float | None],
    pairs: Sequence[tuple[int, int]],
) -> _Tests:
    """Returns the tests of pairs of samples, given their means and squared standard errors."""
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    mean, error = np.array(means, np.float64), np.array(errors, np.float64)
    freedom = np.array([len(values) - 1 for values in samples], np.float64)
    total = error[first] + error[second]
    share = np.divide(error[first], total, out=np.full(len(pairs), 0.5), where=total > 0)
    inverse = share**2 / freedom[first] + (1 - share) ** 2 / freedom[second]
    parts, part_freedom = np.stack([error[first], error[second]]), np.stack([freedom[first], freedom[second]])
    return _Tests(mean[first] - mean[second], np.sqrt(total), 1 / inverse, parts, part_freedom)


def _with_examples(welch: _Tests, crossed: CrossedErrors, pairs: Sequence[tuple[int, int]]) -> _Tests:
    """Returns the tests with the errors from the choice of examples; degrees of freedom by Satterthwaite 1946."""
    own = np.array([crossed.examples(i, j) for i, j in pairs], np.float64)
    both = np.array([crossed.interaction(i, j) for i, j in pairs], np.float64)
    seeds = welch.errors**2
    total = np.maximum(np.maximum(seeds, own), seeds + own - both)
    inverse = (welch.parts**2 / welch.part_freedom).sum(0) + own**2 / crossed.freedom
    freedom = np.divide(total**2, inverse, out=welch.freedom.copy(), where=inverse > 0)
    return dataclasses.replace(welch, errors=np.sqrt(total), freedom=freedom)


def _without_zero(low: float, high: float) -> tuple[float, float]:
    """Returns the larger part of an interval, cut off at zero."""
    return (max(low, 0.0), high) if low + high > 0 else (low, min(high, 0.0))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Returns p values adjusted for their number.

    If all differences with an adjusted p value of at most 0.05 are called significant, the probability of any false
    positive is at most 0.05, for any dependence between the tests.

    Args:
      p_values: one for each comparison. None means that a comparison has no p value. Such comparisons are not counted.

    Returns:
      The adjusted p values in the given order. None stays None.

    Raises:
      UserError: if a p value is not between 0 and 1.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    adjusted: list[float | None] = [None] * len(p_values)
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    least = 0.0
    for rank, (p, index) in enumerate(known):
        if not 0 <= p <= 1:
            raise UserError(f"p_values has the value {p}. Expected: numbers from 0 to 1, or None.")
        least = max(least, min(1.0, (len(known) - rank) * p))
        adjusted[index] = least
    return adjusted


def count_wins(first: Sequence[float], second: Sequence[float], *, higher: bool) -> float:
    """Returns the number of pairs (one value of each list) in which the first value is better. A tie counts as half.

    Args:
      first: values of one optimizer. Infinite values mean diverged runs.
      second: values of the other optimizer. The lists may have different lengths.
      higher: whether higher values are better (such as accuracies) or lower values (such as losses).

    Raises:
      UserError: if a list is empty, or a value is NaN.

    Source: Mann and Whitney 1947, "On a test of whether one of two random variables is stochastically larger than the
    other". The result is their statistic U.
    """
    check_ordered("first", first)
    check_ordered("second", second)
    ascending = np.sort(np.asarray(second, np.float64))
    below = int(np.searchsorted(ascending, first, side="left").sum())
    not_above = int(np.searchsorted(ascending, first, side="right").sum())
    above = (below + not_above) / 2
    return above if higher else len(first) * len(second) - above
