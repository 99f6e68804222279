"""Scores and ranks over workloads, compared with the definitions of rliable in NumPy, and with simulations."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from jaxopt_bench import UserError
from jaxopt_bench.statistics import aggregate_ranks, aggregate_scores, score_profiles

WORKLOADS = [f"w{i}" for i in range(8)]


def table(scores: np.ndarray) -> dict[str, dict[str, list[float]]]:
    """Returns scores [contenders, workloads, results] by name."""
    return {f"c{i}": {f"w{j}": values.tolist() for j, values in enumerate(own)} for i, own in enumerate(scores)}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 96, 97])
def test_the_interquartile_mean_is_the_trimmed_mean_of_rliable(count):
    values = np.random.default_rng(count).lognormal(size=count)
    found = aggregate_scores({"a": {"w": values.tolist()}}).of["a"].value
    assert found == pytest.approx(scipy.stats.trim_mean(values, 0.25), rel=1e-12)


def test_scores_are_interquartile_means_with_stratified_bootstrap_intervals():
    random = np.random.default_rng(1)
    scores = random.normal(0.8, 0.2, size=(2, 8, 5)) + random.normal(0, 0.3, size=(2, 8, 1))
    found = aggregate_scores(table(scores))
    tail = scipy.stats.norm.cdf(-np.sqrt(5 / 4) * scipy.stats.t.ppf(0.975, 8 * 4))
    for i, own in enumerate(scores):
        aggregate = found.of[f"c{i}"]
        assert aggregate.value == pytest.approx(scipy.stats.trim_mean(own, 0.25, axis=None))
        drawn = []
        for _ in range(4000):  # as in rliable: resample the runs of each workload separately
            again = np.stack([values[random.integers(5, size=5)] for values in own])
            drawn.append(scipy.stats.trim_mean(again, 0.25, axis=None))
        assert aggregate.over_seeds == pytest.approx(np.quantile(drawn, [tail, 1 - tail]), abs=0.012)
        low, high = aggregate.over_workloads
        assert low < aggregate.over_seeds[0] < aggregate.value < aggregate.over_seeds[1] < high


def test_workloads_with_fewer_results_count_less_and_few_results_have_no_intervals():
    scores = {"a": {"x": [0.1, 0.5, 0.6, 0.9], "y": [0.7]}}
    found = aggregate_scores(scores).of["a"]
    assert found.value == pytest.approx(scipy.stats.trim_mean([0.1, 0.5, 0.6, 0.9, 0.7], 0.25))
    assert (found.over_seeds, found.over_workloads) == (None, None)
    assert aggregate_scores(scores).margin is None


def test_mean_ranks_are_those_of_scipy_and_ties_share_a_rank():
    random = np.random.default_rng(2)
    scores = random.integers(0, 4, size=(5, 7, 3)) / 4
    scores[0] = scores[1]
    found = aggregate_ranks(table(scores))
    expected = scipy.stats.rankdata(-scores.mean(axis=2), axis=0).mean(axis=1)
    assert [found.of[f"c{i}"].value for i in range(5)] == pytest.approx(expected)
    for aggregate in found.of.values():
        assert 1 <= aggregate.over_seeds[0] <= aggregate.value <= aggregate.over_seeds[1] <= 5


def test_the_best_on_every_workload_has_rank_1_and_zero_width_intervals():
    scores = np.random.default_rng(3).normal(size=(3, 6, 4)) * 1e-3
    scores[1] += 1
    found = aggregate_ranks(table(scores)).of["c1"]
    assert (found.value, found.over_seeds, found.over_workloads) == (1.0, (1.0, 1.0), (1.0, 1.0))


def holds(intervals, expected) -> int:
    """Returns how many intervals contain their expected value."""
    return sum(low <= value <= high for (low, high), value in zip(intervals, expected, strict=True))


def coverage(studies: int, seeds: int, seed: int) -> dict[str, float]:
    """Returns the coverage of the intervals and of the margin, in simulated studies of 3 contenders on 8 workloads.

    The expected values for intervals over seeds are means over other studies with the same workloads. The expected
    value for an interval over workloads is the interquartile mean over very many workloads. The margin is counted if
    three equal contenders differ by at most the margin.
    """
    random = np.random.default_rng(seed)
    spread, noise = 0.15, 0.1
    center = np.array([0.6, 0.65, 0.7])[:, None]
    levels = center + random.normal(0, spread, size=(3, 8))
    others = [levels[:, :, None] + random.normal(0, noise, size=(3, 8, seeds)) for _ in range(200)]
    expected = np.mean([[scipy.stats.trim_mean(own, 0.25, axis=None) for own in each] for each in others], axis=0)
    ranks = np.mean([scipy.stats.rankdata(-each.mean(axis=2), axis=0).mean(axis=1) for each in others], axis=0)
    held = {"scores": 0, "ranks": 0, "workloads": 0, "margin": 0}
    for _ in range(studies):
        same = levels[:, :, None] + random.normal(0, noise, size=(3, 8, seeds))
        scores, ranked = aggregate_scores(table(same)).of, aggregate_ranks(table(same)).of
        held["scores"] += sum(
            o.over_seeds[0] <= e <= o.over_seeds[1] for o, e in zip(scores.values(), expected, strict=True)
        )
        held["ranks"] += sum(
            o.over_seeds[0] <= e <= o.over_seeds[1] for o, e in zip(ranked.values(), ranks, strict=True)
        )
        fresh = center[:, :, None] + random.normal(0, spread, size=(3, 8, 1)) + random.normal(0, noise, (3, 8, seeds))
        others_too = aggregate_scores(table(fresh)).of.values()
        held["workloads"] += holds([own.over_workloads for own in others_too], center[:, 0])
        equal = aggregate_scores(table(0.6 + random.normal(0, noise, (3, 8, seeds))))
        values = [own.value for own in equal.of.values()]
        held["margin"] += 3 * (max(values) - min(values) <= equal.margin)
    return {name: count / (3 * studies) for name, count in held.items()}


@pytest.mark.parametrize("seeds", [3, 16])
def test_intervals_and_the_margin_have_about_their_nominal_coverage(seeds):
    held = coverage(40, seeds, seed=seeds)
    for name, share in held.items():
        assert 0.88 <= share <= 1, name


def test_profiles_are_the_run_score_distributions_of_rliable_with_their_intervals():
    random = np.random.default_rng(4)
    scores = random.uniform(0, 1, size=(2, 6, 5))
    taus = [0.0, 0.25, 0.5, 0.9]
    for i, profile in enumerate(score_profiles(table(scores), taus).values()):
        each = [[np.mean(values > tau) for values in scores[i]] for tau in taus]
        assert profile.shares == pytest.approx(np.mean(each, axis=1))


def test_missing_results_are_refused():
    with pytest.raises(UserError, match="Expected \\['x'\\], as for all"):
        aggregate_scores({"a": {"x": [1.0]}, "b": {"y": [1.0]}})
    with pytest.raises(UserError, match="scores of a on x is empty"):
        aggregate_ranks({"a": {"x": []}})
    with pytest.raises(UserError, match="Expected at least one contender"):
        aggregate_scores({})
