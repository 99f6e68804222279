"""Views refuse invalid fields with a message that names them, and are read back as they were written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.problems.views import (
    Images,
    Lines,
    Matrix,
    Points,
    Texts,
    View,
    arrays_to_views,
    check_views,
    views_to_arrays,
)


def matrix(**fields: Any) -> Matrix:
    given = {"values": [[1, 2, 3], [4, 5, 6]], "rows": ["a", "b"], "columns": ["x", "y", "z"]}
    return Matrix(**{"title": "m", "row_title": "row", "column_title": "column", **given, **fields})


def images(**fields: Any) -> Images:
    return Images(**{"title": "i", "images": np.zeros((2, 3, 4, 1), np.uint8), "captions": ["one", "zwei ü"], **fields})


def points(**fields: Any) -> Points:
    return Points(**{"title": "p", "x": [1.0, 2.0], "y": [3.0, np.nan], "x_title": "x", "y_title": "y", **fields})


def lines(**fields: Any) -> Lines:
    given = {"x": [0, 1, 2], "lines": {"u": [1.0, 2.0, 3.0], "exact": [1, 2, 4]}, "x_title": "t", "y_title": "u(t)"}
    return Lines(**{"title": "l", **given, **fields})


def texts(**fields: Any) -> Texts:
    return Texts(**{"title": "t", "texts": ["the cat", "  line\nbreak", ""], **fields})


EVERY: tuple[View, ...] = (matrix(), images(), points(diagonal=True), lines(logarithmic=True), texts(text="Some text."))


def assert_same(one: View, other: View) -> None:
    assert type(one) is type(other)
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, Mapping):
            assert list(a) == list(b)
            a, b = list(a.values()), list(b.values())
        np.testing.assert_array_equal(a, b)
        assert getattr(a, "dtype", type(a)) == getattr(b, "dtype", type(b))


@pytest.mark.parametrize("several", [EVERY, EVERY[::-1], (), (lines(lines={}), matrix(values=np.zeros((0, 0)), rows=[],
    columns=[]), texts(texts=[]), points(x=[], y=[]))])  # fmt: skip
def test_views_are_read_back_as_they_were(several, tmp_path):
    np.savez(tmp_path / "views.npz", **views_to_arrays(several))
    with np.load(tmp_path / "views.npz", allow_pickle=False) as found:
        again = arrays_to_views(dict(found))
    assert len(again) == len(several)
    for one, other in zip(several, again, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize(
    "make", [jnp.asarray, lambda values: values.tolist(), lambda values: jnp.asarray(values, jnp.bfloat16)]
)
def test_lists_and_arrays_of_any_library_are_accepted_as_numbers(make: Callable[[np.ndarray], Any]):
    view = points(x=make(np.array([1.0, 2.0])), y=make(np.array([0.5, 4.0])))
    assert (view.x.dtype, view.x.tolist(), view.y.tolist()) == (np.float64, [1.0, 2.0], [0.5, 4.0])
    assert matrix(values=np.ones((2, 3), np.float32)).values.dtype == np.float64
    assert matrix(values=np.ones((2, 3), np.int32)).values.dtype == np.int64


@pytest.mark.parametrize(
    ("make", "fields", "message"),
    [
        (matrix, {"values": [1, 2]}, r"Matrix 'm': values is int64\[2\]. Expected .* \[rows, columns\]"),
        (matrix, {"values": [[1], [2, 3]]}, r"values is \[\[1\], \[2, 3\]\]. Expected"),
        (matrix, {"values": [[-1, 2, 3], [4, 5, 6]]}, "negative values"),
        (matrix, {"values": [[np.nan, 2, 3], [4, 5, 6]]}, "not finite. Expected counts"),
        (matrix, {"rows": ["a"]}, "rows is a list of length 1. Expected length 2"),
        (matrix, {"columns": "xyz"}, "columns is 'xyz'. Expected a list of texts"),
        (matrix, {"columns": [1, 2, 3]}, r"columns\[0\] is 1. Expected text"),
        (matrix, {"confusion": True}, r"columns is \('x', 'y', 'z'\). Expected the names of the rows"),
        (matrix, {"row_title": None}, "row_title is None. Expected text"),
        (images, {"images": np.zeros((2, 3, 4, 2), np.uint8)}, "Expected uint8 .* 1 or 3 channels"),
        (images, {"images": np.zeros((2, 3, 4, 1))}, r"images is float64\[2, 3, 4, 1\]. Expected uint8"),
        (images, {"images": np.zeros((2, 3, 4), np.uint8)}, "Expected uint8"),
        (images, {"images": np.zeros((2, 0, 4, 1), np.uint8)}, "at least one pixel"),
        (images, {"captions": ["one"]}, "captions is a list of length 1. Expected length 2"),
        (points, {"y": [1.0]}, "Points 'p': y is an array of length 1. Expected length 2, as x has"),
        (points, {"x": [[1.0]]}, r"x is float64\[1, 1\]. Expected an array of numbers \[points\]"),
        (points, {"x": [1j, 2]}, "x is complex128"),
        (points, {"x": object()}, "x is <object"),
        (points, {"diagonal": "yes"}, "diagonal is 'yes'. Expected True or False"),
        (lines, {"x": [0, 2, 1]}, "Expected finite numbers in ascending order"),
        (lines, {"x": [0, 1, np.inf]}, "Expected finite numbers in ascending order"),
        (lines, {"lines": {"u": [1.0]}}, r"lines\['u'\] is an array of length 1. Expected length 3"),
        (lines, {"lines": [[1, 2, 3]]}, "Expected a dictionary of curves by name"),
        (lines, {"lines": {1: [1, 2, 3]}}, "a name in lines is 1. Expected text"),
        (texts, {"texts": "abc"}, "texts is 'abc'. Expected a list of texts"),
        (texts, {"texts": ["a\0"]}, r"texts\[0\] is 'a\\x00'. Expected text without NUL"),
        (texts, {"title": "\ud800"}, "title is .* lone surrogates"),
    ],
)  # fmt: skip
def test_an_invalid_view_is_refused_with_the_reason(make: Callable[..., View], fields: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        make(**fields)


@pytest.mark.parametrize("views", [None, matrix(), [matrix(), "text"], "views"])
def test_only_a_list_of_views_is_accepted(views: Any):
    with pytest.raises(UserError, match="Expected a list of Matrix, Images, Points, Lines, Texts"):
        check_views(views)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("0/kind", np.array("table"), "0/kind is unknown. Expected matrix, images"),
        ("0/kind", np.array(["matrix"]), r"0/kind is <U6\[1\]"),
        ("0/kind", None, "the array '0/title' is unknown"),
        ("0/values", None, "the array '0/values' is missing"),
        ("0/values", np.array([["a"]]), r"0/values is <U1\[1, 1\]"),
        ("0/rows", np.array(["a"]), "rows is a list of length 1. Expected length 2"),
        ("1/images", np.zeros((2, 3, 4, 1), np.int8), "images is int8"),
        ("2/diagonal", np.array(1), "2/diagonal is int64"),
        ("3/names", np.array(["u", "u"]), "a row for each name of"),
        ("3/names", np.array(["u"]), r"3/lines is float64\[2, 3\]. Expected a row for each name"),
        ("3/lines", np.zeros((2, 2)), "length 2. Expected length 3"),
        ("4/texts", np.array("text"), "4/texts is"),
        ("4/more", np.array("text"), "the array '4/more' is unknown"),
        ("5/title", np.array("text"), "the array '5/title' is unknown"),
    ],
)
def test_damaged_arrays_are_refused_with_their_name(name: str, array: np.ndarray | None, message: str):
    arrays = {**views_to_arrays(EVERY), name: array}
    with pytest.raises(UserError, match=message):
        arrays_to_views({key: value for key, value in arrays.items() if value is not None})
