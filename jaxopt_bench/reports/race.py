"""A race of optimizers as an animation: a page that opens offline, or a GIF. It needs the extra `report`."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jinja2
import markupsafe
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxopt_bench.reports.html import in_html, resource, script_hash
from jaxopt_bench.reports.style import SeriesStyle, assign_styles
from jaxopt_bench.reports.trajectories import SURFACES, Surface, Trajectory, describe_equal_paths, heights_of
from jaxopt_bench.reports.trajectory_picture import contours

TITLE = "A race of optimizers"
DIGITS = 5
"""Significant digits of a number on the page."""
MOST_FRAMES = 100
FRAME = 50  # milliseconds
END = 2000  # milliseconds of the last frame
PANEL = 300  # the side of a map in a GIF, in pixels
MARGIN = 16  # pixels
SCALE = 2  # frames are drawn this many times larger, then made smaller for smooth edges
COLOURS = 128  # of a GIF
LINE = 22  # the height of a line of text, in pixels


def write_race(trajectories: Sequence[Trajectory], path: pathlib.Path) -> None:
    """Writes an animation.

    Args:
      trajectories: the trajectories on one or several surfaces, each with the same optimizers.
      path: an HTML or GIF file.
    """
    if path.suffix.lower() == ".gif":
        first, *others = _frames(trajectories)
        durations = [*[FRAME] * len(others), END]
        first.save(path, save_all=True, append_images=others, duration=durations, loop=0)
    else:
        path.write_text(_page(trajectories), encoding="utf-8")


def _page(trajectories: Sequence[Trajectory]) -> str:
    names = list(dict.fromkeys(t.optimizer for t in trajectories))
    found = assign_styles(names)
    race = {
        "steps": len(trajectories[0].points) - 1,
        "optimizers": [
            {"name": name, "light": found[name].light, "dark": found[name].dark, "dash": found[name].dash}
            for name in names
        ],
        "surfaces": [_surface(name, own) for name, own in _by_surface(trajectories).items()],
    }
    script = resource("race.js")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(resource("race.html")).render(
        title=TITLE,
        notes=describe_equal_paths(trajectories),
        steps=race["steps"],
        data=markupsafe.Markup(in_html(json.dumps(race, allow_nan=False, separators=(",", ":")))),
        css=markupsafe.Markup(resource("page.css")),
        script=markupsafe.Markup(script),
        script_hash=markupsafe.Markup(script_hash(script)),
    )


def _surface(name: str, trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    ground = SURFACES[name]
    return {
        "name": name.capitalize(),
        "formula": ground.formula,
        "x": ground.x,
        "y": ground.y,
        "start": ground.start,
        "minima": ground.minima,
        "contours": [_rounded(line) for line in contours(ground)],
        "paths": [_rounded(t.points) for t in trajectories],
        "heights": [_rounded(heights_of(t)) for t in trajectories],
    }


def _rounded(values: np.ndarray) -> Any:
    if values.ndim > 1:
        return [_rounded(row) for row in values]
    return [float(f"{value:.{DIGITS}g}") for value in values]


def _by_surface(trajectories: Sequence[Trajectory]) -> dict[str, list[Trajectory]]:
    surfaces = dict.fromkeys(t.surface for t in trajectories)
    return {name: [t for t in trajectories if t.surface == name] for name in surfaces}


def _frames(trajectories: Sequence[Trajectory]) -> list[Image.Image]:
    """Returns the frames of a GIF: the maps side by side, and the names of the optimizers below."""
    by_surface = _by_surface(trajectories)
    names = list(dict.fromkeys(t.optimizer for t in trajectories))
    found = assign_styles(names)
    steps = len(trajectories[0].points) - 1
    maps = {name: _map(SURFACES[name]) for name in by_surface}
    width = len(by_surface) * (PANEL + MARGIN) + MARGIN
    legend = _legend(names, found, width)
    frames = []
    for step in np.linspace(0, steps, min(steps + 1, MOST_FRAMES)).round().astype(int):
        frame = Image.new("RGB", (SCALE * width, SCALE * (PANEL + LINE + 2 * MARGIN) + legend.height), "white")
        text = ImageDraw.Draw(frame)
        for i, (name, own) in enumerate(by_surface.items()):
            left, top = SCALE * (MARGIN + i * (PANEL + MARGIN)), SCALE * (MARGIN + LINE)
            formula = SURFACES[name].formula.replace("−", "-").replace("²", "^2")  # Pillow's font lacks both
            title = f"{name.capitalize()}: {formula}" if i else f"{name.capitalize()}, step {step}"
            text.text((left, SCALE * MARGIN / 2), title, "#1b1f23", _font())
            frame.paste(_with_paths(maps[name], own, found, step), (left, top))
        frame.paste(legend, (0, frame.height - legend.height))
        frames.append(frame.reduce(SCALE))
    palette = frames[-1].quantize(COLOURS)  # the last frame has all colours
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


def _font() -> Any:
    return ImageFont.load_default(size=SCALE * 13)


def _legend(names: Sequence[str], found: dict[str, SeriesStyle], width: int) -> Image.Image:
    places, x, row = [], MARGIN, 0
    for name in names:
        length = 40 + int(_font().getlength(name) / SCALE) + MARGIN
        if x + length > width and x > MARGIN:
            x, row = MARGIN, row + 1
        places.append((x, row))
        x += length
    image = Image.new("RGB", (SCALE * width, SCALE * LINE * (row + 1) + SCALE * MARGIN // 2), "white")
    draw = ImageDraw.Draw(image)
    for name, (x, row) in zip(names, places, strict=True):
        y = SCALE * (LINE * row + LINE // 2)
        draw.line([(SCALE * x, y), (SCALE * (x + 28), y)], found[name].light, SCALE * 3)
        draw.text((SCALE * (x + 36), y), name, "#1b1f23", _font(), anchor="lm")
    return image


def _pixels(ground: Surface, points: np.ndarray) -> list[tuple[float, float]]:
    low, high = np.array([ground.x, ground.y]).T
    shares = np.clip((np.asarray(points) - low) / (high - low), -5, 5)
    side = SCALE * PANEL
    return [(float(x) * side, (1 - float(y)) * side) for x, y in shares]


def _map(ground: Surface) -> Image.Image:
    image = Image.new("RGB", (SCALE * PANEL, SCALE * PANEL), "white")
    draw = ImageDraw.Draw(image)
    for line in contours(ground):
        draw.line(_pixels(ground, line), "#c4c8cc", SCALE)
    ((x, y),) = _pixels(ground, np.array([ground.start]))
    draw.circle((x, y), SCALE * 4, outline="#1b1f23", width=SCALE)
    for x, y in _pixels(ground, np.array(ground.minima, float)):
        draw.line([(x - SCALE * 5, y), (x + SCALE * 5, y)], "#1b1f23", SCALE)
        draw.line([(x, y - SCALE * 5), (x, y + SCALE * 5)], "#1b1f23", SCALE)
    draw.rectangle((0, 0, image.width - 1, image.height - 1), outline="#d0d7de", width=SCALE)
    return image


def _with_paths(
    background: Image.Image, trajectories: Sequence[Trajectory], found: dict[str, SeriesStyle], step: int
) -> Image.Image:
    image = background.copy()
    draw = ImageDraw.Draw(image)
    for t in trajectories:
        points = _pixels(SURFACES[t.surface], t.points[: step + 1])
        if len(points) > 1:
            draw.line(points, found[t.optimizer].light, SCALE * 2)
        draw.circle(points[-1], SCALE * 4, fill=found[t.optimizer].light)
    return image
