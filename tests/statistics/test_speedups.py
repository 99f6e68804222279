"""Steps to reach the reference's final result, for curves with known steps and in simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jaxopt_bench import UserError
from jaxopt_bench.statistics import SpeedUp, median_speed_up, speed_up

STEPS = [10, 20, 30, 40]


def test_steps_are_interpolated_between_the_ends_of_epochs():
    curves = np.array([[4.0, 3.0, 1.0, 0.5], [4.0, 3.0, 1.0, 0.5]])
    found = speed_up(STEPS, curves, [1.5, 2.5], higher=False)  # the target is 2.0
    assert found.share == pytest.approx(25 / 40)
    assert found.interval is None  # two runs are too few
    assert found.reaching == 1
    assert speed_up(STEPS, -curves, [-1.5, -2.5], higher=True) == found


def test_a_target_reached_within_the_first_epoch_counts_at_its_end():
    curves = np.array([[0.1, 0.1, 0.1, 0.1]])
    assert speed_up(STEPS, curves, [3.0], higher=False).share == 10 / 40


def test_the_first_crossing_counts_and_an_exact_tie_reaches_the_target():
    assert speed_up(STEPS, np.array([[4.0, 2.0, 3.0, 1.0]]), [2.0], higher=False).share == 20 / 40


def test_a_result_that_is_not_reached_is_censored():
    curves = np.array([[4.0, 3.0, 2.5, 2.2], [4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 2.5, 2.2], [4.0, 3.0, 2.5, 2.2]])
    found = speed_up(STEPS, curves, [1.5] * 4, higher=False)  # the mean curve ends at 1.9
    assert found.share == math.inf
    assert found.reaching == 1 / 4
    assert found.interval[1] == math.inf


def test_the_reference_reaches_its_own_mean_at_the_end():
    curves = np.random.default_rng(0).normal(0, 0.01, size=(8, 4)) + [4.0, 3.0, 2.0, 1.0]
    assert speed_up(STEPS, curves, curves[:, -1].tolist(), higher=False).share == pytest.approx(1)


def exponential(random: np.random.Generator, runs: int, rate: float, steps: np.ndarray) -> np.ndarray:
    """Returns losses that fall from 2.5 towards 0.5, with a deviation of 0.02 between runs and 0.01 between steps."""
    return (
        0.5
        + 2 * np.exp(-rate * steps)
        + random.normal(0, 0.02, size=(runs, 1))
        + random.normal(0, 0.01, size=(runs, len(steps)))
    )


@pytest.mark.parametrize("runs", [4, 16])
def test_the_interval_has_about_its_nominal_coverage_of_the_true_share(runs):
    """The contender's loss falls 1.5 times as fast, so it needs two thirds of the steps."""
    random = np.random.default_rng(runs)
    steps = np.arange(1, 41) / 10
    held, shares = 0, []
    for _ in range(200):
        finals = exponential(random, runs, 0.6, steps)[:, -1].tolist()
        found = speed_up(range(1, 41), exponential(random, runs, 0.9, steps), finals, higher=False)
        shares.append(found.share)
        held += found.interval[0] <= 2 / 3 <= found.interval[1]
    assert np.median(shares) == pytest.approx(2 / 3, abs=0.02)
    assert 0.9 <= held / 200 <= 0.995


def test_interpolated_steps_are_never_early_and_closer_than_ends_of_epochs():
    errors, rounded = [], []
    for rate in np.linspace(0.7, 1.6, 30):
        steps = np.arange(1, 9)  # 8 epochs
        curve = 0.5 + 2 * np.exp(-rate * steps / 2)
        target = 0.5 + 2 * np.exp(-0.6 * 8 / 2)
        true = 0.6 / rate
        share = speed_up(steps.tolist(), curve[None], [target], higher=False).share
        errors.append(share - true)
        rounded.append(np.ceil(true * 8 - 1e-9) / 8 - true)
    assert min(errors) > -1e-9
    assert np.mean(errors) < np.mean(rounded) / 3


def test_the_median_over_workloads_is_finite_if_more_than_half_are_reached():
    shares = {"a": 0.5, "b": math.inf, "c": 0.8, "d": 0.6, "e": math.inf}
    found = median_speed_up({name: SpeedUp(share, None, 1.0) for name, share in shares.items()})
    assert found.value == 0.8
    assert found.over_seeds is None
    assert found.over_workloads == (0.5, math.inf)
    half = median_speed_up({name: SpeedUp(shares[name], None, 1.0) for name in ("a", "b")})
    assert half.value == math.inf


def test_the_median_over_workloads_has_an_interval_over_seeds():
    random = np.random.default_rng(3)
    steps = np.arange(1, 41) / 10
    found = {}
    for workload in ("a", "b", "c"):
        finals = exponential(random, 8, 0.6, steps)[:, -1].tolist()
        found[workload] = speed_up(range(1, 41), exponential(random, 8, 0.9, steps), finals, higher=False)
    median = median_speed_up(found)
    assert median.value == np.median([each.share for each in found.values()])
    assert median.over_seeds[0] < 2 / 3 < median.over_seeds[1]
    widths = [each.interval[1] - each.interval[0] for each in found.values()]
    assert median.over_seeds[1] - median.over_seeds[0] < max(widths)


def test_curves_that_do_not_match_are_refused():
    with pytest.raises(UserError, match="curves has the shape \\(1, 3\\)"):
        speed_up(STEPS, np.ones((1, 3)), [1.0], higher=False)
    with pytest.raises(UserError, match="curves has the value inf"):
        speed_up(STEPS, np.full((1, 4), math.inf), [1.0], higher=False)
    with pytest.raises(UserError, match="speed_ups is empty"):
        median_speed_up({})
