"""The uncertainty of AlgoPerf scores, checked in simulated studies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics import algoperf_score, bootstrap_scores, performance_profile
from jaxopt_bench.statistics.scores import _scores

WORKLOADS = ("digits", "cifar10", "cifar100")
times = st.just(math.inf) | st.integers(1, 30).map(float)
tables = st.dictionaries(st.sampled_from("abcd"), st.tuples(times, times, times), min_size=1)


def by_name(values: np.ndarray) -> dict[str, dict[str, list[float]]]:
    """Returns times [optimizers, workloads, results] by the names of optimizers and workloads."""
    return {str(i): dict(zip(WORKLOADS, own.tolist(), strict=True)) for i, own in enumerate(values)}


@given(tables)
def test_scores_from_arrays_equal_those_of_performance_profiles(table: dict[str, tuple[float, ...]]) -> None:
    profiles = performance_profile({name: dict(zip(WORKLOADS, own, strict=True)) for name, own in table.items()})
    found = _scores(np.array([*table.values()])[..., None])
    assert found[0] == pytest.approx([algoperf_score(profile) for profile in profiles.values()])


def scores_by_hand(medians: np.ndarray) -> np.ndarray:
    """Returns scores [optimizers] for times [optimizers, workloads].

    A score is the mean over workloads of the share of 3,000 values of τ from 1 to 4 that reach the ratio of times.
    """
    taus = 1 + (np.arange(3000) + 0.5) / 1000
    ratios = medians / medians.min(axis=0)
    return (ratios[..., None] <= taus).mean(axis=(1, 2))


@pytest.mark.parametrize(("optimizers", "results", "different"), [(2, 3, True), (6, 3, False), (4, 8, True)])
def test_intervals_and_the_margin_have_about_their_nominal_coverage(
    optimizers: int, results: int, different: bool
) -> None:
    random = np.random.default_rng(2)
    centres = np.zeros((optimizers, 3))
    if different:
        centres[1:] = random.normal(0, 0.5, (optimizers - 1, 3))

    def study() -> np.ndarray:
        return np.exp(centres[..., None] + 0.2 * random.normal(size=(optimizers, 3, results)))

    expected = np.mean([scores_by_hand(np.median(study(), axis=-1)) for _ in range(400)], axis=0)
    held, too_far = [], []
    for _ in range(60):
        found = bootstrap_scores(by_name(study()))
        scores = [*found.estimates.values()]
        held += [s.low <= e <= s.high for s, e in zip(scores, expected, strict=True)]
        means = [score.mean for score in scores]
        too_far.append(max(means) - min(means) > found.margin)
    assert np.mean(held) >= 0.9
    assert different or np.mean(too_far) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 60)


def test_the_width_of_the_interval_matches_the_spread_over_other_seeds() -> None:
    random = np.random.default_rng(0)
    studies = np.exp(0.3 * random.normal(size=(300, 2, 3, 20)))
    spread = np.std([scores_by_hand(np.median(study, axis=-1))[0] for study in studies])
    widths = [(found := bootstrap_scores(by_name(s)).estimates["0"]).high - found.low for s in studies[:40]]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * spread, rel=0.25)


def test_more_noise_widens_intervals_and_no_noise_gives_zero_width() -> None:
    def found(noise: float):
        return bootstrap_scores(by_name(np.array([[[1 - noise, 1, 1 + noise]] * 3, [[2 - noise, 2, 2 + noise]] * 3])))

    calm, noisy = found(0.01), found(0.5)
    assert calm.estimates["1"].mean == noisy.estimates["1"].mean == pytest.approx(2 / 3)
    assert noisy.margin > 10 * calm.margin > 0
    assert noisy.estimates["1"].high - noisy.estimates["1"].low > 10 * calm.margin
    exact = found(0.0)
    assert [exact.margin, *exact.estimates["1"].interval] == pytest.approx([0, 2 / 3, 2 / 3])
    assert found(0.5) == noisy


def test_targets_that_are_not_always_reached_make_a_score_uncertain() -> None:
    half = {"a": dict.fromkeys(WORKLOADS, (1.0, 1.0, math.inf)), "b": dict.fromkeys(WORKLOADS, (1.0, 1.0, 1.0))}
    found = bootstrap_scores(half)
    assert found.estimates["a"].mean == found.estimates["b"].mean == 1
    assert found.estimates["a"].low < 0.75
    assert found.estimates["b"].interval == (1, 1)


def test_two_results_are_too_few_for_an_interval() -> None:
    table = by_name(np.array([[[1.0, 1.1, 1.2]] * 3, [[2.0, 2.1, 2.2]] * 3]))
    assert bootstrap_scores(table).estimates["0"].count == 3
    table["1"]["cifar10"] = [2.0, 2.1]
    found = bootstrap_scores(table)
    assert found.margin is None
    assert {name: (e.interval, e.count) for name, e in found.estimates.items()} == {"0": (None, 2), "1": (None, 2)}


@pytest.mark.parametrize("results", [[], [1.0, 0.0, 2.0], [1.0, math.nan, 2.0]])
def test_invalid_times_are_refused(results: list[float]) -> None:
    with pytest.raises(UserError, match=r"times: '0' has \[.*\] on 'digits'\. Expected at least one time, all > 0"):
        bootstrap_scores({"0": {"digits": results}})
