"""The noise of recorded results, compared with calculations by hand."""

from __future__ import annotations

import math

import pytest

from jaxopt_bench.verdict import noise_of
from tests.verdict.builders import confirmed, document, results, study


def test_noise_is_pooled_over_optimizers_without_diverged_runs():
    """Deviations from the means: −1, 0, 1 and −2, 2 points; degrees of freedom 2 and 1."""
    rows = [
        *confirmed("adam", [0.90, 0.91, 0.92]),
        *confirmed("sgd", [0.80, 0.84]),
        *confirmed("padam", [0.70, None, 0.71]),
        *confirmed("nadam", [0.5]),
    ]
    found = noise_of(results(rows), document(study(["adam", "sgd", "padam", "nadam"])), "digits_cnn")
    assert found.deviation == pytest.approx(0.01 * math.sqrt(10 / 3))
    assert (found.results, found.measure.name) == (5, "test_accuracy")


def test_with_several_searches_the_noise_is_that_of_their_means():
    rows = [
        row
        for search, accuracies in enumerate([[0.90, 0.92], [0.93, 0.93], [0.95, 0.95]])
        for row in confirmed("adam", accuracies, repetition=search)
    ]
    found = noise_of(results(rows), document(study(["adam"], repetitions=3, seeds=2)), "digits_cnn")
    assert (found.deviation, found.results) == (pytest.approx(0.02), 3)  # the means are 91%, 93% and 95%


def test_equal_results_have_the_noise_of_rounding_and_a_single_result_has_none():
    made = document(study(["adam", "sgd"]))
    equal = noise_of(results(confirmed("adam", [0.9, 0.9, 0.9])), made, "digits_cnn")
    assert equal.deviation == pytest.approx(0.05)  # half of the step of 0.1
    assert noise_of(results(confirmed("adam", [0.9])), made, "digits_cnn") is None
    assert noise_of(results(confirmed("adam", [0.9, 0.8])), made, "other") is None
