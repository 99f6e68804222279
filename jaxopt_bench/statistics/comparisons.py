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
from jaxopt_bench.statistics.checks import check_finite, check_ordered, check_share
from jaxopt_bench.statistics.crossed import CrossedErrors
from jaxopt_bench.statistics.intervals import Estimate


@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference of the means of two optimizers, one of several that are tested together.

    Attributes:
      estimate: the mean of the first minus the mean of the second, with an interval that is corrected for the number of
        differences. `count` is the number of values of the optimizer that has fewer. If the results of single examples
        are known, the interval is about other test examples, too.
      p_value: two-sided, of the test that belongs to the interval; None if one of the two has a single value.
      adjusted: the p value adjusted for the number of differences; None likewise.
      significant: whether the difference is significant among all of them. Then, and only then, zero is not inside its
        interval; it can be an end of it.
      same_examples: the same mean with the interval that holds for the same test examples, where only seeds differ.
      sampling: the variance of the difference that the choice of the test examples causes, however many seeds there
        are; 0 if the results of single examples are not known.
    """

    estimate: Estimate
    p_value: float | None
    adjusted: float | None
    significant: bool
    same_examples: Estimate
    sampling: float = 0.0


def compare_pairs(
    samples: Sequence[Sequence[float]],
    confidence: float = 0.95,
    *,
    least_deviation: float = 0.0,
    examples: Sequence[Float[np.ndarray, "values examples"]] | None = None,
) -> list[Difference]:
    """Returns the difference of every pair of optimizers, tested together.

    Each pair is tested by Welch's t test, for which the values of the two need not have the same variance. Which
    differences are significant is decided by Holm's method, which keeps the probability that any difference between
    equal optimizers is called significant at 1 − `confidence` or below.

    The interval of a pair has the confidence of Bonferroni's method, 1 − (1 − `confidence`) / m for m pairs. So all
    intervals hold the true differences at once with the probability `confidence`. That of a significant difference
    does not cross zero: if only a later step of Holm's method makes it significant, it is cut off there.

    All optimizers are tested on the same examples, so a difference also depends on which examples these are. If
    `examples` is given, the tests and intervals are about the difference on all examples of which these are a sample:
    the variance of a difference then has a part from the examples, see `CrossedErrors`. Such a difference counts only
    if it is significant on these examples, too: with few seeds, their variance is known so badly that the test with
    the examples, which has more degrees of freedom, can be the less strict of the two.

    Args:
      samples: independent values of each optimizer, such as the results of several seeds.
      confidence: see above.
      least_deviation: the deviation that the values of each optimizer have at least; see `least_deviation`.
      examples: for each optimizer, the results of the same test examples in each of its values, which are the means of
        the rows.

    Returns:
      The differences, first minus second, in the order of `itertools.combinations(samples, 2)`. Pairs in which one has
      a single value are not tested and not counted.

    Raises:
      UserError: if a sample is empty, or a value is not finite.

    Source: Welch 1947, "The generalization of 'Student's' problem when several different population variances are
    involved"; Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    check_share("confidence", confidence)
    for values in samples:
        check_finite("values", values)
    means = [statistics.fmean(values) for values in samples]
    errors = [_squared_error(values, least_deviation) for values in samples]
    pairs = [*itertools.combinations(range(len(samples)), 2)]
    tested = [pair for pair in pairs if all(errors[i] is not None for i in pair)]
    welch = _welch(samples, means, errors, tested)
    level = 1 - confidence
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
      tests: one or several tests of the same pairs. A difference counts if all show it, so the largest p value and the
        widest interval are taken.
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
      part_freedom: their degrees of freedom, likewise.
    """

    differences: np.ndarray
    errors: np.ndarray
    freedom: np.ndarray
    parts: np.ndarray
    part_freedom: np.ndarray

    @property
    def p_values(self) -> np.ndarray:
        """The two-sided p values. Without any deviation it is 1 if the difference is zero, else 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(self.differences == 0, 0.0, np.abs(self.differences) / self.errors)
        return 2 * scipy.special.stdtr(self.freedom, -t)

    def margins(self, level: float) -> np.ndarray:
        """Returns half the widths of intervals each of which misses the true difference with this probability."""
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
    """Returns the tests with the errors that the choice of examples adds; freedom after Satterthwaite 1946."""
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
            raise UserError(f"p_values has the value {p}. Expected: numbers from 0 to 1, or None.")
        least = max(least, min(1.0, (len(known) - rank) * p))
        adjusted[index] = least
    return adjusted


def count_wins(first: Sequence[float], second: Sequence[float], *, higher: bool) -> float:
    """Returns in how many pairs of one value of each the first is better; a tie counts half.

    Args:
      first: values of one optimizer; infinite ones stand for runs that diverged.
      second: values of the other, as many as there are.
      higher: whether higher values are better, such as of an accuracy; else lower ones are, such as of a loss.

    Raises:
      UserError: where a list is empty, or a value is NaN.

    Source: Mann and Whitney 1947, "On a test of whether one of two random variables is stochastically larger than the
    other", whose U it is.
    """
    check_ordered("first", first)
    check_ordered("second", second)
    ascending = np.sort(np.asarray(second, np.float64))
    below = int(np.searchsorted(ascending, first, side="left").sum())
    not_above = int(np.searchsorted(ascending, first, side="right").sum())
    above = (below + not_above) / 2
    return above if higher else len(first) * len(second) - above
