"""Means and intervals against SciPy, against BCa written from the paper, and against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxopt_bench.errors import UserError
from jaxopt_bench.results import Estimate, estimate


@pytest.mark.parametrize("count", [2, 3, 5, 19])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_interval_of_a_few_values_is_scipys_t_interval(count: int, confidence: float) -> None:
    values = np.random.default_rng(count).normal(3, 2, count)
    ours = estimate(values.tolist(), confidence)
    low, high = scipy.stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-9)
    assert ours.mean == pytest.approx(values.mean(), rel=1e-12)
    assert ours.count == count


def test_it_covers_the_true_mean_as_often_as_it_says_even_over_three_values() -> None:
    samples = np.random.default_rng(0).normal(1, 1, (4000, 3)).tolist()
    covered = np.mean([e.low <= 1 <= e.high for e in map(estimate, samples)])
    assert covered == pytest.approx(0.95, abs=0.012)  # 3.5 standard errors


def test_over_25_values_it_covers_nearly_as_often() -> None:
    samples = np.random.default_rng(0).normal(1, 1, (200, 25)).tolist()
    covered = np.mean([e.low <= 1 <= e.high for e in map(estimate, samples)])
    assert covered == pytest.approx(0.93, abs=0.055)  # the bootstrap's own; 3 standard errors


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_of_many_values_is_efrons(confidence: float) -> None:
    values = np.random.default_rng(1).lognormal(size=30)
    ours = estimate(values.tolist(), confidence)
    error = values.std(ddof=1) / math.sqrt(30)
    assert (ours.low, ours.high) == pytest.approx(
        bca_interval(values, confidence), abs=0.1 * error
    )  # 9999 resamples' own
    assert ours.mean == pytest.approx(values.mean(), rel=1e-12)
    assert ours.margin == pytest.approx((ours.high - ours.low) / 2)
    assert ours.high - ours.mean > 1.1 * (ours.mean - ours.low)  # it follows the skew


def bca_interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Efron 1987, with other resamples, and more of them."""
    rng, count = np.random.default_rng(7), len(values)
    means = values[rng.integers(0, count, (100_000, count))].mean(axis=1)
    bias = scipy.special.ndtri(np.mean(means < values.mean()))
    influence = values - values.mean()
    acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    z = bias + scipy.special.ndtri([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(means, scipy.special.ndtr(bias + z / (1 - acceleration * z)))
    return low, high


def test_the_same_values_in_any_order_have_the_same_interval() -> None:
    values = np.random.default_rng(2).lognormal(size=40)
    assert estimate(values.tolist()) == estimate(values[::-1].tolist())


def test_a_single_value_has_no_interval() -> None:
    only = estimate([2.5])
    assert (only.mean, only.margin, only.low, only.high, only.count) == (2.5, None, 2.5, 2.5, 1)


@pytest.mark.parametrize("count", [2, 19, 20, 50])
def test_equal_values_have_an_interval_of_no_width(count: int) -> None:
    same = estimate([0.1] * count)
    assert (same.low, same.high, same.count) == (0.1, 0.1, count)
    assert same.margin == 0


def test_values_that_differ_by_rounding_alone_have_one_of_next_to_none() -> None:
    nearly = estimate([1.0] * 24 + [1 + 2**-52])
    assert 1 - 1e-15 <= nearly.low <= nearly.high <= 1 + 1e-15


def test_an_estimate_given_by_its_margin_is_symmetric() -> None:
    assert (Estimate(0.5, 0.25, 3).low, Estimate(0.5, 0.25, 3).high) == (0.25, 0.75)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [1.0, math.inf], [-math.inf] * 25])
def test_no_values_and_values_that_are_not_finite_are_refused(values: list[float]) -> None:
    with pytest.raises(UserError, match=r"^values .*accepted"):
        estimate(values)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95, math.nan])
def test_a_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(UserError, match="confidence is"):
        estimate([1.0, 2.0], confidence)
