"""The power of comparisons and the seeds they need, checked against simulated tests and published numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics import (
    compare_pairs,
    minimum_detectable_difference,
    pooled_deviation,
    power_of_comparison,
    results_needed,
    seed_range,
    seeds_needed,
)
from jaxopt_bench.statistics.planning import MOST_SEEDS


@pytest.mark.parametrize("optimizers", [2, 6, 49])
@pytest.mark.parametrize("results", [2, 3, 5, 20])
def test_corrected_welch_tests_detect_the_least_difference_in_80_percent(optimizers: int, results: int) -> None:
    difference, studies = minimum_detectable_difference(optimizers, results), 20_000
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, studies, results))
    p_values = scipy.stats.ttest_ind(first + difference, second, axis=1, equal_var=False).pvalue
    assert np.mean(p_values * math.comb(optimizers, 2) <= 0.05) == pytest.approx(0.8, abs=0.012)


def test_holms_method_detects_the_least_difference_at_least_as_often() -> None:
    random = np.random.default_rng(0)
    lead = minimum_detectable_difference(4, 5)
    seen = [compare_pairs((random.normal(size=(4, 5)) + [[lead], [0], [0], [0]]).tolist()) for _ in range(500)]
    assert np.mean([found[0].significant for found in seen]) >= 0.8 - 2 * math.sqrt(0.16 / 500)


@pytest.mark.parametrize("optimizers", [2, 6, 25])
@pytest.mark.parametrize("results", [2, 3, 5, 20, 64])
def test_the_least_difference_is_the_inverse_of_the_seeds_needed(optimizers: int, results: int) -> None:
    confidence = 1 - 0.05 / math.comb(optimizers, 2)
    needed = seeds_needed(
        difference=minimum_detectable_difference(optimizers, results), deviation=1, confidence=confidence
    )
    assert needed == results


def test_the_least_difference_of_two_optimizers_is_cohens() -> None:
    """Cohen 1988, table 2.4.1: with 64 in each group, the power for a difference of 0.5 deviations is 80%."""
    assert minimum_detectable_difference(2, 64) == pytest.approx(0.5, abs=0.005)


def test_least_difference_falls_with_results_rises_with_optimizers_and_power() -> None:
    by_results = [minimum_detectable_difference(6, n) for n in range(2, 30)]
    assert by_results == sorted(by_results, reverse=True)
    by_optimizers = [minimum_detectable_difference(k, 5) for k in range(2, 60)]
    assert by_optimizers == sorted(by_optimizers)
    assert minimum_detectable_difference(6, 5, power=0.9) > minimum_detectable_difference(6, 5)


def test_one_optimizer_or_one_result_has_no_least_difference() -> None:
    assert minimum_detectable_difference(1, 8) is None
    assert minimum_detectable_difference(6, 1) is None


def test_results_for_returns_the_fewest_results_that_show_a_difference() -> None:
    enough = results_needed(6, 5.0, most=100)
    assert minimum_detectable_difference(6, enough) <= 5.0 < minimum_detectable_difference(6, enough - 1)
    assert results_needed(6, 0.1, most=20) is None


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
    ],
)
def test_impossible_studies_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        minimum_detectable_difference(**{"optimizers": 2, "results": 3, **wrong})


@pytest.mark.parametrize(
    ("difference", "power", "seeds"), [(0.5, 0.8, 64), (0.2, 0.8, 394), (-0.8, 0.8, 26), (0.5, 0.95, 105)]
)
def test_the_seeds_needed_match_g_power(difference: float, power: float, seeds: int) -> None:
    """G*Power computes the size of each of two groups for the t test of independent means."""
    assert seeds_needed(difference=difference, deviation=1, power=power) == seeds
    assert seeds_needed(difference=0.01 * difference, deviation=0.01, power=power) == seeds


@pytest.mark.parametrize("difference", [0.03, 0.31, 0.9, 1.7, 4.0, 31.6])
@pytest.mark.parametrize(("power", "confidence"), [(0.8, 0.95), (0.9, 0.99), (0.97, 0.8)])
def test_the_seeds_needed_reach_the_power_and_one_seed_fewer_does_not(
    difference: float, power: float, confidence: float
) -> None:
    needed = seeds_needed(difference=difference, deviation=1, power=power, confidence=confidence)
    assert needed is not None
    assert power_by_quantiles(needed, difference, 1 - confidence) >= power - 5e-4
    assert needed == 2 or power_by_quantiles(needed - 1, difference, 1 - confidence) < power + 5e-4


def power_by_quantiles(count: int, difference: float, level: float, sampling: float = 0.0, grid: int = 300) -> float:
    """Returns the power of Welch's test for a deviation of 1, averaged over quantiles of both sample variances.

    The difference of the means is normal. `sampling` is a known variance that is added to its variance.
    """
    variances = scipy.stats.chi2(count - 1).ppf((np.arange(grid) + 0.5) / grid) / (count - 1)
    first, second = np.meshgrid(variances, variances)
    total = (first + second) / count + sampling
    freedom = total**2 / ((first**2 + second**2) / count**2 / (count - 1))
    critical = scipy.stats.t(freedom).ppf(1 - level / 2) * np.sqrt(total)
    mean = scipy.stats.norm(difference, math.sqrt(2 / count + sampling))
    return float(np.mean(mean.sf(critical) + mean.cdf(-critical)))


@pytest.mark.parametrize("count", [2, 3, 5, 8, 20])
@pytest.mark.parametrize("level", [0.05, 0.05 / 15, 0.05 / 300])
@pytest.mark.parametrize("sampling", [0.0, 0.05, 1.0, 10.0])
def test_the_power_matches_the_average_over_sample_variances(count, level, sampling):
    for difference in (0.5, 1.5, 5.0, 15.0):
        expected = power_by_quantiles(count, difference, level, sampling)
        if sampling:
            expected = min(expected, power_by_quantiles(count, difference, level))
        assert power_of_comparison(count, difference, level=level, sampling=sampling) == pytest.approx(
            expected, abs=0.02
        )


def test_extreme_numbers_of_seeds_needed() -> None:
    assert seeds_needed(difference=0, deviation=1) is None
    assert seeds_needed(difference=1e-5, deviation=1) is None
    assert seeds_needed(difference=0.0085, deviation=1) is None  # 217,273 would exceed MOST_SEEDS
    assert seeds_needed(difference=1, deviation=0) == 2
    assert seeds_needed(difference=1e300, deviation=1e-300) == 2
    nearly_most = seeds_needed(difference=0.013, deviation=1)
    assert nearly_most is not None
    assert MOST_SEEDS / 2 < nearly_most < MOST_SEEDS


@pytest.mark.parametrize("wrong", [{"difference": math.nan}, {"deviation": -1.0}, {"power": 1.0}, {"confidence": 0.0}])
def test_invalid_arguments_of_seeds_needed_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(wrong))} "):
        seeds_needed(**{"difference": 1.0, "deviation": 1.0, **wrong})


def test_the_range_of_seeds_follows_from_the_interval_of_the_deviation() -> None:
    """The chi-square interval of a variance is s² (n − 1) / χ², here pooled over two samples of equal deviation."""
    first, second = [1.0, 2.0, 3.0, 4.0], [2.5, 3.5, 4.5, 5.5]
    deviation, confidence = np.std(first, ddof=1), 1 - 0.05 / 15
    low, high = (deviation * math.sqrt(6 / scipy.stats.chi2.ppf(p, 6)) for p in (0.975, 0.025))
    found = seed_range(first, second, confidence=confidence)
    assert found is not None
    assert found.low == seeds_needed(difference=1.5, deviation=low, confidence=confidence)
    assert found.high == seeds_needed(difference=1.5, deviation=high, confidence=confidence)
    point = seeds_needed(difference=1.5, deviation=deviation, confidence=confidence)
    assert point is not None
    assert found.low < point < found.high
    assert seed_range([1.0], second, confidence=0.95) is None
    same = seed_range(first, first, confidence=0.95)
    assert same is not None
    assert (same.low, same.high) == (None, None)


def test_the_range_of_seeds_has_its_nominal_coverage() -> None:
    """The difference is exactly 1.5 deviations, so only the deviation is unknown."""
    true = seeds_needed(difference=1.5, deviation=1)
    assert true is not None
    deviates = np.random.default_rng(0).normal(size=(400, 2, 5))
    centred = deviates - deviates.mean(axis=2, keepdims=True) + np.array([[1.5], [0.0]])
    found = [seed_range(first, second, confidence=0.95) for first, second in centred.tolist()]
    held = np.mean([r is not None and (r.low or math.inf) <= true <= (r.high or math.inf) for r in found])
    assert held == pytest.approx(0.95, abs=0.03)
