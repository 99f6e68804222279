"""Search spaces and schedules as users write them (ranges, lists, names), and the error for each mistake."""

from __future__ import annotations

import math
import re

import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import (
    OPTIMIZERS,
    SCHEDULES,
    SGD,
    AdamW,
    Axis,
    Choice,
    Constant,
    Cosine,
    load,
    parse_schedule,
    parse_searched,
    parse_space,
)
from jaxopt_bench.optimizers.factories import optimizer_class

positive = st.floats(-12, 6).map(lambda exponent: float(f"{10**exponent:.6g}"))


def space(values):
    return parse_space(values, AdamW(), Cosine(), "--space adamw")


@given(positive, positive)
def test_a_range_of_positive_numbers_is_logarithmic_from_one_end_to_the_other(one, other):
    low, high = sorted((one, other))
    if low == high:
        with pytest.raises(UserError, match="is empty or infinite"):
            parse_searched(f"{low!r}..{high!r}", "x")
        return
    axis = parse_searched(f"{low!r}..{high!r}", "x")
    assert axis == Axis(low, high, "log")
    assert math.isclose(axis.value(0.5), math.sqrt(low * high), rel_tol=1e-5)


@given(st.floats(-1e6, 0), positive)
def test_a_range_from_zero_or_below_is_linear(low, high):
    axis = parse_searched(f"{low!r}..{high!r}", "x")
    assert axis == Axis(low, high, "linear")
    assert axis.value(0.5) == pytest.approx((low + high) / 2, rel=1e-5, abs=1e-5 * abs(low))


@given(st.integers(1, 9998), st.integers(1, 9998))
def test_a_range_of_a_decay_rate_is_logarithmic_in_1_minus_the_value(one, other):
    low, high = (round(n / 1e4, 4) for n in sorted((one, other)))
    if low == high:
        return
    axis = space({"b2": f"{low}..{high}"})["b2"]
    ends = sorted((axis.value(0), axis.value(1)))
    assert ends == pytest.approx([low, high], abs=1e-9)
    assert 1 - axis.value(0.5) == pytest.approx(math.sqrt((1 - low) * (1 - high)), rel=1e-4)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5, unique=True))
def test_a_list_is_a_choice_of_its_numbers_as_text_and_as_a_list(values):
    text = ",".join(map(repr, values))
    assert parse_searched(text, "x", kind=float) == parse_searched(values, "x", kind=float) == Choice(tuple(values))


@given(st.text(max_size=12), st.sampled_from(["learning_rate", "b2", "accumulate", "decay_mask", "schedule.warmup"]))
def test_any_text_is_a_range_a_choice_or_an_error_that_names_the_field(text, field):
    try:
        found = space({field: text})
    except UserError as error:
        assert field in str(error)  # noqa: PT017
    else:
        assert isinstance(found[field], (Axis, Choice))


def test_a_range_with_a_count_is_a_choice_of_the_values_of_a_sweep():
    assert parse_searched("1e-4..1e-1:4", "x") == Choice((1e-4, 1e-3, 1e-2, 1e-1))


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("learning_rate", "1e-4..1e-1", Axis(1e-4, 1e-1, "log")),
        ("learning-rate", 0.1, Choice((0.1,))),  # fixed
        ("b1", "0.5..0.95", Axis(0.05, 0.5, "log_one_minus")),
        ("b1", "0..0.5", Axis(0, 0.5, "linear")),
        ("ema_decay", "0.9..0.999", Axis(1e-3, 0.1, "log_one_minus")),
        ("ema_decay", "none,0.99", Choice((None, 0.99))),
        ("eps", [1, 1e-8], Choice((1.0, 1e-8))),
        ("eps", Axis(1e-9, 1e-3, "log"), Axis(1e-9, 1e-3, "log")),
        ("accumulate", "1,2,4", Choice((1, 2, 4))),
        ("decay_mask", "all,kernels", Choice(("all", "kernels"))),
        ("schedule.warmup", "0,1,2", Choice((0.0, 1.0, 2.0))),
        ("schedule.warmup", "0.5..2", Axis(0.5, 2, "log")),
    ],
)
def test_examples_of_ranges_and_choices(field, value, expected):
    (found,) = space({field: value}).items()
    assert found == (field.replace("-", "_"), expected)
    if isinstance(expected, Choice):
        assert [type(v) for v in found[1].values] == [type(v) for v in expected.values]


def test_booleans_are_choices_and_ranges_have_the_scales_of_the_table():
    assert parse_space({"nesterov": "true,false"}, SGD, None, "x")["nesterov"] == Choice((True, False))
    optimism = parse_space({"beta": "0.1..10", "alpha": "0.1..0.9"}, OPTIMIZERS["optimistic_adam"], None, "x")
    assert [axis.scale for axis in optimism.values()] == ["log", "log"]  # coefficients, not decay rates
    momo = parse_space({"beta": "0.8..0.99"}, OPTIMIZERS["momo"], None, "x")
    assert momo["beta"] == Axis(0.01, 0.2, "log_one_minus")


def test_the_name_of_an_argument_selects_the_field_that_it_sets(tmp_path):
    path = tmp_path / "user.py"
    path.write_text(
        "import optax\ndef mine(learning_rate: float = 0.1, beta2: float = 0.9):\n    return optax.sgd(0.1)\n"
    )
    cls = load(f"{path}:mine")
    assert parse_space({"beta2": "0.9..0.99"}, cls, None, "x") == {"beta2": Axis(0.01, 0.1, "log_one_minus")}
    clipped = parse_space({"weight_decay_rate": "0.1..1"}, OPTIMIZERS["adafactor"], None, "x")
    assert list(clipped) == ["weight_decay"]
    with pytest.raises(UserError, match="names the field weight_decay twice"):
        parse_space({"weight_decay_rate": "1", "weight_decay": "1"}, OPTIMIZERS["adafactor"], None, "x")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"b3": "1"}, "--space adamw: unknown field 'b3'; did you mean b2 or b1"),
        ({"schedule.wamup": "1"}, "'schedule.wamup'; did you mean schedule.warmup"),
        ({"b2": "2..1"}, "--space adamw.b2: the range '2..1' is empty or infinite. Expected finite"),
        ({"b2": "1..inf"}, "'1..inf' is empty or infinite"),
        ({"b2": "1e-4..1e-1:"}, "--space adamw.b2: '1e-4..1e-1:' is not a range"),
        ({"b2": "0..1:3"}, "--space adamw.b2: the range 0..1:3 is invalid. Expected LOW..HIGH:COUNT with 0 < LOW"),
        ({"b2": "1...2"}, "--space adamw.b2: '1...2' is not a range of numbers. Expected LOW..HIGH"),
        ({"b2": "0.9,"}, "--space adamw.b2: '' is not a value of this field"),
        ({"b2": "high"}, "--space adamw.b2: 'high' is not a value of this field. Expected LOW..HIGH"),
        ({"b2": "0.9,0.9"}, "--space adamw.b2 has the value 0.9 twice"),
        ({"b2": []}, "--space adamw.b2 is an empty list"),
        ({"b2": {"low": 1}}, "--space adamw.b2 is {'low': 1}. Expected LOW..HIGH"),
        ({"accumulate": "1..8"}, "does not take every number in it. Expected a list of integers"),
        ({"accumulate": "1,x"}, "'x' is not a value of this field. Expected integers, such as 1,2,4"),
        (["b2"], r"--space adamw is \['b2'\]. Expected a dictionary"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_with_the_expected_form(values, message):
    with pytest.raises(UserError, match=message if "\\" in message else re.escape(message)):
        space(values)


def test_schedules_are_given_by_name_with_values_or_as_objects():
    assert parse_schedule("constant", "x", SCHEDULES) == Constant()
    assert parse_schedule("cosine:warmup=1,final=0.1", "x", SCHEDULES) == Cosine(warmup=1, final=0.1)
    assert parse_schedule(Cosine(warmup=2), "x", SCHEDULES) == Cosine(warmup=2)


def test_tuples_are_searched_as_lists_of_lists_and_not_on_the_command_line():
    def two(learning_rate: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999)) -> optax.GradientTransformation:
        return optax.adam(learning_rate, *betas)

    cls = optimizer_class("Two", two)
    found = parse_space({"betas": [[0.9, 0.99], [0.9, 0.999]]}, cls, None, "SPACES")
    assert found == {"betas": Choice(((0.9, 0.99), (0.9, 0.999)))}
    with pytest.raises(UserError, match=r"--space two.betas is '0.9,0.99', but each value .* a list of numbers"):
        parse_space({"betas": "0.9,0.99"}, cls, None, "--space two")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("cosin", "--schedule mine: unknown schedule 'cosin'; did you mean cosine"),
        ("cosine:warm=1", "--schedule mine: unknown field of schedule 'warm'; did you mean warmup"),
        ("cosine:warmup", "--schedule mine: 'warmup' is not FIELD=NUMBER"),
        ("cosine:warmup=-1", "--schedule mine: Cosine.warmup is -1.0"),
        (3, "--schedule mine is 3. Expected the name of a schedule"),
    ],
)
def test_a_mistake_in_a_schedule_is_reported(value, message):
    with pytest.raises(UserError, match=re.escape(message)):
        parse_schedule(value, "--schedule mine", SCHEDULES)
