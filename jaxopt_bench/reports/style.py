"""The look of charts: a colour, a shape and a dash for each optimizer, and Vega themes for light, dark and paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

Theme = Literal["light", "dark", "paper"]

COLOURS: Mapping[str, tuple[str, ...]] = {
    "light": ("#0072b2", "#d55e00", "#009e73", "#a3358f", "#1c1c1c", "#7a1a3a", "#3d8fe0", "#8a6d00"),
    "dark": ("#7fa8ea", "#e08a35", "#40d8c0", "#b060f5", "#fafafa", "#d0452f", "#46749c", "#f5cf3a"),
}
"""The hues in their order, on a light and on a dark background. Each has a contrast of 3 to its background (WCAG 2.2,
1.4.11). The first six are distinct for people with protanopia, deuteranopia or tritanopia; shapes and dashes are
distinct for all optimizers."""

SHAPES: Mapping[str, str] = {
    "circle": "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0",
    "square": "M-4,-4H4V4H-4Z",
    "triangle-up": "M0,-5L5,4H-5Z",
    "diamond": "M0,-5L5,0L0,5L-5,0Z",
    "cross": "M-5,-2H-2V-5H2V-2H5V2H2V5H-2V2H-5Z",
    "triangle-down": "M0,5L5,-4H-5Z",
    "triangle-right": "M5,0L-4,5V-5Z",
    "triangle-left": "M-5,0L4,5V-5Z",
}
"""Vega's names of shapes, and the same shapes as SVG paths for the legend of the page."""

DASHES = ((1, 0), (6, 2), (2, 2), (8, 2, 2, 2), (4, 1), (10, 3), (1, 3), (6, 2, 1, 2, 1, 2))

ALWAYS: Mapping[str, int] = {"sgd": 0, "adam": 1, "nadam": 2, "amsgrad": 3, "padam": 4, "adamw": 5}
"""The hues of optimizers that many studies compare. They are the same in all reports."""

LEGEND_WIDTH = 240  # points, with 5 points for each character of a name
FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"


@dataclasses.dataclass(frozen=True)
class SeriesStyle:
    """The style of an optimizer in every chart.

    Attributes:
      light, dark: its colour on a light and on a dark background.
      shape: the shape of its dots, a name of Vega.
      dash: the dash of its lines: lengths of strokes and gaps, in pixels.
    """

    light: str
    dark: str
    shape: str
    dash: tuple[int, ...]


MOST_HUES = len(COLOURS["light"])
"""The maximum number of optimizers with different colours."""
GREY = SeriesStyle("#b4bac0", "#565d65", "circle", (1, 0))
"""The style of optimizers that are not highlighted, or have no runs."""


def assign_styles(names: Sequence[str], highlighted: Sequence[str] = ()) -> dict[str, SeriesStyle]:
    """Returns a look for each optimizer.

    Args:
      names: the names of the optimizers.
      highlighted: the optimizers with a colour, if there are more than `MOST_HUES` optimizers; the others are grey. If
        none is highlighted, further optimizers reuse colours, with other shapes and dashes.
    """
    if highlighted and len(names) > MOST_HUES:
        coloured = assign_styles([name for name in names if name in highlighted])
        return {name: coloured.get(name, GREY) for name in names}
    count = MOST_HUES
    free = [index for index in range(count) if index not in {ALWAYS[n] for n in names if n in ALWAYS}]
    others = [name for name in names if name not in ALWAYS]
    slots = {name: ALWAYS[name] for name in names if name in ALWAYS}
    for position, name in enumerate(others):
        slots[name] = free[position] if position < len(free) else count + position - len(free)
    return {name: _style(slots[name]) for name in names}


def _style(slot: int) -> SeriesStyle:
    again, hue = divmod(slot, len(COLOURS["light"]))
    shape = [*SHAPES][(slot + again) % len(SHAPES)]
    return SeriesStyle(COLOURS["light"][hue], COLOURS["dark"][hue], shape, DASHES[(slot + 3 * again) % len(DASHES)])


def config(theme: Theme, found: Mapping[str, SeriesStyle]) -> dict[str, Any]:
    """Returns Vega-Lite's configuration for a theme.

    Args:
      theme: "light" and "dark" for the page; "paper" for files, which fit one of two columns of a paper.
      found: the styles of the optimizers, in the order of the charts' colour scales.
    """
    dark = theme == "dark"
    ink, faint, grid = ("#e6e8ea", "#a9b0b7", "#2c3238") if dark else ("#1b1f23", "#57606a", "#e3e6e9")
    small = theme == "paper"
    size = 8 if small else 12
    return {
        "background": "transparent" if not small else "white",
        "font": FONT,
        "range": {"category": [look.dark if dark else look.light for look in found.values()]},
        "axis": {
            "labelColor": faint if not small else ink,
            "titleColor": ink,
            "domainColor": faint,
            "tickColor": faint,
            "gridColor": grid,
            "gridWidth": 0.5 if small else 1,
            "labelFontSize": size - 1,
            "titleFontSize": size,
            "titleFontWeight": "normal",
            "labelOverlap": "greedy",
        },
        "legend": {
            "disable": not small,  # the page has its own legend for all charts
            "orient": "bottom",
            "title": None,
            "columns": max(1, min(4, LEGEND_WIDTH // (30 + 5 * max(map(len, found), default=0)))),
            "labelLimit": LEGEND_WIDTH - 30,
            "offset": 6,
            "labelFontSize": size,
            "labelColor": ink,
            "symbolSize": 40,
            "symbolStrokeWidth": 1.5,
        },
        "title": {"color": ink, "fontSize": size + 1, "fontWeight": "normal", "anchor": "start"},
        "view": {"stroke": None},
        "line": {"strokeWidth": 1.3 if small else 2},
        "point": {"size": 16 if small else 45, "filled": True},
        "rule": {"color": faint},
        "text": {"color": ink, "fontSize": size - 1},
    }
