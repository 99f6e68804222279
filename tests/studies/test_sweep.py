"""Ranges and grids."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import SGD, AdamW, MultiStep
from jaxopt_bench.studies import Range, grid, parse_range
from jaxopt_bench.training import Task, check_one_program


@pytest.mark.parametrize(("low", "high", "count"), [(1e-4, 1e-1, 8), (0.3, 0.7, 2), (1e-7, 1e3, 11)])
def test_points_are_numpys_geometric_ones_with_both_ends(low, high, count):
    points = Range(low, high, count).points
    np.testing.assert_allclose(points, np.geomspace(low, high, count), rtol=5e-6)
    assert (points[0], points[-1]) == (low, high)
    assert all(float(f"{point:.6g}") == point for point in points)


def test_a_range_is_read_from_its_word():
    assert parse_range("1e-4..1e-1:8") == Range(1e-4, 1e-1, 8)
    assert parse_range(".5..2:3") == Range(0.5, 2, 3)


@pytest.mark.parametrize("word", ["0.1", "../runs", "a..b", "runs..old", "", "nadam", "-"])
def test_other_words_are_no_ranges(word):
    assert parse_range(word) is None


@pytest.mark.parametrize("word", ["1..2", "1..2:", "1..x:3", "1..2:3.5", "1..2:3:4", "1e..2:3"])
def test_a_range_that_cannot_be_read_is_answered_with_one_that_can(word):
    with pytest.raises(UserError, match=r"is no range; accepted: LOW\.\.HIGH:COUNT, as 1e-4\.\.1e-1:8"):
        parse_range(word)


@pytest.mark.parametrize("word", ["0..1:3", "1..1:3", "2..1:3", "1..2:1", "1..inf:3", "-1..2:3"])
def test_a_range_without_points_is_refused(word):
    with pytest.raises(UserError, match=r"accepted: LOW\.\.HIGH:COUNT with 0 < LOW < HIGH and COUNT >= 2"):
        parse_range(word)


def test_a_grid_is_every_combination_with_every_seed(tiny):
    tiny = dataclasses.replace(tiny, seed=5)
    made = grid(tiny, {"optimizer.learning_rate": Range(1e-3, 1e-1, 3), "schedule.warmup": Range(0.5, 1, 2)}, seeds=2)
    found = [(e.optimizer.learning_rate, e.schedule.warmup, e.seed) for e in made]  # type: ignore[attr-defined]
    assert found == [(rate, warmup, seed) for rate in (1e-3, 1e-2, 1e-1) for warmup in (0.5, 1) for seed in (5, 6)]
    check_one_program([Task(e, (8, 8, 1), 10, 640, (0.3,), (0.35,)) for e in made])
    assert len({e.digest for e in made}) == len(made)


def test_a_grid_that_can_only_be_a_slip_of_the_finger_is_refused(tiny):
    with pytest.raises(UserError, match="make 3,000,000 runs; accepted: at most 10,000"):
        grid(tiny, {"optimizer.learning_rate": Range(1e-4, 1, 1_000_000)}, seeds=3)


def test_without_ranges_a_grid_is_the_seeds(tiny):
    assert grid(tiny, {}, 3) == [dataclasses.replace(tiny, seed=seed) for seed in range(3)]


@pytest.mark.parametrize(
    "name", ["optimizer.decay_mask", "label_smoothing", "optimizer.momentum", "schedule.boundaries"]
)
def test_what_is_compiled_into_the_program_cannot_be_swept(name, tiny):
    experiment = dataclasses.replace(tiny, optimizer=SGD(), schedule=MultiStep())  # without momentum there is no array
    with pytest.raises(UserError, match=r"unknown field to sweep.*optimizer\.learning_rate.*schedule\.factor"):
        grid(experiment, {name: Range(0.1, 0.9, 2)})


def test_a_point_that_its_field_does_not_accept_is_refused_by_name(tiny):
    with pytest.raises(UserError, match=r"AdamW\.b1 is 2; accepted"):
        grid(dataclasses.replace(tiny, optimizer=AdamW()), {"optimizer.b1": Range(0.5, 2, 2)})
