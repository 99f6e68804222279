"""What a comparison can show: against simulated tests, and against numbers of the literature."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics import compare_pairs, least_difference, pooled_deviation, results_for, seeds_needed


@pytest.mark.parametrize("optimizers", [2, 6, 49])
@pytest.mark.parametrize("results", [2, 3, 5, 20])
def test_welchs_test_corrected_for_all_pairs_sees_it_in_four_of_five_studies(optimizers: int, results: int) -> None:
    difference, studies = least_difference(optimizers, results), 20_000
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, studies, results))
    p_values = scipy.stats.ttest_ind(first + difference, second, axis=1, equal_var=False).pvalue
    assert np.mean(p_values * math.comb(optimizers, 2) <= 0.05) == pytest.approx(0.8, abs=0.012)


def test_a_study_sees_it_by_holms_method_at_least_as_often() -> None:
    random = np.random.default_rng(0)
    lead = least_difference(4, 5)
    seen = [compare_pairs((random.normal(size=(4, 5)) + [[lead], [0], [0], [0]]).tolist()) for _ in range(500)]
    assert np.mean([found[0].significant for found in seen]) >= 0.8 - 2 * math.sqrt(0.16 / 500)


@pytest.mark.parametrize("optimizers", [2, 6, 25])
@pytest.mark.parametrize("results", [10, 20, 64])
def test_with_many_results_it_is_the_inverse_of_the_seeds_needed(optimizers: int, results: int) -> None:
    confidence = 1 - 0.05 / math.comb(optimizers, 2)
    needed = seeds_needed(difference=least_difference(optimizers, results), deviation=1, confidence=confidence)
    assert results - 1 <= needed <= results


def test_it_is_cohens_for_two_optimizers_and_many_seeds() -> None:
    """Cohen 1988, table 2.4.1: with 64 in each group, 0.5 deviations are seen with a power of 80%."""
    assert least_difference(2, 64) == pytest.approx(0.5, abs=0.005)


def test_it_falls_with_results_and_rises_with_optimizers_and_power() -> None:
    by_results = [least_difference(6, n) for n in range(2, 30)]
    assert by_results == sorted(by_results, reverse=True)
    by_optimizers = [least_difference(k, 5) for k in range(2, 60)]
    assert by_optimizers == sorted(by_optimizers)
    assert least_difference(6, 5, power=0.9) > least_difference(6, 5)


def test_nothing_is_seen_with_one_optimizer_or_one_result() -> None:
    assert least_difference(1, 8) is None
    assert least_difference(6, 1) is None


def test_the_fewest_results_for_a_difference() -> None:
    enough = results_for(6, 5.0, most=100)
    assert least_difference(6, enough) <= 5.0 < least_difference(6, enough - 1)
    assert results_for(6, 0.1, most=20) is None


def test_the_pooled_deviation_weights_variances_by_their_degrees_of_freedom() -> None:
    groups = [[1.0, 3.0], [10.0, 10.0, 13.0], [5.0]]  # sums of squares 2 and 6, degrees of freedom 1 and 2
    assert pooled_deviation(groups) == pytest.approx(math.sqrt(8 / 3))
    assert pooled_deviation([[1.0], [2.0]]) is None
    with pytest.raises(UserError, match="groups has the value nan"):
        pooled_deviation([[1.0, math.nan]])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"optimizers": 0}, "optimizers is 0. Expected at least 1"),
        ({"results": 0}, "results is 0"),
        ({"power": 1.0}, "power is 1.0"),
        ({"confidence": 0.0}, "confidence is 0.0"),
    ],
)
def test_impossible_studies_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        least_difference(**{"optimizers": 2, "results": 3, **wrong})
