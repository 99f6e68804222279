"""Optimizers on two-dimensional surfaces: their paths and their effective step sizes."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Integer

from jaxopt_bench.errors import UserError
from jaxopt_bench.formatting import join_words
from jaxopt_bench.optimizers import Optimizer, StepContext
from jaxopt_bench.reports.extra import check_extra

RATES = tuple(float(f"{rate:.1g}") for exponent in range(-5, 2) for rate in (10.0**exponent, 3 * 10.0**exponent))
"""The learning rates to try: one and three times the powers of ten, from 1e-5 to 30."""

FORMATS = ("png", "svg", "html", "gif")
"""The formats of pictures, which are also the file extensions."""

SMALL = 1e-6  # a share of the first height; lower heights count as this one


@dataclasses.dataclass(frozen=True)
class Surface:
    """A function of two numbers.

    Attributes:
      function: a function of an array [2, ...] of JAX or NumPy.
      formula: its formula as text.
      start: the starting point of optimizers.
      minima: the points of its minima.
      x: the drawn range of x.
      y: the drawn range of y.
    """

    function: Callable[[Any], Any]
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
        _saddle, "2 x² − y² + y^4 / 4", (1.2, 0.01), ((0, 2**0.5), (0, -(2**0.5))), (-1.5, 1.5), (-1.0, 2.2)
    ),
}
"""The surfaces that can be drawn, by name."""


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """The path of an optimizer on a surface.

    Attributes:
      surface: the name of the surface.
      optimizer: the name of the optimizer.
      learning_rate: the selected learning rate of `RATES`.
      points: the parameters, at the start and after each step; for an optimizer with averaging, the averages.
      losses: the values of the surface at these points.
      step_sizes: for each step, the norm of the update divided by the norm of the gradient.
    """

    surface: str
    optimizer: str
    learning_rate: float
    points: Float[np.ndarray, "steps+1 2"]
    losses: Float[np.ndarray, " steps+1"]
    step_sizes: Float[np.ndarray, " steps"]


def trajectories_on(surfaces: Sequence[str], name: str, optimizer: Optimizer, steps: int) -> list[Trajectory]:
    """Runs an optimizer on surfaces, on each with the learning rate that descends fastest.

    This is the learning rate with the lowest mean, over all steps, of the logarithm of the height above the minimum. If
    some paths stay inside the picture with steps of at most a quarter of its size, only these are considered.

    Args:
      surfaces: names in `SURFACES`.
      name: the name of the optimizer.
      optimizer: the optimizer with its other hyperparameters; the learning rate is constant.
      steps: the number of updates.

    Raises:
      UserError: if it diverges at every learning rate, or cannot take its learning rate as an array.
    """
    grounds = [SURFACES[surface] for surface in surfaces]
    if "learning_rate" not in optimizer.hyperparameters():
        raise UserError(f"{name} cannot take its learning rate as an array. Expected an optimizer that can.")
    slopes = [jax.value_and_grad(ground.function) for ground in grounds]

    def run(which: Integer[Array, ""], start: Float[Array, " 2"], learning_rate: Float[Array, ""]) -> Any:
        hyperparameters = {**optimizer.hyperparameters(), "learning_rate": learning_rate}
        transform = optimizer.transform(hyperparameters, StepContext(key=jax.random.key(0)))

        def step(carry: Any, _: None) -> tuple[Any, tuple[Array, Array]]:
            point, state = carry
            loss, gradient = jax.lax.switch(which, slopes, point)
            update, state = transform.update(gradient, state, point, value=loss)
            size = jnp.linalg.norm(update) / jnp.linalg.norm(gradient)
            point = optax.apply_updates(point, update)
            return (point, state), (optimizer.evaluation_parameters(state, point), size)

        _, (points, sizes) = jax.lax.scan(step, (start, transform.init(start)), length=steps)
        return jnp.concatenate([start[None], points]), sizes

    of_rates = jax.vmap(run, in_axes=(None, None, 0))
    starts = jnp.asarray([ground.start for ground in grounds], jnp.float32)
    numbers, rates = jnp.arange(len(grounds)), jnp.asarray(RATES, jnp.float32)
    points, sizes = jax.jit(jax.vmap(of_rates, in_axes=(0, 0, None)))(numbers, starts, rates)  # one program for all
    return [
        _best(surface, name, np.asarray(own), np.asarray(own_sizes))
        for surface, own, own_sizes in zip(surfaces, points, sizes, strict=True)
    ]


def trajectory(surface: str, name: str, optimizer: Optimizer, steps: int) -> Trajectory:
    """Runs an optimizer on one surface; see `trajectories_on`."""
    return trajectories_on([surface], name, optimizer, steps)[0]


def _best(
    surface: str, name: str, points: Float[np.ndarray, "rates steps+1 2"], sizes: Float[np.ndarray, "rates steps"]
) -> Trajectory:
    """Returns the trajectory at the best learning rate."""
    ground = SURFACES[surface]
    losses = values_on(ground, points)
    heights = np.maximum((losses - bottom_of(ground)) / (losses[0, 0] - bottom_of(ground)), SMALL)
    descent = np.where(np.isfinite(losses).all(1), np.log(heights).mean(1), np.inf)
    calm = np.where(_is_calm(points, ground), descent, np.inf)
    best = int((calm if np.isfinite(calm).any() else descent).argmin())
    if not np.isfinite(descent[best]):
        raise UserError(f"{name} diverges on {surface} at every learning rate from {RATES[0]:g} to {RATES[-1]:g}.")
    return Trajectory(surface, name, RATES[best], points[best], losses[best], sizes[best])


def bottom_of(ground: Surface) -> float:
    """Returns the height of a surface's minimum."""
    return float(values_on(ground, np.array(ground.minima, np.float32)).min())


def values_on(ground: Surface, points: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "..."]:
    """Returns the values of a surface at points. NumPy computes them, since JAX would compile each operation."""
    with np.errstate(over="ignore", invalid="ignore"):  # far from the minimum
        return np.asarray(ground.function(np.moveaxis(points, -1, 0)))


def equal_paths(drawn: Sequence[Trajectory]) -> list[list[str]]:
    """Returns groups of optimizers that take the same steps on all surfaces, so that one path hides the others.

    Optimizers for matrices are an example: two numbers are not a matrix, so Muon and the relatives of Shampoo use their
    rule for vectors.
    """
    names = list(dict.fromkeys(t.optimizer for t in drawn))
    paths = {name: [t.points for t in drawn if t.optimizer == name] for name in names}
    groups: list[list[str]] = []
    for name in names:
        for group in groups:
            if all(
                np.allclose(one, other, 1e-4, 1e-5) for one, other in zip(paths[group[0]], paths[name], strict=True)
            ):
                group.append(name)
                break
        else:
            groups.append([name])
    return [group for group in groups if len(group) > 1]


def _is_calm(points: Float[np.ndarray, "rates steps+1 2"], ground: Surface) -> np.ndarray:
    """Returns for each path whether it stays inside the picture with short steps."""
    low, high = np.array([ground.x, ground.y]).T
    inside = ((points >= low) & (points <= high)).all((1, 2))
    return inside & (np.abs(np.diff(points, axis=1)) <= (high - low) / 4).all((1, 2))


def describe_equal_paths(drawn: Sequence[Trajectory]) -> list[str]:
    """Returns a sentence for each group of `equal_paths`."""
    return [
        f"{join_words(group)} take the same steps on all of these surfaces, so only one of their paths is visible."
        for group in equal_paths(drawn)
    ]


def heights_of(path: Trajectory) -> Float[np.ndarray, " steps+1"]:
    """Returns the heights above the minimum, at least the share `SMALL` of the first height."""
    bottom = bottom_of(SURFACES[path.surface])
    return np.maximum(path.losses - bottom, SMALL * (path.losses[0] - bottom))


def check_picture(path: pathlib.Path) -> None:
    """Raises an error if a picture could not be written, before time is spent on its contents.

    Args:
      path: a file of one of `FORMATS`, which may or may not exist.

    Raises:
      UserError: if the format is unknown, the path is a folder, its folder does not exist, or the extra `report` is not
        installed.
    """
    if path.is_dir():
        raise UserError(f"the picture {path} is a folder. Expected: a file in it, as {path / 'optimizers.png'}.")
    if _format(path) not in FORMATS:
        ends = " or ".join(f".{name}" for name in FORMATS)
        raise UserError(f"the picture {path} has an unknown format. Expected: a name that ends in {ends}.")
    if not path.parent.is_dir():
        raise UserError(f"the picture {path} cannot be written: {path.parent} is not a folder.")
    check_extra()


def _format(path: pathlib.Path) -> str:
    return path.suffix[1:].lower()
