"""The resolution of measured values, compared with shares of a known number of examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics import least_deviation, share_step


@pytest.mark.parametrize("examples", [3, 360, 1797, 10_000, 99_991])
def test_the_step_of_shares_is_one_example(examples: int) -> None:
    counts = np.random.default_rng(0).integers(examples // 2, examples, 30)
    for kind in (np.float32, np.float64):
        assert share_step((counts / examples).astype(kind).tolist()) == pytest.approx(1 / examples)


@given(st.integers(2, 2000), st.lists(st.integers(0, 2000), min_size=1, max_size=20))
def test_the_step_divides_every_value_and_is_never_too_small(examples: int, counts: list[int]) -> None:
    values = [min(count, examples) / examples for count in counts]
    step = share_step(values)
    if step is None:
        assert set(values) <= {0.0, 1.0}
    else:
        assert step >= 1 / examples * (1 - 1e-9)
        assert all(abs(value / step - round(value / step)) < 1e-3 for value in values)


def test_other_values_and_only_zeros_and_ones_have_no_step() -> None:
    assert share_step(np.random.default_rng(0).uniform(size=50).tolist()) is None
    assert share_step([1.0, 1.0]) is None
    assert share_step([0.0, 1.0]) is None


def test_the_least_deviation_is_the_greatest_one_of_values_one_step_apart() -> None:
    """If m of n values are one step higher, the deviation is √(m (n − m)) / n steps, at most half a step."""
    deviations = [np.std([352 / 360] * (20 - m) + [353 / 360] * m) for m in range(21)]
    assert least_deviation([353 / 360, 351 / 360, 1.0], shares=True) == pytest.approx(max(deviations))


def test_the_least_deviation_of_other_values_is_half_the_float32_spacing() -> None:
    spacing = np.spacing(np.float32(2.0))
    assert least_deviation([0.5, -2.0, 1.0], shares=False) == pytest.approx(spacing / 2)
    assert least_deviation([1.0, 1.0], shares=True) == pytest.approx(2**-24)
    assert least_deviation([0.0], shares=False) > 0


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf]])
def test_empty_and_non_finite_values_are_refused(values: list[float]) -> None:
    with pytest.raises(UserError, match="Expected"):
        least_deviation(values, shares=True)
