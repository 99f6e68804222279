"""Ranks over workloads, compared with SciPy, brute force and the example of Demsar (2006)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from jaxopt_bench import UserError
from jaxopt_bench.statistics import critical_difference, friedman, signed_rank_p_value

DEMSAR = [  # Demsar's table 6: the ranks of C4.5, C4.5+m, C4.5+cf and C4.5+m+cf on 14 data sets
    [4, 1, 4, 4, 4, 1, 3, 2.5, 4, 2.5, 4, 3, 4, 3],
    [3, 2, 1, 1, 2, 2.5, 2, 2.5, 3, 2.5, 2.5, 2, 1, 1],
    [2, 3, 2, 3, 3, 4, 4, 4, 2, 2.5, 1, 4, 2, 4],
    [1, 4, 3, 2, 1, 2.5, 1, 1, 1, 2.5, 2.5, 1, 3, 2],
]


def test_the_example_of_demsar():
    found = friedman(DEMSAR)
    assert found.mean_ranks == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=5e-4)
    ties = 1 - (3 * (2**3 - 2) + (4**3 - 4)) / (14 * 4 * (4**2 - 1))  # Demsar's statistic has no correction for ties
    assert found.statistic * ties == pytest.approx(9.28, abs=0.005)
    assert pytest.approx(3.69, abs=0.005) == 13 * 9.28 / (14 * 3 - 9.28)  # his F statistic; the critical value is 2.85
    assert found.p_value < 0.05
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)  # at 0.05
    assert critical_difference(4, 14, 0.9) == pytest.approx(1.12, abs=0.005)  # at 0.10


def test_friedmans_statistic_matches_scipy_and_its_p_value_iman_and_davenport():
    random = np.random.default_rng(0)
    for k, n in ((3, 5), (4, 12), (25, 12)):
        losses = random.integers(0, 6, size=(k, n)).astype(float)
        found = friedman(losses.tolist())
        assert found.statistic == pytest.approx(scipy.stats.friedmanchisquare(*losses).statistic)
        f = (n - 1) * found.statistic / (n * (k - 1) - found.statistic)
        assert found.f_statistic == pytest.approx(f)
        assert found.p_value == pytest.approx(scipy.stats.f.sf(f, k - 1, (k - 1) * (n - 1)))


def test_the_p_value_is_0_for_equal_orders_and_1_for_equal_results():
    assert friedman([[1, 1, 1], [2, 2, 2], [3, 3, 3]]).p_value == 0
    assert friedman([[1, 2, 3], [1, 2, 3]]).p_value == 1


def test_friedmans_test_keeps_its_level():
    random = np.random.default_rng(1)
    losses = random.normal(size=(1000, 5, 8))
    rejected = np.mean([friedman(each.tolist()).p_value < 0.05 for each in losses])
    assert 0.03 < rejected < 0.07


@pytest.mark.parametrize(
    ("contenders", "quantile"),
    [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (7, 2.949), (8, 3.031), (9, 3.102), (10, 3.164)],
)
def test_critical_values_are_those_of_demsars_table_5_and_of_scipy(contenders, quantile):
    scale = np.sqrt(contenders * (contenders + 1) / (6 * 12))
    assert critical_difference(contenders, 12) / scale == pytest.approx(quantile, abs=1.1e-3)
    exact = scipy.stats.studentized_range.ppf(0.95, contenders, 1e6) / np.sqrt(2)
    assert critical_difference(contenders, 12) / scale == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize(("confidence", "worse"), [(0.9, {(0, 1), (0, 3)}), (0.95, set())])
def test_pairs_that_differ_are_those_of_demsars_diagram(confidence, worse):
    """Figure 1a, at the level 0.10: C4.5 is worse than C4.5+m and C4.5+m+cf; C4.5+cf does not differ significantly."""
    found = friedman(DEMSAR, confidence)
    ranks = found.mean_ranks
    pairs = itertools.combinations(range(4), 2)
    assert {(i, j) for i, j in pairs if abs(ranks[i] - ranks[j]) > found.critical_difference} == worse


def brute_force(differences: list[float]) -> float:
    """Returns the share of sign assignments whose statistic is at least as extreme as the observed one."""
    values = np.array([d for d in differences if d != 0])
    ranks = scipy.stats.rankdata(np.abs(values))
    observed = abs(ranks @ np.sign(values))
    return float(
        np.mean([abs(ranks @ signs) >= observed - 1e-9 for signs in itertools.product((-1, 1), repeat=len(values))])
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_signed_rank_test_is_exact(seed):
    random = np.random.default_rng(seed)
    differences = random.normal(0.3, 1, size=12)
    p = signed_rank_p_value(differences.tolist())
    assert p == pytest.approx(scipy.stats.wilcoxon(differences, method="exact").pvalue)
    tied = random.integers(-3, 4, size=10).astype(float).tolist()
    assert signed_rank_p_value(tied) == pytest.approx(brute_force(tied))


def test_limiting_cases_of_the_signed_rank_test():
    assert signed_rank_p_value([1.0 + i for i in range(12)]) == 2**-11
    assert signed_rank_p_value([0.0, 0.0]) == 1
    assert signed_rank_p_value([1.0, -1.0]) == 1


def test_too_few_contenders_or_workloads_are_refused():
    for losses in ([[1, 2]], [[1], [2]], [[1, 2], [1, 2, 3]]):
        with pytest.raises(UserError, match="Expected at least 2 of each"):
            friedman(losses)
    with pytest.raises(UserError, match="there are 1 contenders"):
        critical_difference(1, 5)
