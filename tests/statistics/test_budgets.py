"""The expected best of k trials, compared with the mean over all subsets of k trials."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics import expected_best, expected_best_is_exact

trials = st.lists(st.floats(-100, 100) | st.just(math.inf), min_size=1, max_size=8)


def mean_of_bests(values: list[float]) -> list[float]:
    """Returns the mean, over all subsets of k values, of the smallest value in the subset; for every k."""
    bests = [[min(subset) for subset in itertools.combinations(values, k + 1)] for k in range(len(values))]
    return [math.inf if math.inf in found else math.fsum(found) / len(found) for found in bests]


@given(trials)
def test_the_expected_best_is_the_mean_over_all_subsets(losses: list[float]) -> None:
    curve = mean_of_bests(losses)
    assert expected_best(losses, higher=False) == pytest.approx(curve, abs=1e-11)
    accuracies = [-loss for loss in losses]
    assert expected_best(accuracies, higher=True) == pytest.approx([-loss for loss in curve], abs=1e-11)


@given(trials, st.floats(-100, 100))
def test_no_trial_counts_as_worse_than_the_given_worst(losses: list[float], worst: float) -> None:
    curve = mean_of_bests([min(loss, worst) for loss in losses])
    assert expected_best(losses, higher=False, worst=worst) == pytest.approx(curve, abs=1e-11)
    accuracies = [-loss for loss in losses]
    assert expected_best(accuracies, higher=True, worst=-worst) == pytest.approx([-x for x in curve], abs=1e-11)


def test_a_hand_computed_example() -> None:
    """The pairs of three trials are {1, 2}, {1, 4} and {2, 4}."""
    assert expected_best([4.0, 1.0, 2.0], higher=False) == pytest.approx([7 / 3, 4 / 3, 1])
    assert expected_best([4.0, 1.0, 2.0], higher=True) == pytest.approx([7 / 3, 10 / 3, 4])
    assert expected_best([0.0, 0.0], higher=True) == [0, 0]
    assert math.copysign(1, expected_best([0.0], higher=True)[0]) == 1


def test_diverged_trials_count_towards_the_budget() -> None:
    """Two of the three pairs of {1, diverged, diverged} contain the 1."""
    assert expected_best([math.inf, 1.0, math.inf], higher=False) == [math.inf, math.inf, 1]
    assert expected_best([math.inf, 1.0, math.inf], higher=False, worst=4.0) == pytest.approx([3, 2, 1])
    assert expected_best([-math.inf, 0.9], higher=True) == [-math.inf, 0.9]
    assert expected_best([math.inf], higher=False) == [math.inf]


def test_ten_thousand_trials_lose_no_precision() -> None:
    """For the results 1 to n, the expected best of k is (n + 1) / (k + 1), the mean gap between k points among n."""
    curve = expected_best(list(range(1, 10_001)), higher=False)
    assert curve == pytest.approx([10_001 / (k + 1) for k in range(1, 10_001)], rel=1e-9)


def test_results_of_very_different_magnitudes_lose_no_precision() -> None:
    losses = np.sort(np.random.default_rng(0).lognormal(0, 4, 300))
    curve = expected_best(losses.tolist(), higher=False)
    for k in (1, 2, 7, 150, 299, 300):
        weights = [Fraction(math.comb(299 - i, k - 1), math.comb(300, k)) for i in range(300)]
        exact = sum(weight * Fraction(loss) for weight, loss in zip(weights, losses.tolist(), strict=True))
        assert curve[k - 1] == pytest.approx(float(exact), rel=1e-12)


def test_the_estimate_is_unbiased() -> None:
    """The expected minimum of three uniform numbers is 1/4. Here it is estimated from six trials."""
    samples = np.random.default_rng(0).uniform(size=(2000, 6)).tolist()
    estimates = [expected_best(sample, higher=False)[2] for sample in samples]
    assert np.mean(estimates) == pytest.approx(0.25, abs=4 * np.std(estimates) / math.sqrt(2000))
    assert np.std(estimates) / math.sqrt(2000) < 0.005


@pytest.mark.parametrize(
    ("values", "worst"), [([], None), ([math.nan], None), ([-math.inf, 1.0], None), ([1.0], math.inf)]
)
def test_invalid_results_are_refused(values: list[float], worst: float | None) -> None:
    with pytest.raises(UserError, match=r"(values|worst) .*Expected"):
        expected_best(values, higher=False, worst=worst)
    with pytest.raises(UserError, match=r"(values|worst) .*Expected"):
        expected_best([-value for value in values], higher=True, worst=worst)


def test_the_expected_best_is_exact_only_for_random_search() -> None:
    assert expected_best_is_exact("random")
    assert not expected_best_is_exact("sobol")
    with pytest.raises(UserError, match=r"'grid'.*Expected: random or sobol"):
        expected_best_is_exact("grid")
    with pytest.raises(UserError, match=r"'halving'.*Expected: random or sobol"):
        expected_best_is_exact("halving")
    with pytest.raises(UserError, match="did you mean random"):
        expected_best_is_exact("randm")
