"""Means and intervals against SciPy and against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from jaxopt_bench.results import estimate


@pytest.mark.parametrize("count", [2, 3, 5, 40])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_interval_is_scipys_t_interval(count, confidence):
    values = np.random.default_rng(count).normal(3, 2, count)
    ours = estimate(values.tolist(), confidence)
    low, high = scipy.stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-9)
    assert ours.mean == pytest.approx(values.mean(), rel=1e-12)
    assert ours.count == count


def test_it_covers_the_true_mean_as_often_as_it_says_even_over_three_values():
    samples = np.random.default_rng(0).normal(1, 1, (4000, 3)).tolist()
    covered = np.mean([e.low <= 1 <= e.high for e in map(estimate, samples)])
    assert covered == pytest.approx(0.95, abs=0.012)  # 3.5 standard errors


def test_a_single_value_has_no_interval():
    only = estimate([2.5])
    assert (only.mean, only.margin, only.low, only.high, only.count) == (2.5, None, 2.5, 2.5, 1)
