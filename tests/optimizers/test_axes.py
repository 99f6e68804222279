"""Ranges and choices: share and value are inverse functions, values stay in the range, and JSON restores both."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import Axis, Choice, Space
from jaxopt_bench.optimizers.axes import SHARED_AXES

SIX_DIGITS = 5e-6  # the largest relative error of rounding to six significant digits


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    """Draws a range whose ends differ in six significant digits."""
    scale = draw(st.sampled_from(["linear", "log", "log_one_minus"]))
    if scale == "linear":
        low, width = draw(st.floats(-1e3, 1e3)), draw(st.floats(1e-2, 1e3))
        return Axis(low, low + width, "linear")
    low, factor = 10 ** draw(st.floats(-10, -0.5)), draw(st.floats(1.1, 1e6))
    high = min(low * factor, 1.0) if scale == "log_one_minus" else low * factor
    assume(high > 1.01 * low)
    return Axis(low, high, scale)


shares = st.floats(0, 1)


def drawn(axis: Axis, value: float) -> float:
    return 1 - value if axis.scale == "log_one_minus" else value


@given(axes(), shares)
def test_the_share_of_a_value_is_the_share_that_gave_the_value(axis, share):
    value = axis.value(share)
    changed = SIX_DIGITS * abs(drawn(axis, value)) + 1e-15  # rounding of the drawn number, and of 1 minus it
    if axis.scale == "linear":
        tolerance = changed / (axis.high - axis.low)
    else:
        tolerance = changed / drawn(axis, value) / math.log(axis.high / axis.low)
    assert axis.share(value) == pytest.approx(share, abs=1.01 * tolerance + 1e-9)
    assert axis.value(axis.share(value)) == pytest.approx(value, rel=2 * SIX_DIGITS, abs=1e-14)


@given(axes(), shares)
def test_every_value_is_in_its_range_and_has_six_digits(axis, share):
    value = axis.value(share)
    assert value in axis
    if axis.scale != "log_one_minus":
        assert value == float(f"{value:.6g}")


@given(axes(), shares, shares)
def test_values_are_monotone_in_the_share(axis, one, other):
    assume(one <= other)
    assert drawn(axis, axis.value(one)) <= drawn(axis, axis.value(other)) + 1e-15


@given(axes())
def test_shares_0_and_1_give_the_ends_of_the_range(axis):
    for share, end in ((0, axis.low), (1, axis.high)):
        assert drawn(axis, axis.value(share)) == pytest.approx(end, rel=1.01 * SIX_DIGITS, abs=1e-14)


def test_the_share_one_half_gives_the_mean_on_each_scale():
    assert Axis(1, 4, "linear").value(0.5) == 2.5
    assert Axis(1, 4, "log").value(0.5) == 2
    assert Axis(0.01, 0.04, "log_one_minus").value(0.5) == 0.98


@pytest.mark.parametrize(
    ("axis", "inside", "outside"),
    [
        (Axis(1e-3, 1, "log"), (1e-3, 0.5, 1), (0.9e-3, 1.01, 0, -1)),
        (Axis(-1, 0, "linear"), (-1, -0.5, 0), (-1.01, 0.01)),
        (Axis(0, 1, "linear"), (0, 1), (-1e-3, 1.1)),
        (Axis(0.1, 0.5, "log_one_minus"), (0.9, 0.5, 0.7), (0.91, 0.49, 1)),
    ],
)
def test_a_range_contains_its_ends_and_the_values_between_them(axis, inside, outside):
    assert all(value in axis for value in inside)
    assert not any(value in axis for value in outside)


@pytest.mark.parametrize(
    ("low", "high", "scale"),
    [(1, 1, "linear"), (2, 1, "linear"), (0, 1, "log"), (-1, 1, "log"), (0, 1, "log_one_minus"), (2, 1, "log")],
)
def test_an_empty_range_is_refused(low, high, scale):
    with pytest.raises(
        UserError, match=rf"the range .*{low:g} to {high:g}, .* is invalid. Expected low < high and, if the"
    ):
        Axis(low, high, scale)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"low": math.nan}, "Axis.low is nan. Expected: a finite number"),
        ({"high": math.inf}, "Axis.high is inf. Expected: a finite number"),
        ({"low": "small"}, "Axis.low is 'small'. Expected: a finite number"),
        ({"scale": "lin"}, "Axis.scale is 'lin'. Expected: 'linear', 'log', 'log_one_minus'"),
        ({"source": None}, "Axis.source is None. Expected: a str"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], message):
    with pytest.raises(UserError, match=message):
        Axis(**{"low": 0.1, "high": 1.0, "scale": "log"} | fields)


@given(st.lists(st.integers(), min_size=1, max_size=9), shares)
def test_a_choice_gives_each_of_its_values_an_equal_part_of_the_shares(values, share):
    choice = Choice(tuple(values))
    place = min(math.floor(share * len(values)), len(values) - 1)
    assert choice.value(share) == values[place]
    assert choice.value(share) in choice
    assert (choice.value(0), choice.value(1)) == (values[0], values[-1])


def test_an_empty_choice_is_refused():
    with pytest.raises(UserError, match=r"Choice.values is empty. Expected: at least one value"):
        Choice(())


def test_a_choice_converts_lists_to_tuples():
    choice = Choice(([1.0, 2.0], [3.0]))  # type: ignore[arg-type]
    assert choice == Choice(((1.0, 2.0), (3.0,)))
    assert hash(choice) == hash(Choice(((1.0, 2.0), (3.0,))))


scalars = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = scalars | st.lists(scalars, max_size=3).map(tuple)
choices = st.builds(Choice, st.lists(values, min_size=1, max_size=4).map(tuple))


@given(st.dictionaries(st.text(), axes() | choices, max_size=4))
def test_json_restores_a_space_in_its_order(ranges):
    space = Space(ranges)
    again = Space.from_json(json.loads(json.dumps(space.to_json())))
    assert again == space
    assert list(again) == list(ranges)
    assert hash(again) == hash(space)
    assert dict(again) == ranges


def test_equal_spaces_have_equal_hashes():
    one, other = Axis(1, 2, "log"), Choice((1, 2))
    assert Space({"a": one, "b": other}) == Space({"b": other, "a": one})
    assert hash(Space({"a": one, "b": other})) == hash(Space({"b": other, "a": one}))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (3, "space: 3 is not an object of ranges by field"),
        ({"a": 3}, "space.a: 3 is not an object with the fields of Axis"),
        ({"a": {"low": 1, "high": 2}}, "space.a: the field 'scale' is missing"),
        ({"a": {"low": 1, "high": 2, "scale": "log", "mean": 1}}, "unknown field of space.a 'mean'"),
        ({"a": {"values": []}}, "Choice.values is empty"),
        ({"a": {"values": 3}}, "Choice.values is 3. Expected: a list"),
        ({"a": {"values": [1], "low": 1}}, "unknown field of space.a 'low'"),
    ],
)
def test_a_damaged_space_is_refused_with_the_field(space, message):
    with pytest.raises(UserError, match=message):
        Space.from_json(space)


@pytest.mark.parametrize("axis", SHARED_AXES.values(), ids=SHARED_AXES)
def test_json_restores_shared_ranges_and_they_contain_their_ends(axis):
    assert Axis.from_json(json.loads(json.dumps(axis.to_json()))) == axis
    assert axis.value(0) in axis
    assert axis.value(1) in axis
