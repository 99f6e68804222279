"""Ranks of contenders over several workloads: Friedman's test and Nemenyi's critical difference."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
import scipy.special
from jaxtyping import Float

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics.checks import check_ordered, check_share


@dataclasses.dataclass(frozen=True)
class Friedman:
    """Friedman's test of the hypothesis that all contenders have the same mean rank.

    Attributes:
      mean_ranks: the mean rank of each contender; 1 is the best.
      statistic: χ², corrected for ties, with k − 1 degrees of freedom for k contenders.
      f_statistic: the F statistic of Iman and Davenport, with k − 1 and (k − 1)(n − 1) degrees of freedom for n
        workloads. It is inf if all workloads rank the contenders in the same order.
      p_value: the p value of `f_statistic`, which is more accurate than χ² for few workloads.
      critical_difference: the smallest significant difference of two mean ranks among all pairs; see
        `critical_difference`.
    """

    mean_ranks: tuple[float, ...]
    statistic: float
    f_statistic: float
    p_value: float
    critical_difference: float


def average_ranks(losses: Float[np.ndarray, "contenders *others"]) -> Float[np.ndarray, "contenders *others"]:
    """Returns the rank of each contender in every column. Rank 1 is the lowest loss.

    Equal values get the average of their ranks.
    """
    ranks = np.empty(losses.shape)
    for i, own in enumerate(losses):
        ranks[i] = (losses < own).sum(axis=0) + ((losses == own).sum(axis=0) + 1) / 2
    return ranks


def friedman(losses: Sequence[Sequence[float]], confidence: float = 0.95) -> Friedman:
    """Returns Friedman's test of the results of k contenders on n workloads.

    χ² = 12 n / (k (k + 1)) · [Σ R_j² − k (k + 1)² / 4], where R_j is the mean rank of a contender. It is divided by
    1 − Σ (t³ − t) / (n k (k² − 1)) for groups of t equal results on a workload. F = (n − 1) χ² / (n (k − 1) − χ²).

    Args:
      losses: the losses by contender and workload; lower is better.
      confidence: the confidence of the critical difference.

    Raises:
      UserError: if there are fewer than 2 contenders or 2 workloads, the lists have different lengths, or a value is
        NaN.

    Source: Friedman 1937, "The use of ranks to avoid the assumption of normality implicit in the analysis of variance";
    Iman and Davenport 1980, "Approximations of the critical region of the Friedman statistic"; Demsar 2006,
    "Statistical comparisons of classifiers over multiple data sets", section 3.2.2.
    """
    lengths = {len(own) for own in losses}
    if len(losses) < 2 or len(lengths) != 1 or min(lengths) < 2:
        raise UserError(
            f"losses has {len(losses)} contenders with {sorted(lengths)} workloads. Expected at least 2 of each, the "
            "same workloads for all."
        )
    for own in losses:
        check_ordered("losses", own)
    table = np.asarray(losses, np.float64)
    k, n = table.shape
    ranks = average_ranks(table)
    means = ranks.mean(axis=1)
    ties = sum(float((count**3 - count).sum()) for column in table.T for _, count in [_groups(column)])
    spread = 1 - ties / (n * k * (k**2 - 1))
    statistic = 0.0
    if spread > 0:
        statistic = 12 * n / (k * (k + 1)) * (float(np.sum(means**2)) - k * (k + 1) ** 2 / 4) / spread
    rest = n * (k - 1) - statistic
    f_statistic = (n - 1) * statistic / rest if rest > 1e-9 else math.inf
    p_value = float(scipy.special.fdtrc(k - 1, (k - 1) * (n - 1), f_statistic)) if f_statistic < math.inf else 0.0
    return Friedman(tuple(means.tolist()), statistic, f_statistic, p_value, critical_difference(k, n, confidence))


def _groups(column: Float[np.ndarray, " contenders"]) -> tuple[np.ndarray, np.ndarray]:
    return np.unique(column, return_counts=True)


def critical_difference(contenders: int, workloads: int, confidence: float = 0.95) -> float:
    """Returns the smallest significant difference of two mean ranks among all pairs (Nemenyi's test).

    It is q √(k (k + 1) / (6 n)) for k contenders and n workloads, where q is the quantile of the studentized range of k
    normal values with infinitely many degrees of freedom, divided by √2.

    Args:
      contenders: the number of contenders, at least 2.
      workloads: the number of workloads, at least 1.
      confidence: the probability that no pair of equal contenders differs by more.

    Raises:
      UserError: if a number is too small, or the confidence is not between 0 and 1.

    Source: Nemenyi 1963, "Distribution-free multiple comparisons"; Demsar 2006, section 3.2.2.
    """
    check_share("confidence", confidence)
    if contenders < 2 or workloads < 1:
        raise UserError(f"there are {contenders} contenders and {workloads} workloads. Expected at least 2, and 1.")
    quantile = _range_quantile(contenders, confidence) / math.sqrt(2)
    return quantile * math.sqrt(contenders * (contenders + 1) / (6 * workloads))


@functools.cache
def _range_quantile(count: int, confidence: float) -> float:
    """Returns the quantile of the range of `count` independent standard normal values, by bisection.

    P(range < q) = k ∫ φ(z) [Φ(z) − Φ(z − q)]^(k − 1) dz, where z is the greatest of the values.
    """
    z = np.linspace(-9.0, 9.0, 2001)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    low, high = 0.0, 20.0
    while high - low > 1e-10:
        middle = (low + high) / 2
        inside = scipy.special.ndtr(z) - scipy.special.ndtr(z - middle)
        if count * float(density @ inside ** (count - 1)) < confidence:
            low = middle
        else:
            high = middle
    return high
