"""The mean of values; it is None if a value is unknown."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxopt_bench.statistics import complete_mean


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_the_mean_of_known_values_is_their_sum_over_their_number(values):
    mean = complete_mean(values)
    assert mean is not None
    assert math.isclose(mean, math.fsum(values) / len(values), rel_tol=1e-12, abs_tol=1e-12)


@pytest.mark.parametrize("values", [[], [None], [1.0, None], [None, 2.0, 3.0]])
def test_no_values_and_unknown_values_have_no_mean(values):
    assert complete_mean(values) is None
