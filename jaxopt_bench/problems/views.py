"""What a page shows of a model's results on examples, in a few general shapes. Nothing here knows a kind of problem.

A problem returns views; a run stores them in `evaluation.npz`; reports draw them by their shape alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Num, UInt8


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """Something to look at.

    Attributes:
      title: its heading.
      text: what it shows, in one or two sentences.
    """

    title: str
    text: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Matrix(View):
    """Counts by row and column, such as a confusion matrix.

    Attributes:
      values: the counts.
      rows: the rows' names.
      columns: the columns' names.
      row_title: what a row is, in the singular ("label").
      column_title: what a column is ("prediction").
    """

    values: Num[np.ndarray, "rows columns"]
    rows: Sequence[str]
    columns: Sequence[str]
    row_title: str
    column_title: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Images(View):
    """Pictures with captions.

    Attributes:
      images: grey (1 channel) or colour (3 channels).
      captions: one for each.
    """

    images: UInt8[np.ndarray, "images height width channels"]
    captions: Sequence[str]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Points(View):
    """Dots, such as predicted against true values.

    Attributes:
      x: where they are.
      y: where they are.
      x_title: of the axis.
      y_title: of the axis.
      diagonal: whether the line x = y is drawn, on which both agree.
    """

    x: Float[np.ndarray, " points"]
    y: Float[np.ndarray, " points"]
    x_title: str
    y_title: str
    diagonal: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Lines(View):
    """Curves over a common axis, such as a solution beside the exact one.

    Attributes:
      x: where they are measured, in ascending order.
      lines: the values of each curve by its name.
      x_title: of the axis.
      y_title: of the axis.
      logarithmic: whether the y axis is.
    """

    x: Float[np.ndarray, " points"]
    lines: Mapping[str, Float[np.ndarray, " points"]]
    x_title: str
    y_title: str
    logarithmic: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Texts(View):
    """Lines of text, such as sequences with what a model makes of them.

    Attributes:
      texts: one for each example.
    """

    texts: Sequence[str]
