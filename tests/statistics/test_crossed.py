"""Seeds crossed with test examples: the variance components, and the coverage of intervals on new data."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from jaxopt_bench import UserError
from jaxopt_bench.statistics import compare_pairs
from jaxopt_bench.statistics.crossed import CrossedErrors

SMALL = [
    np.array([[1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 1.0]]),
    np.array([[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0]]),
]


def correct(
    random: np.random.Generator, gains: list[float], seeds: int, examples: int, own: float = 0.6
) -> list[np.ndarray]:
    """Returns which examples each seed of each optimizer classifies correctly, in a logistic model with random effects.

    Args:
      random: the random generator.
      gains: an offset of the logit for each optimizer.
      seeds: the number of seeds of each optimizer.
      examples: the number of test examples.
      own: the standard deviation of the part of an example's difficulty that is specific to one optimizer.
    """
    difficulty = random.normal(3.0, 2.5, examples)
    found = []
    for gain in gains:
        logits = gain + difficulty + random.normal(0, own, examples) + random.normal(0, 0.05, (seeds, 1))
        found.append((random.random((seeds, examples)) < 1 / (1 + np.exp(-logits))).astype(np.float32))
    return found


def means(results: list[np.ndarray]) -> list[list[float]]:
    return [[float(row.mean(dtype=np.float64)) for row in array] for array in results]


def test_variance_components_match_their_definitions_written_as_loops():
    found = CrossedErrors.of(SMALL)
    count = 4
    differences = [float(np.mean(SMALL[0][:, e]) - np.mean(SMALL[1][:, e])) for e in range(count)]
    middle = sum(differences) / count
    assert found.examples(0, 1) == pytest.approx(sum((d - middle) ** 2 for d in differences) / (count - 1) / count)
    interaction = 0.0
    for table in SMALL:
        rows, squares = len(table), 0.0
        for s, e in itertools.product(range(rows), range(count)):
            squares += (table[s, e] - table[s].mean() - table[:, e].mean() + table.mean()) ** 2
        interaction += squares / ((rows - 1) * (count - 1)) / rows / count
    assert found.interaction(0, 1) == pytest.approx(min(interaction, found.examples(0, 1)))
    assert found.sampling(0, 1) == pytest.approx(found.examples(0, 1) - found.interaction(0, 1))
    assert found.freedom == count - 1


def test_the_variance_from_examples_is_that_between_samples_of_examples():
    """With many seeds, almost all variance comes from the examples. It is compared with that over 400 samples."""
    random = np.random.default_rng(0)
    drawn = [correct(random, [0.3, 0.0], 40, 200, own=1.0) for _ in range(400)]
    observed = np.var([a.mean() - b.mean() for a, b in drawn], ddof=1)
    estimated = [CrossedErrors.of(each).examples(0, 1) for each in drawn]
    # The variance of 400 samples has a standard error of 7%.
    assert np.mean(estimated) == pytest.approx(observed, rel=0.2)


@pytest.mark.parametrize(
    ("optimizers", "seeds", "examples", "studies"),
    [
        (2, 3, 360, 600),
        (2, 8, 360, 600),
        (2, 20, 360, 600),
        (6, 5, 360, 400),
        (6, 20, 360, 200),
        (25, 8, 360, 150),
        (2, 5, 10_000, 300),
    ],
)
def test_equal_optimizers_rarely_differ_significantly_on_new_data(optimizers, seeds, examples, studies):
    """Equal optimizers classify different examples correctly, so one of them is better on a given test set. With many
    seeds, the test for the same examples detects this difference, which does not hold on new data."""
    random = np.random.default_rng(1)
    new, same = 0, 0
    for _ in range(studies):
        results = correct(random, [0.0] * optimizers, seeds, examples)
        floor = 0.5 / examples
        new += any(d.significant for d in compare_pairs(means(results), least_deviation=floor, examples=results))
        same += any(d.significant for d in compare_pairs(means(results), least_deviation=floor))
    assert new <= 0.05 * studies + 2 * np.sqrt(0.05 * 0.95 * studies)
    if seeds == 20:
        assert same > 2 * 0.05 * studies


@pytest.mark.parametrize(("seeds", "examples"), [(3, 360), (8, 360), (20, 360), (5, 3_000)])
def test_intervals_on_new_data_contain_the_true_difference(seeds, examples):
    random = np.random.default_rng(2)
    population = correct(random, [0.8, 0.0], 4, 1_000_000)
    true = float(population[0].mean() - population[1].mean())
    held = []
    for _ in range(400):
        results = correct(random, [0.8, 0.0], seeds, examples)
        (found,) = compare_pairs(means(results), examples=results)
        held.append(found.estimate.low <= true <= found.estimate.high)
    assert np.mean(held) >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / 400)


def test_an_interval_on_new_data_is_at_least_as_wide_as_that_on_the_same_examples():
    random = np.random.default_rng(3)
    for _ in range(50):
        results = correct(random, [0.0, 0.5, 1.0], 3, 360)
        for found in compare_pairs(means(results), examples=results):
            middle = found.estimate.mean
            assert found.estimate.high - middle >= found.same_examples.high - middle - 1e-12 or found.significant
            assert not found.significant or found.same_examples.low >= 0 or found.same_examples.high <= 0


def test_identical_results_on_all_examples_add_no_sampling_variance():
    results = [np.repeat([[0.5], [0.6], [0.7]], 50, axis=1), np.repeat([[0.1], [0.2], [0.4]], 50, axis=1)]
    (with_examples,) = compare_pairs(means(results), examples=results)
    (without,) = compare_pairs(means(results))
    assert with_examples.estimate.interval == pytest.approx(without.estimate.interval)
    assert with_examples.sampling == pytest.approx(0, abs=1e-15)


def test_different_numbers_of_examples_are_refused():
    with pytest.raises(UserError, match=r"test examples are \[3, 4\]\. Expected the same number"):
        CrossedErrors.of([np.ones((2, 3)), np.ones((2, 4))])
    with pytest.raises(UserError, match=r"test examples are \[1\]"):
        CrossedErrors.of([np.ones((2, 1))] * 2)
