"""Pictures of trajectories. It needs the extra `report`."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import contourpy
import numpy as np
import vl_convert
from jaxtyping import Float

from jaxopt_bench.reports.figure import VERSION
from jaxopt_bench.reports.style import FONT, assign_styles
from jaxopt_bench.reports.trajectories import (
    SURFACES,
    Surface,
    Trajectory,
    bottom_of,
    check_picture,
    describe_equal_paths,
    heights_of,
    values_on,
)

PANEL = 300  # pixels, before scaling
LEVELS = 18  # contours of a surface
POINTS = 240  # along each axis of the grid for contours
WINDOW = 11  # the number of steps in the average of an effective step size


class _Data:
    """The data of a chart. They skip Altair's checks, which take seconds for thousands of rows.

    Attributes:
      values: the rows of each data set, by its name.
    """

    def __init__(self) -> None:
        self.values: dict[str, Sequence[Mapping[str, Any]]] = {}

    def add(self, rows: Sequence[Mapping[str, Any]]) -> alt.NamedData:
        """Adds rows, and returns their name for a chart."""
        name = f"data{len(self.values)}"
        self.values[name] = rows
        return alt.NamedData(name)


def draw_trajectories(trajectories: Sequence[Trajectory], path: pathlib.Path) -> None:
    """Draws trajectories over their surfaces' contours, and below them the heights and the effective step sizes.

    Args:
      trajectories: the trajectories on one or several surfaces.
      path: a PNG or SVG file.

    Raises:
      UserError: see `check_picture`.
    """
    check_picture(path)
    data = _Data()
    surfaces = list(dict.fromkeys(t.surface for t in trajectories))
    names = list(dict.fromkeys(t.optimizer for t in trajectories))
    found = assign_styles(names)
    scale = alt.Scale(domain=names, range=[found[name].light for name in names])
    dashes = alt.Scale(domain=names, range=[list(found[name].dash) for name in names])
    look = {
        "color": alt.Color("optimizer:N", scale=scale, legend=alt.Legend(title=None)),
        "strokeDash": alt.StrokeDash("optimizer:N", scale=dashes, legend=alt.Legend(title=None)),
    }
    of_surface = {name: [t for t in trajectories if t.surface == name] for name in surfaces}
    columns = [
        alt.vconcat(
            _map(data, name, of_surface[name], look),
            _heights(data, of_surface[name], look, name == surfaces[0]),
            _step_sizes(data, of_surface[name], look, name == surfaces[0]),
        )
        for name in surfaces
    ]
    notes = describe_equal_paths(trajectories)
    title = {"title": alt.TitleParams(notes, anchor="start", fontSize=12, fontWeight="normal")} if notes else {}
    chart = alt.hconcat(*columns, **title).configure_view(stroke=None)
    chart = chart.configure(font=FONT).configure_axis(grid=False, labelOverlap=True)
    chart = chart.configure_legend(symbolType="stroke", symbolSize=900, symbolStrokeWidth=2, labelFontSize=12)
    spec = json.dumps(chart.to_dict() | {"datasets": data.values})
    if path.suffix.lower() == ".svg":
        picture = vl_convert.vegalite_to_svg(spec, vl_version=VERSION).encode()
    else:
        picture = vl_convert.vegalite_to_png(spec, vl_version=VERSION, scale=2)
    path.write_bytes(picture)


def _map(data: _Data, name: str, trajectories: Sequence[Trajectory], look: Mapping[str, Any]) -> Any:
    ground = SURFACES[name]
    x = alt.X("x:Q", scale=alt.Scale(domain=ground.x, nice=False), title=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=ground.y, nice=False), title=None)
    of_contours = [
        {"line": i, "order": j, "x": float(point[0]), "y": float(point[1])}
        for i, line in enumerate(contours(ground))
        for j, point in enumerate(line)
    ]
    even = alt.Chart(data.add(of_contours)).mark_line(clip=True, strokeWidth=0.7, color="#c4c8cc")
    even = even.encode(x=x, y=y, detail="line:N", order="order:Q")
    rows = [
        {"optimizer": t.optimizer, "step": step, "x": float(point[0]), "y": float(point[1])}
        for t in trajectories
        for step, point in enumerate(t.points)
    ]
    lines = alt.Chart(data.add(rows)).mark_line(clip=True, strokeWidth=1.8, opacity=0.85)
    lines = lines.encode(x=x, y=y, order="step:Q", **look)
    marks = [{"x": ground.start[0], "y": ground.start[1], "mark": "circle"}]
    marks += [{"x": x, "y": y, "mark": "cross"} for x, y in ground.minima]
    points = alt.Chart(data.add(marks)).mark_point(color="black", filled=True, size=70, clip=True)
    points = points.encode(x=x, y=y, shape=alt.Shape("mark:N", scale=None))
    title = alt.TitleParams(name.capitalize(), subtitle=ground.formula, anchor="start")
    return alt.layer(even, lines, points).properties(width=PANEL, height=PANEL, title=title)


def contours(ground: Surface) -> list[Float[np.ndarray, "points 2"]]:
    """Returns contour lines, at heights with equal logarithmic distances above the lowest."""
    x, y = np.linspace(*ground.x, POINTS), np.linspace(*ground.y, POINTS)
    z = values_on(ground, np.stack(np.meshgrid(x, y), axis=-1))
    height = z - min(z.min(), bottom_of(ground))
    generator = contourpy.contour_generator(x, y, height)
    levels = np.geomspace(max(height.min(), height.max() * 1e-4), height.max() * 0.7, LEVELS)
    return [np.asarray(line) for level in levels for line in generator.lines(level)]


def _step_sizes(data: _Data, trajectories: Sequence[Trajectory], look: Mapping[str, Any], first: bool) -> Any:
    rows = [
        {"optimizer": t.optimizer, "step": step, "size": size}
        for t in trajectories
        for step, size in _smooth(t.step_sizes)
    ]
    title = ["effective step size", "|update| / |gradient|"] if first else None
    y = alt.Y("size:Q", scale=alt.Scale(type="log"), title=title, axis=alt.Axis(format="~g", tickCount=4))
    return _over_steps(data, rows, y, look).encode(x=alt.X("step:Q", title="step"))


def _heights(data: _Data, trajectories: Sequence[Trajectory], look: Mapping[str, Any], first: bool) -> Any:
    rows = []
    for t in trajectories:
        rows += [{"optimizer": t.optimizer, "step": i, "height": float(h)} for i, h in enumerate(heights_of(t))]
    title = ["height above the minimum", "(loss)"] if first else None
    y = alt.Y("height:Q", scale=alt.Scale(type="log"), title=title, axis=alt.Axis(format="~g", tickCount=4))
    return _over_steps(data, rows, y, look).encode(x=alt.X("step:Q", title=None))


def _over_steps(data: _Data, rows: Sequence[Mapping[str, Any]], y: Any, look: Mapping[str, Any]) -> Any:
    """Returns lines over the steps. The caller adds the horizontal axis."""
    chart = alt.Chart(data.add(rows)).mark_line(strokeWidth=1.3, opacity=0.85)
    return chart.encode(y=y, **look).properties(width=PANEL, height=PANEL * 0.55)


def _smooth(sizes: Float[np.ndarray, " steps"]) -> list[tuple[int, float]]:
    """Returns the geometric mean of the sizes around each step, with the step, counted from 1.

    Steps without a positive, finite size are left out.
    """
    logarithms = np.log(np.where(np.isfinite(sizes) & (sizes > 0), sizes, np.nan))
    smooth = []
    for step in range(len(sizes)):
        around = logarithms[max(0, step - WINDOW // 2) : step + WINDOW // 2 + 1]
        if np.isfinite(logarithms[step]):
            smooth.append((step + 1, float(np.exp(np.nanmean(around)))))
    return smooth
