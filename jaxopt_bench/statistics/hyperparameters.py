"""How much a hyperparameter matters, from the trials of a search."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
import scipy.special

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics.checks import check_finite, check_lengths, check_ordered, check_share

EXACT_TO = 8  # values of which all orders are tried: 40,320


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """The learning rates that are as good as the best.

    Attributes:
      low: the least of them.
      high: the greatest of them.
      count: the trials that had one of them and a result within reach of the best, the best included.
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
    """Returns the range of learning rates whose results are within reach of the best one.

    The range goes from the least to the greatest learning rate of the good trials. It says that some trials within it
    are good, not that all are: the other hyperparameters of a random search vary along, and a bad trial between two
    good ones may be theirs. Its width is a lower bound, from the trials at hand.

    Args:
      learning_rates: one a trial, positive.
      results: one a trial, in any unit; None where it diverged, which is never good.
      within: how much worse than the best a good result may be, in the same unit; 0.01 is one point of a
        percentage.
      higher: whether higher results are better, such as of an accuracy; else lower ones are, such as of a loss.

    Returns:
      The range; None where all trials diverged.

    Raises:
      UserError: where there are no trials, lists are not equally long, a learning rate is not positive, a result is
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
    # In binary 0.91 − 0.90 is a little more than 0.01.
    return gap <= within or math.isclose(gap, within, rel_tol=1e-9)


@dataclasses.dataclass(frozen=True)
class RankCorrelation:
    """How far two lists have the same order.

    Attributes:
      rho: from −1 (opposite orders) to 1 (the same); None where a list is constant and has no order.
      low: the lower end of its confidence interval; None where it has none.
      high: the upper end.
      p_value: two-sided, of there being no correlation; None where rho is.
      count: how many values there are.
    """

    rho: float | None
    low: float | None
    high: float | None
    p_value: float | None
    count: int

    @property
    def least_p_value(self) -> float:
        """The least p value that so many values can have: the two of all orders with |rho| = 1."""
        return min(1.0, 2 / math.factorial(self.count)) if self.count <= EXACT_TO else 0.0


def spearman(x: Sequence[float], y: Sequence[float], confidence: float = 0.95) -> RankCorrelation:
    """Returns Spearman's rank correlation of two lists, with an interval and a p value.

    The interval is normal in Fisher's transformation, artanh(rho), with the standard error √((1 + rho²/2) / (n − 3)).
    It has no value below four values, nor where rho is −1 or 1. Up to 8 values the p value is exact, from all orders
    of one list; above, it is that of Student's t with n − 2 degrees of freedom.

    Args:
      x: values of which only the order matters; infinite ones stand for runs that diverged.
      y: the values that go with them, in the same order.
      confidence: how often the interval should hold the true correlation.

    Raises:
      UserError: where the lists are empty or not equally long, or a value is NaN.

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
    """Returns the ranks less their mean; equal values share the mean of theirs."""
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
    # Student's t as an incomplete beta function, which is defined at rho = ±1 too.
    return float(scipy.special.betainc((count - 2) / 2, 0.5, (1 - rho) * (1 + rho)))
