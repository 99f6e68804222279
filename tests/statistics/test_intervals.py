"""Means and confidence intervals, compared with SciPy and with their nominal coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics import estimate


@pytest.mark.parametrize("count", [2, 3, 5, 19, 20, 50])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_interval_is_scipys_t_interval(count: int, confidence: float) -> None:
    values = np.random.default_rng(count).normal(3, 2, count)
    ours = estimate(values.tolist(), confidence)
    low, high = scipy.stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-9)
    assert ours.mean == pytest.approx(values.mean(), rel=1e-12)
    assert ours.count == count


@pytest.mark.parametrize(("count", "studies"), [(3, 4000), (25, 4000)])
def test_the_interval_of_the_mean_has_its_nominal_coverage(count: int, studies: int) -> None:
    samples = np.random.default_rng(0).normal(1, 1, (studies, count)).tolist()
    covered = np.mean([e.low <= 1 <= e.high for e in map(estimate, samples)])
    assert covered == pytest.approx(0.95, abs=0.012)  # 3.5 standard errors


def test_the_same_values_in_any_order_have_the_same_interval() -> None:
    values = np.random.default_rng(2).lognormal(size=40)
    assert estimate(values.tolist()) == estimate(values[::-1].tolist())


def test_a_single_value_has_no_interval() -> None:
    only = estimate([2.5])
    assert (only.mean, only.interval, only.low, only.high, only.count) == (2.5, None, 2.5, 2.5, 1)


@pytest.mark.parametrize("count", [2, 19, 20, 50])
def test_equal_values_have_a_zero_width_interval(count: int) -> None:
    same = estimate([0.1] * count)
    assert (same.low, same.high, same.count) == (0.1, 0.1, count)


@pytest.mark.parametrize("count", [2, 8, 20])
def test_the_least_deviation_applies_if_the_values_deviate_less(count: int) -> None:
    half = scipy.stats.t.ppf(0.975, count - 1) * 0.02 / math.sqrt(count)
    same = estimate([0.5] * count, least_deviation=0.02)
    assert (same.low, same.high) == pytest.approx((0.5 - half, 0.5 + half), rel=1e-9)
    values = [0.5 + 0.1 * i for i in range(count)]  # these deviate more
    assert estimate(values, least_deviation=0.02) == estimate(values)
    assert estimate([1.0, 1.0], least=0.0, greatest=1.0, least_deviation=0.02).high == 1


@pytest.mark.parametrize("count", [2, 3, 5, 8, 19])
def test_the_interval_of_a_loss_is_a_t_interval_of_the_logarithm_of_the_mean(count: int) -> None:
    values = np.random.default_rng(count).lognormal(-1, 0.5, count)
    ours = estimate(values.tolist(), least=0.0)
    error = scipy.stats.sem(values) / values.mean()  # the standard error of the logarithm, by the delta method
    low, high = scipy.stats.t.interval(0.95, count - 1, math.log(values.mean()), error)
    assert (ours.low, ours.high) == pytest.approx((math.exp(low), math.exp(high)), rel=1e-9)
    assert ours.mean == pytest.approx(values.mean(), rel=1e-12)


LOSSES = {
    "normal": lambda rng, shape: rng.normal(1, 0.2, shape),
    "lognormal": lambda rng, shape: rng.lognormal(-0.125, 0.5, shape),
}
"""Distributions of losses with the mean 1. A normal draw is negative with a probability of 3e-7."""


@pytest.mark.parametrize(("name", "least"), [("normal", 0.938), ("lognormal", 0.928)])
@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_intervals_of_losses_are_positive_and_cover_as_often_as_plain_ones(name: str, least: float, count: int) -> None:
    samples = LOSSES[name](np.random.default_rng(count), (4000, count)).clip(0).tolist()
    ours = [estimate(sample, least=0.0) for sample in samples]
    plain = [estimate(sample) for sample in samples]
    covered = np.mean([e.low <= 1 <= e.high for e in ours])
    assert all(e.low > 0 for e in ours)
    assert least - 0.004 * (count == 8) <= covered <= 0.962
    assert covered >= np.mean([e.low <= 1 <= e.high for e in plain]) - 0.004


def test_a_loss_of_zero_has_an_interval() -> None:
    assert estimate([0.0, 0.0, 0.0], least=0.0).interval == (0.0, 0.0)
    one = estimate([0.0, 0.0, 1.0], least=0.0)
    assert 0 < one.low < one.mean < one.high < math.inf


@pytest.mark.parametrize("confidence", [0.95, 0.9999999])
def test_the_interval_of_two_very_different_losses_is_wide_and_positive(confidence: float) -> None:
    wide = estimate([0.0, 5e-324], confidence, least=0.0)
    assert 0 <= wide.low <= wide.high
    wide = estimate([1e-300, 2.0], confidence, least=0.0)
    assert 0 < wide.low < 1 < wide.high < math.inf


@pytest.mark.parametrize("values", [[0.99, 1.0, 0.97], [0.0, 0.01], [0.0, 1.0]])
def test_the_interval_of_an_accuracy_is_the_plain_one_cut_off_at_0_and_1(values: list[float]) -> None:
    plain, ours = estimate(values), estimate(values, least=0.0, greatest=1.0)
    assert plain.low < 0 or plain.high > 1
    assert ours.interval == (max(0, plain.low), min(1, plain.high))


BOUNDS: list[dict[str, float]] = [{}, {"least": 0.0}, {"greatest": 1.0}, {"least": 0.0, "greatest": 1.0}]


@pytest.mark.parametrize("bounds", BOUNDS, ids=lambda bounds: ", ".join(bounds) or "none")
def test_every_interval_holds_the_mean_and_stays_within_its_bounds(bounds: dict[str, float]) -> None:
    rng = np.random.default_rng(3)
    for count in (2, 3, 19, 20, 30):
        for values in rng.beta(0.2, 0.2, (20, count)).tolist():
            found = estimate(values, **bounds)
            assert bounds.get("least", -math.inf) <= found.low <= found.mean <= found.high
            assert found.high <= bounds.get("greatest", math.inf)


@pytest.mark.parametrize("count", [2, 5, 19])
def test_the_interval_below_a_greatest_value_mirrors_that_of_the_distances(count: int) -> None:
    scores = (1 - np.random.default_rng(count).lognormal(-1, 0.5, count)).tolist()  # such as R²; some are below 0
    ours = estimate(scores, greatest=1.0)
    distances = 1 - np.array(scores)
    error = scipy.stats.sem(distances) / distances.mean()
    low, high = scipy.stats.t.interval(0.95, count - 1, math.log(distances.mean()), error)
    assert (ours.low, ours.high) == pytest.approx((1 - math.exp(high), 1 - math.exp(low)), rel=1e-9)
    assert ours.high < 1


@pytest.mark.parametrize("least", [-2.0, 0.5])
def test_bounds_that_are_not_zero_move_the_interval_with_them(least: float) -> None:
    values = np.random.default_rng(4).lognormal(-1, 0.5, 6)
    base, moved = estimate(values.tolist(), least=0.0), estimate((values + least).tolist(), least=least)
    assert (moved.low, moved.high) == pytest.approx((base.low + least, base.high + least), rel=1e-9)


def test_a_bound_that_a_value_violates_is_ignored() -> None:
    values = [-0.1, 0.2, 0.4]
    assert estimate(values, least=0.0) == estimate(values)
    assert estimate(values, least=0.0, greatest=1.0) == estimate(values, greatest=1.0)
    assert estimate(values, greatest=0.3) == estimate(values)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [1.0, math.inf], [-math.inf] * 25])
def test_empty_and_non_finite_values_are_refused(values: list[float]) -> None:
    with pytest.raises(UserError, match=r"^values .*Expected"):
        estimate(values)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95, math.nan])
def test_a_confidence_must_be_between_0_and_1(confidence: float) -> None:
    with pytest.raises(UserError, match="confidence is"):
        estimate([1.0, 2.0], confidence)
