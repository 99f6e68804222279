"""Views: figures of a model's results on examples, in a few general forms, for all kinds of problems.

A problem returns views, a run stores them in `evaluation.npz`, and reports draw them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Num, UInt8

from jaxopt_bench.errors import UserError, shortened


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A figure, a table or a list on a page.

    Arrays may be given as lists or as JAX arrays. Numbers become float64, or int64 if they are integers.

    Attributes:
      title: its heading.
      text: a description in one or two sentences.

    Raises:
      UserError: if the type or the shape of a field differs from its description.
    """

    title: str
    text: str = ""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.type == "str":
                self._text(field.name, getattr(self, field.name))
            elif field.type == "bool" and not isinstance(getattr(self, field.name), (bool, np.bool_)):
                raise self._error(field.name, shortened(getattr(self, field.name)), "True or False")

    def _error(self, field: str, found: str, expected: str) -> UserError:
        return UserError(f"{type(self).__name__} {shortened(self.title)}: {field} is {found}. Expected {expected}.")

    def _text(self, field: str, value: object) -> str:
        if not isinstance(value, str):
            raise self._error(field, shortened(value), "text")
        if "\0" in value or not _encodable(value):  # not allowed in Unicode arrays and on pages
            raise self._error(field, shortened(value), "text without NUL characters and lone surrogates")
        return str(value)

    def _texts(self, field: str, count: int | None = None) -> None:
        """Checks a sequence of texts and converts it to a tuple."""
        values = getattr(self, field)
        if isinstance(values, str) or not isinstance(values, (Sequence, np.ndarray)):
            raise self._error(field, shortened(values), "a list of texts")
        texts = tuple(self._text(f"{field}[{i}]", value) for i, value in enumerate(values))
        if count is not None and len(texts) != count:
            raise self._error(field, f"a list of length {len(texts)}", f"length {count}")
        object.__setattr__(self, field, texts)

    def _numbers(self, field: str, value: object, axes: str) -> np.ndarray:
        """Returns real numbers as an array with the given axes."""
        array = _array(value)
        if array is None or array.dtype.kind not in "biuf" or array.ndim != len(axes.split()):
            raise self._error(field, _describe(value, array), f"an array of numbers [{', '.join(axes.split())}]")
        return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Matrix(View):
    """Counts by row and column, such as a confusion matrix.

    Attributes:
      values: the counts.
      rows: the names of the rows.
      columns: the names of the columns.
      row_title: the meaning of a row, in the singular ("label").
      column_title: the meaning of a column, in the singular ("prediction").
      confusion: whether the matrix is a confusion matrix. Then rows and columns have the same names, and a page lists
        the pairs that are confused most often.
    """

    values: Num[np.ndarray, "rows columns"]
    rows: Sequence[str]
    columns: Sequence[str]
    row_title: str
    column_title: str
    confusion: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        values = self._numbers("values", self.values, "rows columns")
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise self._error("values", "an array with negative values or values that are not finite", "counts")
        object.__setattr__(self, "values", values)
        for field, count in zip(("rows", "columns"), values.shape, strict=True):
            self._texts(field, count)
        if self.confusion and self.rows != self.columns:
            raise self._error("columns", shortened(self.columns), "the names of the rows, since confusion is True")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Images(View):
    """Pictures with captions.

    Attributes:
      images: grey images (1 channel) or colour images (3 channels).
      captions: a caption for each image.
    """

    images: UInt8[np.ndarray, "images height width channels"]
    captions: Sequence[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        images = _array(self.images)
        if images is None or images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
            expected = "uint8 [images, height, width, channels] with 1 or 3 channels"
            raise self._error("images", _describe(self.images, images), expected)
        if 0 in images.shape[1:]:
            raise self._error("images", _describe(self.images, images), "images with at least one pixel")
        object.__setattr__(self, "images", images)
        self._texts("captions", len(images))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Points(View):
    """A scatter plot, such as predicted against true values. Points that are not finite are not drawn.

    Attributes:
      x: the horizontal coordinates.
      y: the vertical coordinates.
      x_title: the title of the x axis.
      y_title: the title of the y axis.
      diagonal: whether the line x = y is drawn.
    """

    x: Float[np.ndarray, " points"]
    y: Float[np.ndarray, " points"]
    x_title: str
    y_title: str
    diagonal: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("x", "y"):
            values = self._numbers(field, getattr(self, field), "points").astype(np.float64)
            object.__setattr__(self, field, values)
        if len(self.x) != len(self.y):
            raise self._error("y", f"an array of length {len(self.y)}", f"length {len(self.x)}, as x has")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Lines(View):
    """Curves over a common axis, such as an approximate and an exact solution.

    Values that are not finite are not drawn.

    Attributes:
      x: the horizontal coordinates, in ascending order.
      lines: the values of each curve by its name.
      x_title: the title of the x axis.
      y_title: the title of the y axis.
      logarithmic: whether the y axis is logarithmic.
    """

    x: Float[np.ndarray, " points"]
    lines: Mapping[str, Float[np.ndarray, " points"]]
    x_title: str
    y_title: str
    logarithmic: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        x = self._numbers("x", self.x, "points").astype(np.float64)
        if not np.isfinite(x).all() or (np.diff(x) < 0).any():
            raise self._error("x", _describe(self.x, x), "finite numbers in ascending order")
        object.__setattr__(self, "x", x)
        if not isinstance(self.lines, Mapping):
            raise self._error("lines", shortened(self.lines), "a dictionary of curves by name")
        lines = {}
        for name, values in self.lines.items():
            field = f"lines[{shortened(name)}]"
            line = self._numbers(field, values, "points").astype(np.float64)
            if len(line) != len(x):
                raise self._error(field, f"an array of length {len(line)}", f"length {len(x)}, as x has")
            lines[self._text("a name in lines", name)] = line
        object.__setattr__(self, "lines", lines)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Texts(View):
    """Lines of text, such as sequences that a model continued.

    Attributes:
      texts: a text for each example.
    """

    texts: Sequence[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._texts("texts")


KINDS: Mapping[str, type[View]] = {"matrix": Matrix, "images": Images, "points": Points, "lines": Lines, "texts": Texts}
"""The kinds of views by their names in files."""


def check_views(views: object) -> tuple[View, ...]:
    """Returns the views that a problem's function returned, as a tuple.

    Raises:
      UserError: if it is not a sequence of views.
    """
    known = tuple(KINDS.values())
    if not isinstance(views, Sequence) or not all(isinstance(view, known) for view in views):
        raise UserError(f"views is {shortened(views)}. Expected a list of {', '.join(k.__name__ for k in known)}.")
    return tuple(views)


def views_to_arrays(views: Sequence[View]) -> dict[str, np.ndarray]:
    """Returns views as arrays without pickled objects, by names such as "0/title".

    Each view has a number, counted from 0. Its kind is the text `<number>/kind`, and each field is an array
    `<number>/<field>`: texts are arrays of Unicode. The names of `Lines.lines` are `<number>/names`, and their values
    are float64 [lines, points].
    """
    names = {kind: name for name, kind in KINDS.items()}
    arrays: dict[str, np.ndarray] = {}
    for i, view in enumerate(views):
        arrays[f"{i}/kind"] = np.array(names[type(view)])
        for field in dataclasses.fields(view):
            value = getattr(view, field.name)
            if isinstance(view, Lines) and field.name == "lines":
                arrays[f"{i}/names"] = np.array(list(value), np.str_)
                value = np.reshape(list(value.values()), (len(value), len(view.x)))
            arrays[f"{i}/{field.name}"] = np.array(value, np.str_ if isinstance(value, tuple) else None)
    return arrays


def arrays_to_views(arrays: Mapping[str, np.ndarray]) -> tuple[View, ...]:
    """Returns the views from the arrays of `views_to_arrays`.

    Raises:
      UserError: if an array is missing or unknown, or has the wrong type or shape. The message names the array.
    """
    left = dict(arrays)
    views: list[View] = []
    while f"{len(views)}/kind" in left:
        views.append(_view(len(views), left))
    if left:
        raise UserError(f"the array {shortened(next(iter(left)))} is unknown. Expected the fields of views.")
    return tuple(views)


def _view(number: int, left: dict[str, np.ndarray]) -> View:
    """Returns a view, and removes its arrays from `left`."""
    kind = KINDS.get(_only_text(left, f"{number}/kind"))
    if kind is None:
        raise UserError(f"{number}/kind is unknown. Expected {', '.join(KINDS)}.")
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        name = f"{number}/{field.name}"
        match field.type:
            case "str":
                fields[field.name] = _only_text(left, name)
            case "bool":
                fields[field.name] = bool(_take(left, name, "b", 0))
            case "Sequence[str]":
                fields[field.name] = tuple(map(str, _take(left, name, "U", 1)))
            case _:
                fields[field.name] = _take(left, name, "uif")
    if kind is Lines:
        names = tuple(map(str, _take(left, f"{number}/names", "U", 1)))
        if len(set(names)) != len(names) or fields["lines"].shape[:1] != (len(names),):
            described = _describe(fields["lines"], fields["lines"])
            raise UserError(f"{number}/lines is {described}. Expected a row for each name of {shortened(names)}.")
        fields["lines"] = dict(zip(names, fields["lines"], strict=True))
    return kind(**fields)


def _take(left: dict[str, np.ndarray], name: str, kinds: str, axes: int | None = None) -> np.ndarray:
    """Removes an array with one of the given kinds of types from `left`, and returns it."""
    array = left.pop(name, None)
    if array is None:
        raise UserError(f"the array {name!r} is missing.")
    if array.dtype.kind not in kinds or axes not in (None, array.ndim):
        raise UserError(f"{name} is {_describe(array, array)}. Expected another type or shape.")
    return array


def _only_text(left: dict[str, np.ndarray], name: str) -> str:
    return str(_take(left, name, "U", 0))


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _array(value: object) -> np.ndarray | None:
    """Returns a value as an array; None if it has no shape, such as a ragged list."""
    try:
        array = np.asarray(value)
    except Exception:  # an object's own conversion may raise any exception
        return None
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _describe(value: object, array: np.ndarray | None) -> str:
    return shortened(value) if array is None or array.dtype == object else f"{array.dtype}{list(array.shape)}"
