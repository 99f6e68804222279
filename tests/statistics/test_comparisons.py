"""Comparisons of optimizers, checked against SciPy, published numbers, brute force and simulated studies."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics import (
    compare_pairs,
    count_wins,
    holm,
    least_deviation,
)

shares = st.floats(0, 1)
few = st.lists(st.sampled_from([-math.inf, 0.0, 1.0, 1.5, 2.0, math.inf]), min_size=1, max_size=8)
samples = st.lists(st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=5), min_size=2, max_size=5)


@pytest.mark.parametrize("counts", [(2, 2), (3, 5), (8, 8), (30, 4)])
def test_the_test_of_one_pair_is_scipys_welch_test(counts: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(counts))
    first, second = rng.normal(1, 1, counts[0]), rng.normal(0.5, 3, counts[1])
    (ours,), theirs = (
        compare_pairs([first.tolist(), second.tolist()]),
        scipy.stats.ttest_ind(first, second, equal_var=False),
    )
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert ours.adjusted == ours.p_value
    interval = theirs.confidence_interval(0.95)
    assert (ours.estimate.low, ours.estimate.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert ours.estimate.mean == pytest.approx(first.mean() - second.mean())
    assert ours.estimate.count == min(counts)


def test_students_sleep_data_with_welchs_test() -> None:
    """The additional hours of sleep of ten patients with each of two drugs; R gives t = −1.8608 and p = 0.07939."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    (ours,) = compare_pairs([first, second])
    assert ours.estimate.mean == pytest.approx(-1.58)
    assert (ours.estimate.low, ours.estimate.high) == pytest.approx((-3.3654832, 0.2054832), abs=1e-7)
    assert ours.p_value == pytest.approx(0.07939, abs=5e-6)


def test_several_pairs_have_holms_decisions_and_bonferronis_intervals() -> None:
    values = np.random.default_rng(4).normal([[0.0], [2.0], [4.0], [4.1]], 0.8, (4, 5))
    pairs = [*itertools.combinations(range(4), 2)]
    tests = [scipy.stats.ttest_ind(values[i], values[j], equal_var=False) for i, j in pairs]
    ascending = sorted(range(6), key=lambda k: tests[k].pvalue)
    expected, least = [0.0] * 6, 0.0
    for step, k in enumerate(ascending):
        least = max(least, min(1.0, (6 - step) * tests[k].pvalue))
        expected[k] = least
    found = compare_pairs(values.tolist())
    assert [d.adjusted for d in found] == pytest.approx(expected, rel=1e-9)
    assert [d.significant for d in found] == [p <= 0.05 for p in expected]
    assert 0 < sum(d.significant for d in found) < 6
    cut = 0
    for difference, test in zip(found, tests, strict=True):
        low, high = test.confidence_interval(1 - 0.05 / 6)
        if difference.significant and low < 0 < high:  # rejected only by a later step of Holm's method
            low, high = (0.0, high) if low + high > 0 else (low, 0.0)
            cut += 1
        assert (difference.estimate.low, difference.estimate.high) == pytest.approx((low, high), rel=1e-9, abs=1e-12)
    assert cut == 2


@given(samples, st.sampled_from([0.0, 0.3, 2.0]))
@example([[2.0, -2.0, 1.0, -5.0], [10.0, 4.0, 10.0, 9.0], [12.0, 5.0, 12.0, 3.0]], 0.0)  # an interval is cut off at 0
@example([[1.0] * 3, [2.0] * 3, [2.0] * 2], 0.0)
def test_a_difference_is_significant_if_and_only_if_its_interval_excludes_zero(
    values: list[list[float]], least: float
) -> None:
    for difference in compare_pairs(values, least_deviation=least):
        low, high = difference.estimate.low, difference.estimate.high
        if difference.p_value is None:
            assert (difference.estimate.interval, difference.significant) == (None, False)
        elif low < high:
            assert difference.significant == (low >= 0 or high <= 0)
            assert difference.p_value > 0
            assert low <= difference.estimate.mean <= high
        else:  # without a least deviation, the interval of two constant samples is their difference alone
            assert least == 0
            assert low == difference.estimate.mean == high
            assert (difference.significant, difference.p_value) == ((True, 0) if low else (False, 1))


def test_constant_samples_one_step_apart_do_not_differ_significantly() -> None:
    full, one_less = [1.0] * 3, [359 / 360] * 3
    step = least_deviation([*full, *one_less], shares=True)
    assert step == pytest.approx(1 / 720)
    (found,) = compare_pairs([full, one_less], least_deviation=step)
    t = (1 / 360) / (step * math.sqrt(2 / 3))
    assert found.p_value == pytest.approx(2 * scipy.stats.t.sf(t, 4))
    assert not found.significant
    assert found.estimate.high - found.estimate.low > 1 / 360
    (same,) = compare_pairs([full, full], least_deviation=step)
    assert (same.p_value, same.significant) == (1, False)
    six = compare_pairs([full, *[one_less] * 5], least_deviation=step)
    assert not any(difference.significant for difference in six)


def test_a_single_value_is_not_tested_and_does_not_count_as_a_test() -> None:
    found = compare_pairs([[1.0, 1.1, 0.9], [5.0], [3.0, 3.1, 2.9]])
    assert [d.p_value is None for d in found] == [True, False, True]
    assert found[1].adjusted == found[1].p_value  # no correction, since only one pair is tested
    assert compare_pairs([[1.0], [2.0]])[0].estimate.mean == -1


@pytest.mark.parametrize("wrong", [[[1.0], []], [[math.nan], [1.0]], [[1.0], [math.inf]]])
def test_empty_and_non_finite_samples_are_refused(wrong: list[list[float]]) -> None:
    with pytest.raises(UserError, match="Expected"):
        compare_pairs(wrong)


def share_of_studies(values: np.ndarray, least: float = 0.0) -> float:
    """Returns the share of studies [study, optimizer, seed] in which at least one difference is significant."""
    return float(
        np.mean([any(d.significant for d in compare_pairs(s, least_deviation=least)) for s in values.tolist()])
    )


@pytest.mark.parametrize(("optimizers", "studies"), [(2, 3000), (6, 1500), (25, 200)])
@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_equal_optimizers_differ_significantly_in_at_most_5_percent_of_studies(
    optimizers: int, studies: int, seeds: int
) -> None:
    values = np.random.default_rng([optimizers, seeds]).normal(0.9, 0.01, (studies, optimizers, seeds))
    assert share_of_studies(values) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / studies)


@pytest.mark.parametrize("deviations", [(1, 1, 1, 1, 1, 5), (1, 1, 1, 5, 5, 5), (0.1, 0.3, 1, 3, 10, 30)])
@pytest.mark.parametrize("seeds", [3, 8])
def test_unequal_deviations_keep_false_positives_to_5_percent(deviations: tuple[float, ...], seeds: int) -> None:
    normal = np.random.default_rng(seeds).normal(size=(1200, 6, seeds))
    assert share_of_studies(normal * np.array(deviations)[:, None]) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1200)


def errors_of_360(kind: str, rate: float, shape: tuple[int, ...]) -> np.ndarray:
    """Returns numbers of wrong images of 360: any image at random, or a few images that differ between seeds."""
    rng = np.random.default_rng(int(1e4 * rate))
    if kind == "any image":
        return rng.binomial(360, rate, shape)
    return 3 + rng.binomial(int(rate), 0.5, shape)  # 3 images are always wrong


@pytest.mark.parametrize(
    ("kind", "rate"),
    [*(("any image", rate) for rate in (0.05, 0.02, 0.01, 0.005, 0.002)), *(("a few", n) for n in (1, 2, 4, 8))],
)
def test_nearly_equal_accuracies_keep_false_positives_to_5_percent(kind: str, rate: float) -> None:
    """With true accuracies from 95% to 99.8% and 3 seeds, the deviation of the three counts is often zero."""
    accuracies = 1 - errors_of_360(kind, rate, (1200, 6, 3)) / 360
    least = least_deviation(accuracies[:50].ravel().tolist(), shares=True)
    assert least == pytest.approx(1 / 720)
    assert share_of_studies(accuracies, least) <= 0.05


def test_without_a_least_deviation_false_positives_exceed_20_percent() -> None:
    accuracies = 1 - errors_of_360("a few", 1, (400, 6, 3)) / 360
    assert share_of_studies(accuracies) > 0.2


@pytest.mark.parametrize(("seeds", "power"), [(3, 0.55), (5, 0.98), (8, 1.0)])
def test_a_leader_5_deviations_ahead_of_five_optimizers_is_detected(seeds: int, power: float) -> None:
    values = np.random.default_rng(seeds).normal(size=(400, 6, seeds))
    values[:, 0] += 5
    found = [compare_pairs(study)[:5] for study in values.tolist()]
    assert np.mean([any(d.significant for d in pairs) for pairs in found]) >= power
    assert all(d.estimate.mean > 0 for pairs in found for d in pairs if d.significant)


@pytest.mark.parametrize("apart", [0.0, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("seeds", [3, 8])
def test_all_intervals_contain_the_true_differences_simultaneously(apart: float, seeds: int) -> None:
    means = apart * np.arange(6.0)
    values = np.random.default_rng(seeds).normal(means[:, None], 1, (800, 6, seeds))
    true = [means[i] - means[j] for i, j in itertools.combinations(range(6), 2)]
    held = [
        all(d.estimate.low <= t <= d.estimate.high for d, t in zip(compare_pairs(study), true, strict=True))
        for study in values.tolist()
    ]
    assert np.mean(held) >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / 800)


def test_a_hand_computed_example_of_holms_method() -> None:
    """The adjusted values are 0.005 · 4, 0.01 · 3, 0.03 · 2 and 0.04 · 1; the last may not be less than the third."""
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm([]) == []
    assert holm([None]) == [None]


@given(st.lists(shares, max_size=5))
def test_holms_method_is_the_closed_test_with_bonferronis_correction(p_values: list[float]) -> None:
    """The adjusted p-value of a hypothesis is the largest Bonferroni p-value of the intersections that contain it."""
    subsets = [s for size in range(1, len(p_values) + 1) for s in itertools.combinations(range(len(p_values)), size)]
    bonferroni = {s: min(1.0, len(s) * min(p_values[i] for i in s)) for s in subsets}
    closed = [max(p for s, p in bonferroni.items() if i in s) for i in range(len(p_values))]
    assert holm(p_values) == pytest.approx(closed)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan])
def test_p_values_outside_0_to_1_are_refused(wrong: float) -> None:
    with pytest.raises(UserError, match="p_values has the value"):
        holm([0.5, None, wrong])


@given(few, few)
def test_wins_are_counted_over_all_pairs_and_ties_count_half(first: list[float], second: list[float]) -> None:
    pairs = list(itertools.product(first, second))
    assert count_wins(first, second, higher=True) == sum((a > b) + (a == b) / 2 for a, b in pairs)
    assert count_wins(first, second, higher=False) == sum((a < b) + (a == b) / 2 for a, b in pairs)


def test_wins_equal_the_mann_whitney_u_statistic() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 20, 30), rng.integers(3, 23, 17)
    u = scipy.stats.mannwhitneyu(first, second).statistic
    assert count_wins(first.tolist(), second.tolist(), higher=True) == u


@pytest.mark.parametrize(("first", "second"), [([], [1.0]), ([1.0], []), ([math.nan], [1.0]), ([1.0], [math.nan])])
def test_empty_samples_and_nan_have_no_wins(first: list[float], second: list[float]) -> None:
    with pytest.raises(UserError, match="Expected"):
        count_wins(first, second, higher=True)
