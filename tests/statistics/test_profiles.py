"""Targets and performance profiles, compared with their definitions evaluated point by point."""

from __future__ import annotations

import json
import math
import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics import Profile, algoperf_score, performance_profile, steps_to_target

OPTIMIZERS, WORKLOADS = ("sgd", "adam", "muon"), ("digits", "cifar10", "cifar100")
times = st.none() | st.just(math.inf) | st.integers(1, 30).map(float)
tables = st.fixed_dictionaries({o: st.fixed_dictionaries(dict.fromkeys(WORKLOADS, times)) for o in OPTIMIZERS})


def test_the_first_step_that_reaches_the_target_counts() -> None:
    assert steps_to_target([10, 20, 30, 40], [0.5, 0.8, 0.7, 0.9], 0.8, higher=True) == 20
    assert steps_to_target([30, 10, 20], [0.9, 0.5, 0.8], 0.8, higher=True) == 20
    assert steps_to_target([10, 20, 30], [2.0, 1.0, 0.5], 0.9, higher=False) == 30
    assert steps_to_target([10, 20], [0.5, 0.6], 0.8, higher=True) is None
    assert steps_to_target([], [], 0.8, higher=True) is None


def test_diverged_values_do_not_reach_a_target() -> None:
    assert steps_to_target([1, 2, 3, 4], [None, math.nan, math.inf, 0.9], 0.8, higher=True) == 4
    assert steps_to_target([1, 2], [-math.inf, math.nan], 0.8, higher=False) is None


def test_unequal_numbers_of_steps_and_values_and_a_nan_target_are_refused() -> None:
    with pytest.raises(UserError, match="2 steps, 1 values"):
        steps_to_target([1, 2], [0.5], 0.8, higher=True)
    with pytest.raises(UserError, match="target has the value nan"):
        steps_to_target([1], [0.5], math.nan, higher=True)


@given(tables)
def test_a_profile_matches_the_definition_of_dolan_and_more(table: dict[str, dict[str, float | None]]) -> None:
    profiles = performance_profile(table)
    assert list(profiles) == list(table)
    for optimizer, profile in profiles.items():
        assert profile.taus[0] == 1
        assert list(profile.taus) == sorted(set(profile.taus))
        for tau in (0.5, *profile.taus, *(x + 1e-3 for x in profile.taus), 1.5, 2, 4, 100):
            assert profile.at(tau) == rho(table, optimizer, tau)


def rho(table: dict[str, dict[str, float | None]], optimizer: str, tau: float) -> float:
    """Returns the share of problems whose ratio to the fastest time is at most τ, by a loop over the problems."""
    within = 0
    for workload in WORKLOADS:
        own = table[optimizer][workload]
        all_times = [time for time in (by[workload] for by in table.values()) if time is not None]
        if own is not None and own < math.inf and own / min(all_times) <= tau:
            within += 1
    return within / len(WORKLOADS)


@given(tables, st.floats(1.5, 20))
def test_the_score_is_the_mean_of_the_profile(table: dict[str, dict[str, float | None]], tau_max: float) -> None:
    middles = 1 + (np.arange(1000) + 0.5) / 1000 * (tau_max - 1)
    for profile in performance_profile(table).values():
        by_points = np.mean([profile.at(tau) for tau in middles])
        assert algoperf_score(profile, tau_max) == pytest.approx(by_points, abs=1e-3)  # half a point of error per jump


def test_a_hand_computed_example() -> None:
    table = {"a": {"x": 10.0, "y": 30.0, "z": None}, "b": {"x": 20.0, "y": 10.0, "z": None}}
    profiles = performance_profile(table)
    assert profiles["a"] == Profile((1.0, 3.0), (1 / 3, 2 / 3))
    assert profiles["b"] == Profile((1.0, 2.0), (1 / 3, 2 / 3))
    assert algoperf_score(profiles["a"]) == pytest.approx((2 * 1 / 3 + 1 * 2 / 3) / 3)
    assert algoperf_score(profiles["b"]) == pytest.approx((1 * 1 / 3 + 2 * 2 / 3) / 3)
    assert algoperf_score(profiles["a"], tau_max=2) == pytest.approx(1 / 3)


def test_the_fastest_scores_one_and_one_that_reaches_no_target_scores_zero() -> None:
    profiles = performance_profile(
        {"fast": {"x": 1.0, "y": 2.0}, "slow": {"x": 5.0, "y": 9.0}, "lost": {"x": None, "y": None}}
    )
    assert [algoperf_score(profile) for profile in profiles.values()] == [1, 0, 0]
    assert profiles["slow"].at(5) == 1
    assert profiles["lost"] == Profile((1.0,), (0.0,))


def test_algoperfs_published_scores_are_reproduced_by_its_own_quadrature() -> None:
    """Its scoring/score_submissions.py uses the trapezoid rule on 100 points from 1 to 4; ours is the integral."""
    recorded = json.loads(pathlib.Path(__file__).with_name("algoperf_v06.json").read_text())
    profiles = performance_profile(recorded["seconds"])
    taus = np.linspace(1, 4, 100)
    by_points = {name: np.trapezoid([p.at(tau) for tau in taus], taus) / 3 for name, p in profiles.items()}
    assert {name: round(score, 4) for name, score in by_points.items()} == recorded["published_scores"]
    integrals = {name: round(algoperf_score(profile), 4) for name, profile in profiles.items()}
    assert integrals == {"shampoo": 0.6239, "baseline": 0.4580}


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"a": {}},
        {"a": {"x": 1.0}, "b": {"y": 1.0}},
        {"a": {"x": 1.0}, "b": {"x": 1.0, "y": 1.0}},
        {"a": {"x": 1.0, "y": 1.0}, "b": {"x": 1.0}},
        {"a": {"x": 0.0}},
        {"a": {"x": -1.0}},
        {"a": {"x": math.nan}},
    ],
)
def test_times_that_cannot_be_compared_are_refused(table: dict[str, dict[str, float | None]]) -> None:
    with pytest.raises(UserError, match=r"^times.*Expected"):
        performance_profile(table)


@pytest.mark.parametrize("tau_max", [1.0, 0.5, math.inf, math.nan])
def test_a_score_needs_a_range_of_taus(tau_max: float) -> None:
    with pytest.raises(UserError, match="tau_max is"):
        algoperf_score(Profile((1.0,), (1.0,)), tau_max)
