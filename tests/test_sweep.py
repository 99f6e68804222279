"""Ranges and grids of sweeps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import SGD, AdamW, MultiStep, parse_values
from jaxopt_bench.optimizers.parse import logarithmic_points
from jaxopt_bench.sweep import grid
from jaxopt_bench.training import Task, check_one_program


@pytest.mark.parametrize(("low", "high", "count"), [(1e-4, 1e-1, 8), (0.3, 0.7, 2), (1e-7, 1e3, 11)])
def test_the_points_of_a_range_agree_with_numpys_geomspace(low, high, count):
    points = logarithmic_points(low, high, count)
    np.testing.assert_allclose(points, np.geomspace(low, high, count), rtol=5e-6)
    assert (points[0], points[-1]) == (low, high)
    assert all(float(f"{point:.6g}") == point for point in points)


def test_ranges_and_lists_are_parsed():
    assert parse_values("1e-4..1e-1:8") == logarithmic_points(1e-4, 1e-1, 8)
    assert parse_values(".5..2:3") == (0.5, 1, 2)
    assert parse_values("1e-3,1e-4,.5") == (1e-3, 1e-4, 0.5)


@pytest.mark.parametrize("word", ["0.1", "../runs", "a..b", "runs..old", "", "nadam", "-", "a,b"])
def test_other_words_are_neither_ranges_nor_lists(word):
    assert parse_values(word) is None


@pytest.mark.parametrize(
    "word",
    ["1..2", "1..2:", "1..x:3", "1..2:3.5", "1..2:3:4", "1e..2:3", "1e-4...1e-1:3", "1,", "1,,2", "1,x", "1,2..3:2"],
)
def test_the_error_for_an_invalid_range_or_list_shows_both_forms(word):
    with pytest.raises(UserError, match=r"Expected LOW\.\.HIGH:COUNT, such as 1e-4\.\.1e-1:8, or A,B,C"):
        parse_values(word)


@pytest.mark.parametrize("word", ["0..1:3", "1..1:3", "2..1:3", "1..2:1", "1..inf:3", "-1..2:3", "1..2:1000000000"])
def test_a_range_without_points_or_with_too_many_is_refused(word):
    with pytest.raises(UserError, match=r"Expected LOW\.\.HIGH:COUNT with 0 < LOW < HIGH and 2 <= COUNT <= 10,000"):
        parse_values(word)


@pytest.mark.parametrize("word", ["1..1.00001:1000", "0.1,0.1", "0.1,0.1000000001", "1,2,1", "1e-50,1e-60"])
def test_values_that_are_equal_in_float32_are_refused(word, tiny):
    values = parse_values(word)
    assert values is not None
    assert len(set(np.float32(values).tolist())) < len(values)
    with pytest.raises(UserError, match=r"optimizer\.learning_rate: .* are the same number in float32"):
        grid(tiny, {"optimizer.learning_rate": values})


def test_a_grid_has_every_combination_with_every_seed(tiny, digits_dir):
    tiny = dataclasses.replace(tiny, seed=5)
    made = grid(tiny, {"optimizer.learning_rate": (1e-3, 1e-2, 1e-1), "schedule.warmup": (0.5, 1)}, seeds=2)
    found = [(e.optimizer.learning_rate, e.schedule.warmup, e.seed) for e in made]  # type: ignore[attr-defined]
    assert found == [(rate, warmup, seed) for rate in (1e-3, 1e-2, 1e-1) for warmup in (0.5, 1) for seed in (5, 6)]
    problem = tiny.workload.problem.load(digits_dir)
    check_one_program([Task(e, problem) for e in made])
    assert len({e.digest for e in made}) == len(made)


def test_a_grid_of_too_many_runs_is_refused(tiny):
    with pytest.raises(UserError, match=r"make 30,000 runs\. Expected at most 10,000"):
        grid(tiny, {"optimizer.learning_rate": range(1, 10_001)}, seeds=3)


def test_a_grid_without_ranges_has_only_the_seeds(tiny):
    assert grid(tiny, {}, 3) == [dataclasses.replace(tiny, seed=seed) for seed in range(3)]


@pytest.mark.parametrize(
    "name", ["optimizer.decay_mask", "label_smoothing", "optimizer.momentum", "schedule.boundaries"]
)
def test_fields_that_are_compiled_into_the_program_cannot_be_swept(name, tiny):
    experiment = dataclasses.replace(tiny, optimizer=SGD(), schedule=MultiStep())  # momentum None is not an array
    with pytest.raises(UserError, match=r"unknown field to sweep.*optimizer\.learning_rate.*schedule\.factor"):
        grid(experiment, {name: (0.1, 0.9)})


def test_a_point_that_its_field_does_not_accept_is_refused_with_the_field(tiny):
    with pytest.raises(UserError, match=r"AdamW\.b1 is 2. Expected"):
        grid(dataclasses.replace(tiny, optimizer=AdamW()), {"optimizer.b1": (0.5, 2)})
