"""Ranges of good learning rates, and rank correlations compared with published numbers and all permutations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics import sensitivity, spearman

# Bonett's example for ci.spear in his R package statpsych.
Y = [21, 4, 9, 12, 35, 18, 10, 22, 24, 1, 6, 8, 13, 16, 19]
X = [67, 28, 30, 28, 52, 40, 25, 37, 44, 10, 14, 20, 28, 40, 51]


def test_the_range_spans_all_trials_close_enough_to_the_best() -> None:
    rates = [1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 1.0]
    found = sensitivity(rates, [0.5, 0.90, 0.3, 0.91, 0.905, None], within=0.01, higher=True)
    assert found is not None
    assert (found.low, found.high, found.count) == (1e-3, 1e-1, 3)  # 0.90 counts, although 0.91 − 0.90 > 0.01 in floats
    assert found.decades == pytest.approx(2)


def test_the_lowest_loss_is_the_best_and_the_order_of_trials_does_not_matter() -> None:
    found = sensitivity([1.0, 0.01, 0.1, 0.001], [0.15, 9.0, 0.1, 0.151], within=0.05, higher=False)
    assert found is not None
    assert (found.low, found.high, found.count) == (0.1, 1.0, 2)


def test_the_range_of_a_single_best_trial_has_zero_width() -> None:
    found = sensitivity([0.1, 0.2], [1.0, 2.0], within=0.0, higher=True)
    assert found is not None
    assert (found.low, found.high, found.decades, found.count) == (0.2, 0.2, 0, 1)
    assert sensitivity([0.1, 0.2], [None, None], within=0.1, higher=True) is None


@pytest.mark.parametrize(
    ("rates", "results", "within"),
    [
        ([], [], 0.1),
        ([0.1], [1.0, 2.0], 0.1),
        ([0.0], [1.0], 0.1),
        ([math.inf], [1.0], 0.1),
        ([0.1], [math.nan], 0.1),
        ([0.1], [math.inf], 0.1),
        ([0.1], [1.0], -0.1),
        ([0.1], [1.0], math.nan),
    ],
)
def test_invalid_arguments_of_a_range_are_refused(rates: list[float], results: list[float], within: float) -> None:
    with pytest.raises(UserError, match="Expected"):
        sensitivity(rates, results, within, higher=True)


def test_rank_correlation_and_its_interval_match_published_numbers() -> None:
    found = spearman(X, Y)
    assert found.rho == pytest.approx(0.8699639, abs=1e-7)
    assert (found.low, found.high) == pytest.approx((0.5840951, 0.9638297), abs=1e-7)
    assert found.count == 15


@pytest.mark.parametrize("count", [9, 15, 200])
def test_rank_correlation_and_its_p_value_match_scipy(count: int) -> None:
    rng = np.random.default_rng(count)
    x = rng.integers(0, count, count)
    y = x + rng.integers(-count, count, count)
    found, theirs = spearman(x.tolist(), y.tolist()), scipy.stats.spearmanr(x, y)
    assert found.rho == pytest.approx(theirs.statistic, rel=1e-12)
    assert found.p_value == pytest.approx(theirs.pvalue, rel=1e-9)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=5))
def test_the_p_value_of_few_values_is_exact_over_all_permutations(pairs: list[tuple[int, int]]) -> None:
    x, y = [list(map(float, values)) for values in zip(*pairs, strict=True)]
    found = spearman(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert (found.rho, found.low, found.high, found.p_value) == (None, None, None, None)
        return
    ranks = [scipy.stats.rankdata(values) for values in (x, y)]
    orders = [np.corrcoef(order, ranks[1])[0, 1] for order in itertools.permutations(ranks[0])]
    assert found.rho == pytest.approx(orders[0], abs=1e-9)
    assert found.p_value == pytest.approx(np.mean(np.abs(orders) >= abs(orders[0]) - 1e-9))


def test_four_values_in_the_same_order_are_not_significant() -> None:
    """Two of the 24 permutations have |rho| = 1."""
    found = spearman([1, 2, 3, 4], [0.1, 0.2, 0.3, math.inf])
    assert (found.rho, found.low, found.high) == (1, None, None)
    assert found.p_value == pytest.approx(2 / 24)
    assert spearman([1, 2, 3], [1, 3, 2]).low is None
    assert spearman([1, 2, 3, 4], [1, 2, 4, 3]).low is not None
    assert spearman(list(range(20)), list(range(20, 0, -1))).p_value == 0


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_of_the_correlation_has_its_nominal_coverage(confidence: float) -> None:
    """For normal values with correlation r, Spearman's correlation is (6 / π) arcsin(r / 2)."""
    r = 0.5
    truth = 6 / math.pi * math.asin(r / 2)
    samples = np.random.default_rng(0).multivariate_normal([0, 0], [[1, r], [r, 1]], (2000, 30))
    found = [spearman(sample[:, 0], sample[:, 1], confidence) for sample in samples]
    covered = np.mean([f.low <= truth <= f.high for f in found if f.low is not None and f.high is not None])
    assert covered == pytest.approx(confidence, abs=0.025)


@pytest.mark.parametrize(("x", "y"), [([], []), ([1.0], [1.0, 2.0]), ([1.0, math.nan], [1.0, 2.0])])
def test_values_that_cannot_be_correlated_are_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(UserError, match="Expected"):
        spearman(x, y)
