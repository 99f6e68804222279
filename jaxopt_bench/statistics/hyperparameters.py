"""The importance of a hyperparameter, estimated from the trials of a search."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
import scipy.special

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics.checks import check_finite, check_lengths, check_ordered, check_share

EXACT_TO = 8  # the largest number of values for which all orders are tried: 40,320


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """The range of learning rates with results close to the best result.

    Attributes:
      low: the lowest of these learning rates.
      high: the highest of these learning rates.
      count: the number of trials with a result close to the best result, including the best trial.
    """

    low: float
    high: float
    count: int

    @property
    def decades(self) -> float:
        """The width of the range in powers of ten."""
        return math.log10(self.high / self.low)


def sensitivity(
    learning_rates: Sequence[float], results: Sequence[float | None], within: float, *, higher: bool
) -> Sensitivity | None:
    """Returns the range of learning rates with results close to the best result.

    The range goes from the lowest to the highest learning rate of the good trials. Some trials within the range are
    good, but not necessarily all: the other hyperparameters of a random search vary too, and they may cause a bad trial
    between two good ones. The width of the range is a lower bound, because it comes from a limited number of trials.

    Args:
      learning_rates: one positive learning rate for each trial.
      results: one result for each trial, in any unit; None if the trial diverged, which is never a good result.
      within: the accepted difference between a good result and the best one, in the same unit; 0.01 is one percentage
        point.
      higher: whether higher results are better (such as accuracies) or lower results (such as losses).

    Returns:
      The range; None if all trials diverged.

    Raises:
      UserError: if there are no trials, the lists have different lengths, a learning rate is not positive, a result is
        not finite, or `within` is negative.
    """
    check_lengths(learning_rates=learning_rates, results=results)
    check_finite("learning_rates", learning_rates)
    if min(learning_rates) <= 0:
        raise UserError(f"learning_rates has the value {min(learning_rates)}. Expected: numbers > 0.")
    if not 0 <= within < math.inf:
        raise UserError(f"within is {within}. Expected: a number >= 0.")
    trials = [(rate, value) for rate, value in zip(learning_rates, results, strict=True) if value is not None]
    if not trials:
        return None
    values = [value for _, value in trials]
    check_finite("results", values)
    best = max(values) if higher else min(values)
    good = [rate for rate, value in trials if _reaches(abs(best - value), within)]
    return Sensitivity(min(good), max(good), len(good))


def _reaches(gap: float, within: float) -> bool:
    # In binary arithmetic, 0.91 − 0.90 is slightly more than 0.01.
    return gap <= within or math.isclose(gap, within, rel_tol=1e-9)


@dataclasses.dataclass(frozen=True)
class RankCorrelation:
    """The rank correlation of two lists.

    Attributes:
      rho: from −1 (opposite order) to 1 (same order); None if a list is constant and has no order.
      low: the lower end of the confidence interval; None if there is no interval.
      high: the upper end.
      p_value: the two-sided p value of the hypothesis of no correlation; None if rho is None.
      count: the number of values in each list.
    """

    rho: float | None
    low: float | None
    high: float | None
    p_value: float | None
    count: int

    @property
    def least_p_value(self) -> float:
        """The smallest possible p value for this number of values: that of the two orders with |rho| = 1."""
        return min(1.0, 2 / math.factorial(self.count)) if self.count <= EXACT_TO else 0.0


def spearman(x: Sequence[float], y: Sequence[float], confidence: float = 0.95) -> RankCorrelation:
    """Returns Spearman's rank correlation of two lists, with an interval and a p value.

    The interval is normal in Fisher's transformation, artanh(rho), with the standard error √((1 + rho²/2) / (n − 3)).
    There is no interval for fewer than four values, or if rho is −1 or 1. For up to 8 values the p value is exact,
    computed from all orders of one list. For more values, it is that of Student's t with n − 2 degrees of freedom.

    Args:
      x: values; only their order matters. Infinite values mean diverged runs.
      y: the values that belong to those of `x`, in the same order.
      confidence: the probability that the interval contains the true correlation.

    Raises:
      UserError: if the lists are empty or have different lengths, or a value is NaN.

    Source: Spearman 1904, "The proof and measurement of association between two things"; Bonett and Wright 2000,
    "Sample size requirements for estimating Pearson, Kendall and Spearman correlations".
    """
    check_lengths(x=x, y=y)
    check_ordered("x", x)
    check_ordered("y", y)
    check_share("confidence", confidence)
    count = len(x)
    first, second = (_ranks(values) for values in (x, y))
    scale = math.sqrt((first @ first) * (second @ second))
    if scale == 0:
        return RankCorrelation(None, None, None, None, count)
    rho = float(first @ second) / scale
    low, high = _fisher_interval(rho, count, confidence)
    return RankCorrelation(rho, low, high, _p_value(first, second, rho), count)


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Returns the ranks minus their mean. Equal values get the mean of their ranks."""
    _, which, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return ranks[which] - (len(values) + 1) / 2


def _fisher_interval(rho: float, count: int, confidence: float) -> tuple[float | None, float | None]:
    if count < 4 or abs(rho) == 1:
        return None, None
    margin = float(scipy.special.ndtri((1 + confidence) / 2)) * math.sqrt((1 + rho**2 / 2) / (count - 3))
    return math.tanh(math.atanh(rho) - margin), math.tanh(math.atanh(rho) + margin)


def _p_value(first: np.ndarray, second: np.ndarray, rho: float) -> float:
    count = len(first)
    if count <= EXACT_TO:
        orders = np.array(list(itertools.permutations(range(count))))
        return float(np.mean(np.abs(first[orders] @ second) >= abs(first @ second)))  # halves and quarters: no rounding
    # Student's t as an incomplete beta function, which is also defined at rho = ±1.
    return float(scipy.special.betainc((count - 2) / 2, 0.5, (1 - rho) * (1 + rho)))
