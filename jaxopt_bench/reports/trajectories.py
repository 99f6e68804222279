"""Optimizers on two-dimensional surfaces, as pictures: where they go, and with what effective step sizes."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import Moment, Optimizer
from jaxopt_bench.reports.extra import check_extra

RATES = tuple(float(f"{rate:.1g}") for exponent in range(-5, 2) for rate in (10.0**exponent, 3 * 10.0**exponent))
"""Learning rates that are tried: one and three times the powers of ten, from 1e-5 to 30."""

FORMATS = ("png", "svg")
"""Formats of pictures, which are the ends of their names."""

PANEL = 300  # pixels, before scaling
LEVELS = 18  # contours of a surface
POINTS = 240  # along an axis, on which contours are computed
SMALL = 1e-6  # a share of the first height, below which lower is no better
WINDOW = 11  # steps that an effective step size is averaged over


@dataclasses.dataclass(frozen=True)
class Surface:
    """A function of two numbers.

    Attributes:
      function: of an array of shape (2,).
      formula: what it is.
      start: where optimizers begin.
      minima: where it is smallest.
      x: the range that is drawn.
      y: likewise.
    """

    function: Callable[[Float[Array, " 2"]], Float[Array, ""]]
    formula: str
    start: tuple[float, float]
    minima: tuple[tuple[float, float], ...]
    x: tuple[float, float]
    y: tuple[float, float]


def _ravine(p: Array) -> Array:
    return (p[0] ** 2 + 50 * p[1] ** 2) / 2


def _rosenbrock(p: Array) -> Array:
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


def _beale(p: Array) -> Array:
    x, y = p
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def _saddle(p: Array) -> Array:
    x, y = p
    return 2 * x**2 - y**2 + y**4 / 4


SURFACES: Mapping[str, Surface] = {
    "ravine": Surface(_ravine, "(x² + 50 y²) / 2", (-4.0, 0.8), ((0, 0),), (-4.5, 1.5), (-1.2, 1.2)),
    "rosenbrock": Surface(_rosenbrock, "(1 − x)² + 100 (y − x²)²", (-1.2, 1.0), ((1, 1),), (-1.8, 1.6), (-0.6, 2.2)),
    "beale": Surface(_beale, "Beale, 1958", (1.0, 1.5), ((3, 0.5),), (-0.5, 4.5), (-1.5, 2.0)),
    "saddle": Surface(
        _saddle, "2 x² − y² + y⁴ / 4", (1.2, 0.01), ((0, 2**0.5), (0, -(2**0.5))), (-1.5, 1.5), (-1.0, 2.2)
    ),
}
"""What can be drawn, by name."""


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """Where an optimizer went on a surface.

    Attributes:
      surface: its name.
      optimizer: its name.
      learning_rate: the one of `RATES` that was chosen.
      points: the parameters, at the start and after each step; of an optimizer that averages, its averages.
      losses: the surface's values there.
      step_sizes: of each step, the update's norm over the gradient's.
    """

    surface: str
    optimizer: str
    learning_rate: float
    points: Float[np.ndarray, "steps+1 2"]
    losses: Float[np.ndarray, " steps+1"]
    step_sizes: Float[np.ndarray, " steps"]


def trajectory(surface: str, name: str, optimizer: Optimizer, steps: int) -> Trajectory:
    """Runs an optimizer on a surface, at the learning rate with which it comes down fastest there.

    That is the one with the lowest mean, over all steps, of the logarithm of the height above the minimum; of those
    that stay inside the picture with steps of at most a quarter of it, where there are any.

    Args:
      surface: one of `SURFACES`.
      name: what the optimizer is called.
      optimizer: its other hyperparameters are its own; the learning rate stays constant.
      steps: how many updates.

    Raises:
      UserError: where it diverges at every learning rate, or is compiled for each.
    """
    ground = SURFACES[surface]
    if "learning_rate" not in optimizer.hyperparameters():
        raise UserError(f"{name} cannot take its learning rate as an array. Expected an optimizer that can.")

    def run(learning_rate: Float[Array, ""]) -> tuple[Array, Array, Array]:
        hyperparameters = {**optimizer.hyperparameters(), "learning_rate": learning_rate}
        transform = optimizer.transform(hyperparameters, Moment(key=jax.random.key(0)))

        def step(carry: Any, _: None) -> tuple[Any, tuple[Array, Array]]:
            point, state = carry
            loss, gradient = jax.value_and_grad(ground.function)(point)
            update, state = transform.update(gradient, state, point, value=loss)
            size = jnp.linalg.norm(update) / jnp.linalg.norm(gradient)
            point = optax.apply_updates(point, update)
            return (point, state), (optimizer.evaluation_parameters(state, point), size)

        start = jnp.asarray(ground.start, jnp.float32)
        _, (points, sizes) = jax.lax.scan(step, (start, transform.init(start)), length=steps)
        points = jnp.concatenate([start[None], points])
        return points, jax.vmap(ground.function)(points), sizes

    points, losses, sizes = (np.asarray(part) for part in jax.jit(jax.vmap(run))(jnp.asarray(RATES, jnp.float32)))
    bottom = min(float(ground.function(jnp.asarray(point, jnp.float32))) for point in ground.minima)
    heights = np.maximum((losses - bottom) / (losses[0, 0] - bottom), SMALL)
    descent = np.where(np.isfinite(losses).all(1), np.log(heights).mean(1), np.inf)
    calm = np.where(_is_calm(points, ground), descent, np.inf)
    best = int((calm if np.isfinite(calm).any() else descent).argmin())
    if not np.isfinite(descent[best]):
        raise UserError(f"{name} diverges on {surface} at every learning rate from {RATES[0]:g} to {RATES[-1]:g}.")
    return Trajectory(surface, name, RATES[best], points[best], losses[best], sizes[best])


def _is_calm(points: Float[np.ndarray, "rates steps+1 2"], ground: Surface) -> np.ndarray:
    """Returns which of the paths stay inside the picture with short steps."""
    low, high = np.array([ground.x, ground.y]).T
    inside = ((points >= low) & (points <= high)).all((1, 2))
    return inside & (np.abs(np.diff(points, axis=1)) <= (high - low) / 4).all((1, 2))


def draw_trajectories(trajectories: Sequence[Trajectory], path: pathlib.Path) -> None:
    """Draws trajectories over their surfaces' contours, and below them the effective step sizes.

    Args:
      trajectories: of one or several surfaces.
      path: a PNG or SVG file.

    Raises:
      UserError: see `check_picture`.
    """
    check_picture(path)
    alt = _altair()
    surfaces = list(dict.fromkeys(t.surface for t in trajectories))
    names = list(dict.fromkeys(t.optimizer for t in trajectories))
    scheme = "tableau10" if len(names) <= 10 else "tableau20"
    color = alt.Color("optimizer:N", scale=alt.Scale(domain=names, scheme=scheme), legend=alt.Legend(title=None))
    of_surface = {name: [t for t in trajectories if t.surface == name] for name in surfaces}
    above = alt.hconcat(*(_map(alt, name, of_surface[name], color) for name in surfaces))
    below = alt.hconcat(*(_step_sizes(alt, of_surface[name], color, name == surfaces[0]) for name in surfaces))
    chart = alt.vconcat(above, below).configure_view(stroke=None).configure_axis(grid=False)
    chart = chart.configure_legend(symbolType="stroke", symbolStrokeWidth=3, labelFontSize=12)
    chart.save(path, _format(path), scale_factor=2)


def check_picture(path: pathlib.Path) -> None:
    """Raises the error for a picture that could not be drawn, before time is spent on what would be in it.

    Args:
      path: a PNG or SVG file, there or not.

    Raises:
      UserError: where it is of another format, its folder is not there, or the extra `report` is not installed.
    """
    if path.is_dir():
        raise UserError(f"the picture {path} is a folder; accepted: a file in it, as {path / 'optimizers.png'}.")
    if _format(path) not in FORMATS:
        ends = " or ".join(f".{name}" for name in FORMATS)
        raise UserError(f"the picture {path} is of no known format; accepted: a name that ends in {ends}.")
    if not path.parent.is_dir():
        raise UserError(f"the picture {path} cannot be written: {path.parent} is no folder; accepted: a folder's file.")
    _altair()


def _format(path: pathlib.Path) -> str:
    return path.suffix[1:].lower()


def _altair() -> Any:
    check_extra()
    import altair

    return altair


def _map(alt: Any, name: str, trajectories: Sequence[Trajectory], color: Any) -> Any:
    ground = SURFACES[name]
    x = alt.X("x:Q", scale=alt.Scale(domain=ground.x, nice=False), title=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=ground.y, nice=False), title=None)
    contours = alt.Chart(alt.Data(values=_contours(ground))).mark_line(clip=True, strokeWidth=0.7, color="#c4c8cc")
    contours = contours.encode(x=x, y=y, detail="line:N", order="order:Q")
    rows = [
        {"optimizer": t.optimizer, "step": step, "x": float(point[0]), "y": float(point[1])}
        for t in trajectories
        for step, point in enumerate(t.points)
    ]
    lines = alt.Chart(alt.Data(values=rows)).mark_line(clip=True, strokeWidth=1.8, opacity=0.85)
    lines = lines.encode(x=x, y=y, color=color, order="step:Q")
    marks = [{"x": ground.start[0], "y": ground.start[1], "mark": "circle"}]
    marks += [{"x": x, "y": y, "mark": "cross"} for x, y in ground.minima]
    points = alt.Chart(alt.Data(values=marks)).mark_point(color="black", filled=True, size=70, clip=True)
    points = points.encode(x=x, y=y, shape=alt.Shape("mark:N", scale=None))
    title = alt.TitleParams(name.capitalize(), subtitle=ground.formula, anchor="start")
    return alt.layer(contours, lines, points).properties(width=PANEL, height=PANEL, title=title)


def _contours(ground: Surface) -> list[dict[str, Any]]:
    """Returns the points of lines of equal height, at heights that are even in their logarithm above the lowest."""
    import contourpy

    x, y = np.linspace(*ground.x, POINTS), np.linspace(*ground.y, POINTS)
    grid = jnp.stack(jnp.meshgrid(jnp.asarray(x), jnp.asarray(y)), axis=-1)
    z = np.asarray(jax.vmap(jax.vmap(ground.function))(grid), float)
    height = z - min(z.min(), *(float(ground.function(jnp.asarray(m, jnp.float32))) for m in ground.minima))
    generator = contourpy.contour_generator(x, y, height)
    levels = np.geomspace(max(height.min(), height.max() * 1e-4), height.max() * 0.7, LEVELS)
    lines = [line for level in levels for line in generator.lines(level)]
    return [
        {"line": i, "order": j, "x": float(point[0]), "y": float(point[1])}
        for i, line in enumerate(lines)
        for j, point in enumerate(line)
    ]


def _step_sizes(alt: Any, trajectories: Sequence[Trajectory], color: Any, first: bool) -> Any:
    rows = [
        {"optimizer": t.optimizer, "step": step, "size": size}
        for t in trajectories
        for step, size in _smooth(t.step_sizes)
    ]
    title = ["effective step size", "‖update‖ / ‖gradient‖"] if first else None
    y = alt.Y("size:Q", scale=alt.Scale(type="log"), title=title, axis=alt.Axis(format="~g", tickCount=4))
    chart = alt.Chart(alt.Data(values=rows)).mark_line(strokeWidth=1.3, opacity=0.85)
    return chart.encode(x=alt.X("step:Q", title="step"), y=y, color=color).properties(width=PANEL, height=PANEL * 0.55)


def _smooth(sizes: Float[np.ndarray, " steps"]) -> list[tuple[int, float]]:
    """Returns steps, counted from 1, with the geometric mean of the sizes around each, of those that have one."""
    logarithms = np.log(np.where(np.isfinite(sizes) & (sizes > 0), sizes, np.nan))
    smooth = []
    for step in range(len(sizes)):
        around = logarithms[max(0, step - WINDOW // 2) : step + WINDOW // 2 + 1]
        if np.isfinite(logarithms[step]):
            smooth.append((step + 1, float(np.exp(np.nanmean(around)))))
    return smooth
