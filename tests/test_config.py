"""Configurations: they accept and refuse values, and are read back unchanged from JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxopt_bench.config import Bounds, Config, ConfigTable, number_field
from jaxopt_bench.errors import UserError


@dataclasses.dataclass(frozen=True)
class Shape(Config):
    """The base class of a table."""


@dataclasses.dataclass(frozen=True)
class Circle(Shape):
    radius: float = number_field(1.0, above=0)


@dataclasses.dataclass(frozen=True)
class Polygon(Shape):
    corners: int = number_field(3, at_least=3)
    sides: tuple[float, ...] = number_field((), at_least=0, at_most=10)
    filled: bool = False


SHAPES: ConfigTable[Shape] = ConfigTable("shape", circle=Circle(), triangle=Polygon(), square=Polygon(corners=4))


@dataclasses.dataclass(frozen=True)
class Pen(Config):
    width: float = 1.0


@dataclasses.dataclass(frozen=True)
class Drawing(Config):
    kinds: ClassVar[Mapping[str, ConfigTable[Any]]] = {"shape": SHAPES}
    title: str
    shape: Shape = Circle()
    pen: Pen = Pen()
    style: Literal["plain", "fancy", 3] = "plain"
    layers: tuple[int, ...] = (1, 2)
    corner: tuple[float, float] = (0.0, 0.0)
    limit: float | None = number_field(None, above=0)


@dataclasses.dataclass(frozen=True)
class Decays(Config):
    one: float | None = number_field(None, at_least=0, below=1)
    several: tuple[float, ...] = number_field((), above=0, below=1)
    most: float = number_field(0.0, at_least=0, at_most=0.1)


TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"], include_characters="\n\t"))
finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=float(np.finfo(np.float32).tiny), max_value=float(np.finfo(np.float32).max))
shapes = st.one_of(
    st.builds(Circle, radius=positive),
    st.builds(Polygon, corners=st.integers(3, 10**6), sides=st.lists(st.floats(0, 10)), filled=st.booleans()),
)
drawings = st.builds(
    Drawing,
    title=TEXTS,
    shape=shapes,
    pen=st.builds(Pen, width=finite),
    style=st.sampled_from(["plain", "fancy", 3]),
    layers=st.lists(st.integers()).map(tuple),
    limit=st.none() | positive,
)


@given(drawings)
def test_json_is_read_back_as_an_equal_configuration_with_an_equal_hash(drawing: Drawing) -> None:
    back = Drawing.from_json(json.loads(json.dumps(drawing.to_json(), allow_nan=False)))
    assert back == drawing
    assert hash(back) == hash(drawing)
    assert json.dumps(back.to_json()) == json.dumps(drawing.to_json())


@given(shapes)
def test_a_named_configuration_is_read_back_through_its_table(shape: Shape) -> None:
    name = SHAPES.name_of(shape)
    assert SHAPES.from_json({"name": name, **shape.to_json()}) == shape


def test_json_is_plain_and_contains_the_names_of_named_configurations() -> None:
    assert Drawing("d", shape=Polygon(corners=4, filled=True)).to_json() == {
        "title": "d",
        "shape": {"name": "square", "corners": 4, "sides": (), "filled": True},
        "pen": {"width": 1.0},
        "style": "plain",
        "layers": (1, 2),
        "corner": (0.0, 0.0),
        "limit": None,
    }


def test_absent_fields_take_the_defaults_of_their_name() -> None:
    drawing = Drawing.from_json({"title": "d", "shape": {"name": "square", "filled": True}})
    assert drawing == Drawing("d", shape=Polygon(corners=4, filled=True))


@given(st.integers(-(2**53), 2**53))
def test_an_integer_given_for_a_float_becomes_one(value: int) -> None:
    pen = Pen(width=value)
    assert type(pen.width) is float
    assert pen == Pen(width=float(value))
    assert json.dumps(pen.to_json()) == json.dumps(Pen(width=float(value)).to_json())


def test_a_list_becomes_a_tuple_and_its_integers_floats() -> None:
    sides = Polygon.from_json({"sides": [1, 2]}).sides
    assert sides == (1.0, 2.0)
    assert [type(side) for side in sides] == [float, float]


@pytest.mark.parametrize(
    ("config", "fields", "message"),
    [
        (Circle, {"radius": "1"}, "Circle.radius is '1'. Expected: a finite number > 0."),
        (Circle, {"radius": None}, "Circle.radius is None. Expected: a finite number > 0."),
        (Circle, {"radius": 0}, "Circle.radius is 0. Expected: a finite number > 0."),
        (Circle, {"radius": math.nan}, "Circle.radius is nan. Expected: a finite number > 0."),
        (Circle, {"radius": math.inf}, "Circle.radius is inf. Expected: a finite number > 0."),
        (Circle, {"radius": True}, "Circle.radius is True. Expected: a finite number > 0."),
        (Pen, {"width": -math.inf}, "Pen.width is -inf. Expected: a finite number."),
        (Polygon, {"corners": 2}, "Polygon.corners is 2. Expected: an integer >= 3."),
        (Polygon, {"corners": True}, "Polygon.corners is True. Expected: an integer >= 3."),
        (Polygon, {"corners": 4.0}, "Polygon.corners is 4.0. Expected: an integer >= 3."),
        (Polygon, {"filled": 1}, "Polygon.filled is 1. Expected: a bool."),
        (Polygon, {"sides": 3.0}, "Polygon.sides is 3.0. Expected: a list of floats."),
        (Drawing, {"title": "d", "corner": [1.0]}, "Drawing.corner is [1.0]. Expected: a list of 2 floats."),
        (Polygon, {"sides": (1, 11)}, "Polygon.sides[1] is 11. Expected: a finite number >= 0 and <= 10."),
        (Polygon, {"sides": (math.nan,)}, "Polygon.sides[0] is nan. Expected: a finite number >= 0 and <= 10."),
        (Drawing, {"title": 1}, "Drawing.title is 1. Expected: a str."),
        (
            Drawing,
            {"title": "\x1b[31m"},
            "Drawing.title is '\\x1b[31m'. Expected: a text without control characters and lone surrogates.",
        ),
        (Drawing, {"title": "d", "style": "odd"}, "Drawing.style is 'odd'. Expected: 'plain', 'fancy', 3."),
        (Drawing, {"title": "d", "style": 3.0}, "Drawing.style is 3.0. Expected: 'plain', 'fancy', 3."),
        (Drawing, {"title": "d", "shape": Pen()}, "Drawing.shape is Pen(width=1.0). Expected: a Shape."),
        (Drawing, {"title": "d", "limit": -1}, "Drawing.limit is -1. Expected: a finite number > 0."),
        (Drawing, {"title": "d", "layers": (True,)}, "Drawing.layers[0] is True. Expected: an integer."),
    ],
)
def test_a_wrong_value_is_refused_with_its_field_and_the_expected_values(
    config: type[Config], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        config(**fields)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("fields", "name", "rounded"),
    [
        ({"one": 1 - 2.0**-26}, "one", 1),
        ({"one": np.float64(0.99999999)}, "one", 1),
        ({"several": (0.5, 1 - 1e-12)}, "several[1]", 1),
        ({"several": (1e-50,)}, "several[0]", 0),
        ({"several": (1e-39,)}, "several[0]", 0),  # XLA flushes float32's subnormal numbers to 0
    ],
)
def test_a_number_that_float32_rounds_to_an_excluded_bound_is_refused(
    fields: dict[str, Any], name: str, rounded: float
) -> None:
    message = f"Decays.{name} is .*, but training computes in float32, where it rounds to {rounded}. Expected a finite"
    with pytest.raises(UserError, match=re.escape(message).replace(r"\.\*", ".*")):
        Decays(**fields)


def test_a_number_that_float32_rounds_to_infinity_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"Circle.radius is 1e\+39, .* float32, where it rounds to inf. Expected a finite"
    ):
        Circle(radius=1e39)


def test_numbers_next_to_an_excluded_bound_and_at_an_included_one_are_accepted() -> None:
    """0.1 is larger in float32, but a value may be equal to an included bound."""
    below_one, smallest = 1 - 2.0**-24, float(np.finfo(np.float32).tiny)
    assert Decays(one=below_one, several=(smallest,), most=0.1) == Decays(below_one, (smallest,), 0.1)
    assert np.float32(below_one) < 1
    assert float(np.float32(0.1)) > 0.1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"title": "d", "stile": "plain"}, "unknown field of Drawing 'stile'; did you mean title or style?"),
        ({"title": "d", "pen": {"wdth": 1}}, "unknown field of pen 'wdth'; did you mean width? Expected: width."),
        ({"title": "d", "pen": 3}, "pen: 3 is not an object with the fields of Pen."),
        ({"title": "d", "pen": {"width": "x"}}, "Pen.width is 'x'. Expected: a finite number."),
        ({"title": "d", "shape": {"radius": 1}}, "shape: {'radius': 1} is not an object with a 'name'."),
        ({"title": "d", "shape": "circle"}, "shape: 'circle' is not an object with a 'name'."),
        ({"title": "d", "shape": {"name": "sqare"}}, "unknown shape 'sqare'; did you mean square?"),
        ({"title": "d", "shape": {"name": "circle", "corners": 3}}, "unknown field of shape 'corners'"),
        ({"title": "d", "kinds": {}}, "unknown field of Drawing 'kinds'"),
        ({}, "Drawing: the field 'title' is missing."),
        (["title"], "Drawing: ['title'] is not an object with the fields of Drawing."),
    ],
)
def test_wrong_json_is_refused_with_the_path_to_it(values: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        Drawing.from_json(values)
    assert str(caught.value).startswith(message)


def test_the_path_in_an_error_starts_with_the_callers_prefix() -> None:
    with pytest.raises(UserError, match=r"unknown field of study\.base\.pen 'x'"):
        Drawing.from_json({"title": "d", "pen": {"x": 1}}, "study.base")


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Circle().radius = 2.0  # type: ignore[misc]


def test_a_replaced_field_is_checked_too() -> None:
    assert dataclasses.replace(Circle(), radius=2).radius == 2.0
    with pytest.raises(UserError, match=r"Circle\.radius is -1"):
        dataclasses.replace(Circle(), radius=-1)


@given(finite, st.tuples(*[st.none() | finite] * 4))
def test_bounds_contain_the_numbers_that_their_text_describes(value: float, sides: tuple[float | None, ...]) -> None:
    bounds = Bounds(*sides)
    signs = {">": float.__gt__, ">=": float.__ge__, "<": float.__lt__, "<=": float.__le__}
    named = zip(signs.values(), (bounds.above, bounds.at_least, bounds.below, bounds.at_most), strict=True)
    assert (value in bounds) == all(compare(value, side) for compare, side in named if side is not None)
    assert [part.split()[0] for part in str(bounds).split(" and ") if part] == [
        sign for sign, side in zip(signs, sides, strict=True) if side is not None
    ]


def test_nan_is_in_no_bounds() -> None:
    assert math.nan not in Bounds(above=0)
    assert math.nan not in Bounds(at_most=0)


def test_a_table_names_a_configuration_after_the_nearest_default_of_its_class() -> None:
    assert SHAPES.name_of(Polygon(corners=4, filled=True)) == "square"
    assert SHAPES.name_of(Polygon(corners=3, filled=True)) == "triangle"
    assert SHAPES.name_of(Circle(radius=9)) == "circle"
    with pytest.raises(UserError, match=r"the class of shape Shape\(\) is not in the table: circle, square, triangle"):
        SHAPES.name_of(Shape())


def test_a_table_refuses_an_unknown_name_with_the_nearest() -> None:
    assert SHAPES["circle"] == Circle()
    with pytest.raises(UserError, match="unknown shape 'circel'; did you mean circle"):
        SHAPES["circel"]
