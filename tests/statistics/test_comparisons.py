"""Comparisons of two against SciPy, published numbers, and their definitions tried out case by case."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics import estimate, holm, paired_difference, probability_better, seeds_needed
from jaxopt_bench.statistics.comparisons import MOST_PAIRS

shares = st.floats(0, 1)
few = st.lists(st.sampled_from([-math.inf, 0.0, 1.0, 1.5, 2.0, math.inf]), min_size=1, max_size=8)


@pytest.mark.parametrize("count", [2, 5, 19, 30])
def test_the_p_value_of_pairs_is_scipys(count: int) -> None:
    rng = np.random.default_rng(count)
    first, second = rng.normal(1, 1, count), rng.normal(0.5, 1, count)
    ours, theirs = paired_difference(first.tolist(), second.tolist()), scipy.stats.ttest_rel(first, second)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert ours.estimate == estimate((first - second).tolist())
    if count < 20:
        interval = theirs.confidence_interval(0.95)
        assert (ours.estimate.low, ours.estimate.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_students_own_example() -> None:
    """The additional hours of sleep of ten patients under two drugs; R gives t = −4.0621 and p = 0.002833."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    ours = paired_difference(first, second)
    assert ours.estimate.mean == pytest.approx(-1.58)
    assert (ours.estimate.low, ours.estimate.high) == pytest.approx((-2.4598858, -0.7001142), abs=1e-7)
    assert ours.p_value == pytest.approx(0.002833, abs=5e-7)


def test_pairs_that_say_nothing_of_their_variance() -> None:
    assert paired_difference([1.0], [0.5]).p_value is None
    assert paired_difference([1.0, 2.0], [0.5, 1.5]).p_value == 0
    assert paired_difference([1.0, 2.0], [1.0, 2.0]).p_value == 1


@pytest.mark.parametrize(("first", "second"), [([1.0], [1.0, 2.0]), ([], []), ([math.nan], [1.0]), ([1.0], [math.inf])])
def test_pairs_that_are_none_are_refused(first: list[float], second: list[float]) -> None:
    with pytest.raises(UserError, match="accepted"):
        paired_difference(first, second)


def test_holm_as_worked_by_hand() -> None:
    """0.005 · 4, 0.01 · 3, 0.03 · 2, and 0.04 · 1, which may not be less than the one before it."""
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm([]) == []
    assert holm([None]) == [None]


@given(st.lists(shares, max_size=5))
def test_holm_is_the_closed_test_of_bonferronis(p_values: list[float]) -> None:
    """A hypothesis is as likely as the likeliest intersection of hypotheses that it is part of."""
    subsets = [s for size in range(1, len(p_values) + 1) for s in itertools.combinations(range(len(p_values)), size)]
    bonferroni = {s: min(1.0, len(s) * min(p_values[i] for i in s)) for s in subsets}
    closed = [max(p for s, p in bonferroni.items() if i in s) for i in range(len(p_values))]
    assert holm(p_values) == pytest.approx(closed)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan])
def test_a_p_value_is_a_probability(wrong: float) -> None:
    with pytest.raises(UserError, match="p_values has the value"):
        holm([0.5, None, wrong])


@given(few, few)
def test_the_probability_to_be_better_is_the_share_of_pairs(first: list[float], second: list[float]) -> None:
    pairs = list(itertools.product(first, second))
    assert probability_better(first, second, higher=True) == sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs)
    assert probability_better(first, second, higher=False) == sum((a < b) + (a == b) / 2 for a, b in pairs) / len(pairs)


def test_it_is_mann_and_whitneys_u_over_the_number_of_pairs() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 20, 30), rng.integers(3, 23, 17)
    u = scipy.stats.mannwhitneyu(first, second).statistic
    assert probability_better(first.tolist(), second.tolist(), higher=True) == pytest.approx(u / (30 * 17))


@pytest.mark.parametrize(("first", "second"), [([], [1.0]), ([1.0], []), ([math.nan], [1.0]), ([1.0], [math.nan])])
def test_what_has_no_order_is_not_compared(first: list[float], second: list[float]) -> None:
    with pytest.raises(UserError, match="accepted"):
        probability_better(first, second, higher=True)


@pytest.mark.parametrize(
    ("difference", "power", "pairs"), [(0.5, 0.8, 34), (0.2, 0.8, 199), (-0.8, 0.8, 15), (0.5, 0.95, 54)]
)
def test_the_seeds_needed_are_those_of_g_power(difference: float, power: float, pairs: int) -> None:
    assert seeds_needed(difference=difference, deviation=1, power=power) == pairs
    assert seeds_needed(difference=0.01 * difference, deviation=0.01, power=power) == pairs


@pytest.mark.parametrize("difference", [0.03, 0.31, 0.9, 1.7, 4.0, 31.6])
@pytest.mark.parametrize(("power", "confidence"), [(0.8, 0.95), (0.9, 0.99), (0.97, 0.8)])
def test_that_many_seeds_have_the_power_and_one_fewer_has_not(
    difference: float, power: float, confidence: float
) -> None:
    needed = seeds_needed(difference=difference, deviation=1, power=power, confidence=confidence)
    assert needed is not None
    assert power_of_t_test(needed, difference, confidence) >= power
    assert needed == 2 or power_of_t_test(needed - 1, difference, confidence) < power


def power_of_t_test(count: int, difference: float, confidence: float) -> float:
    """The probability that |t| exceeds its critical value: over the sample's deviation, that of a normal mean."""
    critical = scipy.stats.t(count - 1).ppf((1 + confidence) / 2)
    deviation = scipy.stats.chi(count - 1, scale=(count - 1) ** -0.5)
    mean = scipy.stats.norm(difference * math.sqrt(count))

    def exceeds(s: float) -> float:
        return deviation.pdf(s) * (mean.sf(critical * s) + mean.cdf(-critical * s))

    edges = deviation.ppf([1e-9, 0.01, 0.5, 0.99, 1 - 1e-9])
    return sum(scipy.integrate.quad(exceeds, low, high)[0] for low, high in itertools.pairwise(edges))


def test_extremes_of_how_many_seeds_are_needed() -> None:
    assert seeds_needed(difference=0, deviation=1) is None
    assert seeds_needed(difference=1e-5, deviation=1) is None
    assert seeds_needed(difference=0.0085, deviation=1) is None  # 108,637
    assert seeds_needed(difference=1, deviation=0) == 2
    assert seeds_needed(difference=1e300, deviation=1e-300) == 2
    nearly_most = seeds_needed(difference=0.009, deviation=1)
    assert nearly_most is not None
    assert MOST_PAIRS / 2 < nearly_most < MOST_PAIRS


@pytest.mark.parametrize("wrong", [{"difference": math.nan}, {"deviation": -1.0}, {"power": 1.0}, {"confidence": 0.0}])
def test_seeds_for_what_makes_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(wrong))} .*accepted"):
        seeds_needed(**{"difference": 1.0, "deviation": 1.0, **wrong})
