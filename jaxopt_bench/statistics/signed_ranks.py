"""Wilcoxon's signed-rank test, exact for any number of pairs and with ties."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxopt_bench.statistics.checks import check_finite


def signed_rank_p_value(differences: Sequence[float]) -> float:
    """Returns the two-sided p value of Wilcoxon's signed-rank test.

    If two contenders are equally good on every workload, each difference has either sign with the same probability. The
    p value is the share of all 2^n choices of signs in which the sum of the ranks of positive differences is at least
    as far from its expectation as the observed sum. Differences of zero are omitted, and equal differences get the
    average of their ranks. The p value is exact, also with ties. It cannot be less than 2^(1 − n).

    Args:
      differences: the differences between two contenders, one for each workload.

    Raises:
      UserError: if there are no differences, or a difference is not finite.

    Unlike tests of mean ranks, it does not depend on other contenders.

    Sources: Wilcoxon 1945, "Individual comparisons by ranking methods"; Benavoli, Corani and Mangili 2016, "Should we
    really use post-hoc tests based on mean-ranks?"
    """
    check_finite("differences", differences)
    values = np.asarray(differences, np.float64)
    values = values[values != 0]
    if not len(values):
        return 1.0
    sizes = np.abs(values)
    doubled = np.array([2 * (sizes < own).sum() + (sizes == own).sum() + 1 for own in sizes])  # ranks times two
    total = int(doubled.sum())
    ways = np.zeros(total + 1)  # shares of all choices of signs, by the sum of the positive ranks
    ways[0] = 1.0
    for rank in doubled.tolist():
        ways[rank:] = (ways[rank:] + ways[: total + 1 - rank]) / 2
        ways[:rank] /= 2
    positive = int(doubled[values > 0].sum())
    far = abs(2 * positive - total)
    return min(1.0, float(ways[np.abs(2 * np.arange(total + 1) - total) >= far].sum()))
