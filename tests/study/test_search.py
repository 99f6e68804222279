"""Trials are drawn evenly and reproducibly, from Sobol points, at random, or from a grid."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import Axis, Choice, Space
from jaxopt_bench.study.search import draw

UNIT = Axis(0, 1, "linear")


def cube(dimensions: int) -> Space:
    return Space({f"x{i}": UNIT for i in range(dimensions)})


def column(space: Space, count: int, how: str, *purpose: int | str) -> np.ndarray:
    (field,) = space
    return np.array([point[field] for point in draw(space, count, how, *purpose)])


@pytest.mark.parametrize("how", ["sobol", "random"])
@pytest.mark.parametrize("dimensions", range(1, 7))
def test_a_larger_budget_begins_with_the_points_of_a_smaller_one(how, dimensions):
    points = draw(cube(dimensions), 256, how, "study", 3)
    for count in (1, 2, 3, 5, 8, 13, 16, 31, 64, 100, 128, 255):
        assert draw(cube(dimensions), count, how, "study", 3) == points[:count]


@pytest.mark.parametrize("purpose", range(4))
@pytest.mark.parametrize("dimensions", range(1, 7))
def test_of_2_to_the_k_sobol_points_one_lies_in_each_of_2_to_the_k_equal_parts(purpose, dimensions):
    for k in range(9):
        parts = Space({f"x{i}": Choice(tuple(range(2**k))) for i in range(dimensions)})  # numbers of the parts
        for places in np.array([[*point.values()] for point in draw(parts, 2**k, "sobol", purpose)]).T:
            assert sorted(places) == list(range(2**k))


@pytest.mark.parametrize("how", ["sobol", "random", "grid"])
def test_the_order_of_fields_has_no_influence(how):
    fields = {"a.x": UNIT, "a.y": Choice((1, 2, 3)), "optimizer.weight_decay": UNIT, "optimizer.learning_rate": UNIT}
    drawn = draw(Space(fields), 24, how, "order")
    assert draw(Space(dict(reversed(fields.items()))), 24, how, "order") == drawn
    assert len(drawn) == 24


@pytest.mark.parametrize("how", ["sobol", "random"])
def test_other_searched_fields_do_not_change_learning_rates_and_weight_decays(how):
    rate = Space({"optimizer.learning_rate": UNIT})
    both = Space({"optimizer.weight_decay": UNIT, **rate})
    first = draw(both, 8, how, 1)
    for others in (("optimizer.b1",), ("optimizer.b1", "optimizer.momentum", "schedule.warmup")):
        wider = draw(Space({**dict.fromkeys(others, UNIT), **both}), 8, how, 1)
        assert [{field: point[field] for field in both} for point in wider] == first
        assert wider[0].keys() == {*both, *others}
    assert draw(rate, 8, how, 1) == [{field: point[field] for field in rate} for point in first]


def test_blocks_after_the_first_are_stratified_too():
    k = 4
    space = Space({"x": Choice(tuple(range(2**k))), "y": UNIT, "z": UNIT})
    points = draw(space, 8 * 2**k, "sobol", "blocks")
    for start in range(0, len(points), 2**k):
        assert sorted(point["x"] for point in points[start : start + 2**k]) == list(range(2**k))


def test_sobol_points_fill_the_square_more_evenly_than_random_ones():
    def discrepancy(how: str, purpose: int) -> float:
        points = np.array([[*p.values()] for p in draw(cube(2), 64, how, purpose)])
        return scipy.stats.qmc.discrepancy(np.clip(points, 0, 1))

    sobol, random = ([discrepancy(how, purpose) for purpose in range(20)] for how in ("sobol", "random"))
    assert max(sobol) < min(random)


@pytest.mark.parametrize("how", ["sobol", "random"])
def test_different_purposes_draw_different_points_and_equal_ones_equal_points(how):
    purposes = [(0, "cnn", "adam", 0), (1, "cnn", "adam", 0), (0, "mlp", "adam", 0), (0, "cnn", "sgd", 0)]
    purposes += [(0, "cnn", "adam", 1)]
    drawn = [draw(cube(2), 8, how, *purpose) for purpose in purposes]
    assert drawn == [draw(cube(2), 8, how, *purpose) for purpose in purposes]
    firsts = [tuple(points[0].values()) for points in drawn]
    assert len(set(firsts)) == len(purposes)


def test_random_draws_of_two_purposes_are_not_correlated():
    several = np.array([column(cube(1), 400, "random", purpose) for purpose in range(12)])
    between = np.corrcoef(several)[np.triu_indices(12, 1)]
    assert np.abs(between).max() < 4 / math.sqrt(400)  # 66 correlations, each with a standard error of 1/√400
    successive = [np.corrcoef(own[:-1], own[1:])[0, 1] for own in several]
    assert np.abs(successive).max() < 4 / math.sqrt(400)


@pytest.mark.parametrize("how", ["sobol", "random"])
@pytest.mark.parametrize(
    ("axis", "shares"),
    [
        (Axis(-2, 6, "linear"), lambda x: (x + 2) / 8),
        (Axis(1e-4, 1.0, "log"), lambda x: (np.log10(x) + 4) / 4),
        (Axis(1e-3, 0.1, "log_one_minus"), lambda x: (np.log10(1 - x) + 3) / 2),
    ],
)
def test_draws_are_uniform_on_their_scale(how, axis, shares):
    values = column(Space({"x": axis}), 1024, how, "uniform")
    assert scipy.stats.kstest(shares(values), "uniform").pvalue > 0.01
    assert all(value in axis for value in values)


def test_logarithmic_draws_are_not_uniform_on_a_linear_scale():
    values = column(Space({"x": Axis(1e-4, 1.0, "log")}), 1024, "random", "uniform")
    assert scipy.stats.kstest(values, "uniform").pvalue < 1e-6


@pytest.mark.parametrize("how", ["sobol", "random"])
def test_all_choices_are_drawn_equally_often(how):
    space = Space({"kind": Choice(("a", "b", "c")), "x": UNIT})
    drawn = [point["kind"] for point in draw(space, 900, how, "choices")]
    assert scipy.stats.chisquare([drawn.count(kind) for kind in "abc"]).pvalue > 0.01


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 40), st.sampled_from(["sobol", "random"]),
    st.integers(0, 99),
)  # fmt: skip
def test_no_point_is_drawn_twice_and_a_small_space_is_drawn_completely(sizes, count, how, purpose):
    space = Space({f"x{i}": Choice(tuple(range(size))) for i, size in enumerate(sizes)})
    drawn = [tuple(point.values()) for point in draw(space, count, how, purpose)]
    assert len(set(drawn)) == len(drawn) == min(count, math.prod(sizes))
    if count >= math.prod(sizes):
        assert set(drawn) == set(itertools.product(*map(range, sizes)))
    assert [tuple(point.values()) for point in draw(space, 2 * count, how, purpose)][: len(drawn)] == drawn


@pytest.mark.parametrize("how", ["sobol", "random"])
def test_a_range_that_is_one_number_with_six_digits_gives_one_point(how):
    assert draw(Space({"x": Axis(0.1, 0.1 + 1e-9, "log")}), 8, how) == [{"x": 0.1}]


ranges = st.lists(
    st.just(Axis(1.0, 16.0, "log")) | st.integers(1, 4).map(lambda n: Choice(tuple(range(n)))), min_size=1
)


@settings(max_examples=60)
@given(ranges.filter(lambda found: len(found) < 5), st.integers(1, 300))
def test_a_grid_has_every_combination_and_is_the_largest_that_fits(searched, budget):
    space = Space({f"x{i}": each for i, each in enumerate(searched)})
    least = math.prod(len(each.values) if isinstance(each, Choice) else 2 for each in searched)
    if least > budget:
        with pytest.raises(UserError, match=rf"at least {least} points where the budget is {budget} trials. Expected"):
            draw(space, budget, "grid")
        return
    points = draw(space, budget, "grid")
    values = [sorted({point[field] for point in points}) for field in space]
    assert sorted(tuple(point.values()) for point in points) == list(itertools.product(*values))
    assert len(points) <= budget
    sizes = [len(own) for own, each in zip(values, searched, strict=True) if isinstance(each, Axis)]
    for own, each in zip(values, searched, strict=True):
        if isinstance(each, Choice):
            assert own == list(each.values)
        else:
            assert own == pytest.approx(np.geomspace(1, 16, len(own)), rel=5e-6)
            assert (own[0], own[-1]) == (1, 16)
    if sizes:
        assert max(sizes) - min(sizes) <= 1
        choices = len(points) // math.prod(sizes)
        assert choices * (min(sizes) + 1) ** len(sizes) > budget  # no larger grid of equal sides fits
        grown = sorted(sizes)
        assert choices * math.prod([grown[0] + 1, *grown[1:]]) > budget  # nor one with one more value of one range


def test_a_grid_does_not_depend_on_its_purpose():
    assert draw(cube(2), 9, "grid", 1) == draw(cube(2), 9, "grid", 2)
    assert len(draw(cube(2), 9, "grid")) == 9
    assert len(draw(cube(2), 8, "grid")) == 6
