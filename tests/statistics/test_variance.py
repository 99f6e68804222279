"""Shares of variance, for tables computed by hand and for simulated data with known variances."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics import variance_shares


def share_of_search(results: Sequence[Sequence[Sequence[float]]]) -> float:
    shares = variance_shares(results)
    assert shares is not None
    assert shares["search"] + shares["seed"] == pytest.approx(1)
    return shares["search"]


def test_a_balanced_table_computed_by_hand() -> None:
    """The sums of squares, with their degrees of freedom in parentheses.

    First table (means 2 and 8): 4 within searches (2), 36 between (1). Second (means 1 and 3): 4 within (2), 4 between
    (1). First table alone: σ²_seed = 4 / 2 = 2, σ²_search = (36 − 2) / 2 = 17. Both tables: σ²_seed = 8 / 4 = 2,
    σ²_search = (40 / 2 − 2) / 2 = 9.
    """
    first, second = [[1.0, 3.0], [7.0, 9.0]], [[0.0, 2.0], [2.0, 4.0]]
    assert share_of_search([first]) == pytest.approx(17 / 19)
    assert share_of_search([first, second]) == pytest.approx(9 / 11)


def test_an_unbalanced_table_computed_by_hand() -> None:
    """The means are 3 (3 seeds) and 10 (1 seed), and 4.75 over all seeds.

    The sums of squares are 8 within searches (2 degrees of freedom) and 3 · 1.75² + 5.25² between (1). σ²_seed is
    8 / 2 = 4. The sum of squares between searches contains σ²_search 4 − (3² + 1²) / 4 = 1.5 times.
    """
    search = (3 * 1.75**2 + 5.25**2 - 4) / 1.5
    assert share_of_search([[[1.0, 3.0, 5.0], [10.0]]]) == pytest.approx(search / (search + 4))


@pytest.mark.parametrize("search_variance", [0.25, 1.0, 4.0])
def test_variances_of_simulated_results_are_found_for_any_contender_means(search_variance: float) -> None:
    rng = np.random.default_rng(0)
    results = [
        [
            (100 * contender + math.sqrt(search_variance) * rng.normal() + rng.normal(size=seeds)).tolist()
            for seeds in rng.integers(1, 7, size=12)
        ]
        for contender in range(100)
    ]
    assert share_of_search(results) == pytest.approx(search_variance / (search_variance + 1), abs=0.03)


def test_few_searches_give_inaccurate_shares_as_documented() -> None:
    rng = np.random.default_rng(0)
    drawn = [(rng.normal(size=(6, 3, 1)) + rng.normal(size=(6, 3, 8))).tolist() for _ in range(2000)]
    low, high = np.quantile([share_of_search(results) for results in drawn], [0.025, 0.975])
    assert (low, high) == pytest.approx((0.23, 0.69), abs=0.02)


def test_a_search_explains_nothing_if_all_searches_have_the_same_mean() -> None:
    assert share_of_search([[[0.0, 2.0], [2.0, 0.0], [1.0]]]) == 0


@pytest.mark.parametrize(
    "results",
    [
        [],
        [[[1.0, 2.0, 3.0]], [[4.0, 5.0]]],  # one search each
        [[[1.0], [2.0]], [[3.0], [4.0]]],  # one seed each
        [[[0.1, 0.1, 0.1], [0.1, 0.1]], [[0.7, 0.7], [0.7, 0.7, 0.7]]],  # all are equal within each contender
    ],
)
def test_variances_that_cannot_be_separated_have_no_shares(results: Sequence[Sequence[Sequence[float]]]) -> None:
    assert variance_shares(results) is None


@pytest.mark.parametrize("seeds", [[], [math.nan], [math.inf]])
def test_empty_and_non_finite_results_are_refused(seeds: list[float]) -> None:
    with pytest.raises(UserError, match=r"results .*. Expected"):
        variance_shares([[[1.0, 2.0], seeds]])
