"""The contributions of single examples to metrics."""

from __future__ import annotations

import numpy as np
import pytest

from jaxopt_bench.problems import Metric
from jaxopt_bench.problems.regression import regression_metrics


def test_the_contributions_to_a_mean_are_the_values_of_the_examples():
    values = np.array([0.0, 1.0, 1.0, 0.0], np.float32)
    found = Metric(name="accuracy").contributions({"accuracy": values, "loss": values + 1})
    assert found is not None
    assert found.tolist() == [0, 1, 1, 0]


def test_exact_metrics_and_single_examples_have_no_contributions():
    assert Metric(name="gap", resampling="none").contributions({"gap": np.zeros(5)}) is None
    assert Metric(name="loss").contributions({"loss": np.zeros(1)}) is None


@pytest.mark.parametrize("name", ["r2", "rmse"])
def test_contributions_to_a_ratio_have_the_spread_of_a_bootstrap(name):
    random = np.random.default_rng(0)
    target = random.normal(size=500)
    statistics = {
        "loss": (0.5 * random.normal(size=500)) ** 2,
        "target": target,
        "squared_target": target**2,
    }
    metric = next(each for each in regression_metrics(2.0, "kg") if each.name == name)
    found = metric.contributions(statistics)
    assert found is not None
    whole = metric.value({key: values.mean() for key, values in statistics.items()})
    assert found.mean() == pytest.approx(whole, rel=1e-2)
    drawn = []
    for _ in range(2000):
        picked = random.integers(0, 500, 500)
        drawn.append(metric.value({key: values[picked].mean() for key, values in statistics.items()}))
    assert found.std(ddof=1) / np.sqrt(500) == pytest.approx(np.std(drawn), rel=0.1)  # 2,000 draws are exact to 1.6%
