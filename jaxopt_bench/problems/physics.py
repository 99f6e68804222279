"""Differential equations with a known solution, which networks solve (physics-informed networks).

A network u of the coordinates is trained to satisfy the equation at interior points and the given values at boundary
points. The solution is used only to measure the error. Source: Raissi, Perdikaris and Karniadakis, 2019 (J. Comput.
Phys. 378), section 3.1.
"""

from __future__ import annotations

import abc
import dataclasses
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from numpy.typing import ArrayLike

from jaxopt_bench.config import number_field
from jaxopt_bench.errors import UserError
from jaxopt_bench.models import MLP, Layers
from jaxopt_bench.models.layers import LayersPath
from jaxopt_bench.problems.base import Params, Problem, ProblemConfig
from jaxopt_bench.problems.metrics import LOSS, Metric, Statistics
from jaxopt_bench.problems.views import Lines, Points, View

Network = Callable[[Float[Array, " coordinates"]], Float[Array, ""]]
"""The network as a function of a point."""

_SEEDS = {"train": 0, "validation": 1}  # for drawing the points


class Collocation(NamedTuple):
    """The points of the equation and of the boundary values. An example is one interior and one boundary point.

    Attributes:
      interior: the interior points, float32 [examples, coordinates].
      solution: the solution at the interior points, float32 [examples]. It is used to measure the error, not to train.
      boundary: the boundary points, float32 [examples, coordinates].
      boundary_values: the given values at the boundary points, float32 [examples].
    """

    interior: Any
    solution: Any
    boundary: Any
    boundary_values: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class DifferentialEquation(ProblemConfig):
    """A network is trained to solve a differential equation.

    The loss of an example is `residual_weight` times the squared residual of the equation at its interior point, plus
    `boundary_weight` times the squared error at its boundary point. The metric is the relative L2 error: the norm
    of the difference between u and the solution, divided by the norm of the solution. It is 1 for u = 0.

    The training points and the validation points are Latin hypercube samples. The test points form a grid.
    """

    metric_names: ClassVar[tuple[str, ...] | None] = ("relative_error", LOSS)
    added_later: ClassVar[tuple[str, ...]] = ("residual_weight",)

    model: MLP = MLP(widths=(32, 32, 32), activation="tanh")
    """The network."""
    points: int = number_field(1000, at_least=2)
    """The number of training examples: points in the interior, each with a point on the boundary."""
    validation_points: int = number_field(500, at_least=0)
    """The number of validation examples; 0 for none."""
    boundary_weight: float = number_field(1.0, above=0)
    """The factor of the squared error on the boundary."""
    residual_weight: float = number_field(1.0, above=0)
    """The factor of the squared residual. A small factor works better with the default learning rates of SGD."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model.activation == "relu":
            raise UserError(
                f"{type(self).__name__}.model.activation is 'relu', whose second derivative is 0, but the equation "
                "contains the second derivative of the network. Expected 'tanh' or 'gelu'."
            )
        if self.model.dropout > 0:
            raise UserError(
                f"{type(self).__name__}.model.dropout is {self.model.dropout:g}. Expected 0, because the "
                "derivatives of the equation need a network without noise."
            )

    @property
    def validates(self) -> bool:
        """Whether there are validation points."""
        return self.validation_points > 0

    @abc.abstractmethod
    def residual(self, u: Network, point: Float[Array, " coordinates"]) -> Float[Array, ""]:
        """Returns the residual of the equation for the network `u` at an interior point."""

    @abc.abstractmethod
    def solution(self, points: Float[np.ndarray, "points coordinates"]) -> Float[np.ndarray, " points"]:
        """Returns the solution in float64. It is also defined on the boundary."""

    @abc.abstractmethod
    def interior(self, unit: Float[np.ndarray, "points coordinates"]) -> Float[np.ndarray, "points coordinates"]:
        """Returns the points of the domain that correspond to points of the unit cube."""

    @abc.abstractmethod
    def boundary(self, count: int, random: np.random.Generator) -> Float[np.ndarray, "points coordinates"]:
        """Returns points at which the values of the solution are given."""

    @abc.abstractmethod
    def grid(self) -> Float[np.ndarray, "points coordinates"]:
        """Returns the test points."""

    @abc.abstractmethod
    def views(self, examples: Collocation, outputs: Mapping[str, Any]) -> Sequence[View]:
        """Returns plots of the network and of the solution."""

    def load(self, data_dir: pathlib.Path | None = None, layers: LayersPath = "plain") -> Problem:
        """Returns the problem; see `ProblemConfig.load`."""
        del data_dir
        module = self.model.module(1, Layers(path=layers))
        coordinates = self.grid().shape[1]

        def init(key: Key[Array, ""]) -> Params:
            return module.init(key, jnp.zeros((1, coordinates)), train=False)["params"]

        def network(params: Params) -> Network:
            return lambda point: module.apply({"params": params}, point[None], train=False)[0, 0]

        def loss(
            params: Params, batch: Collocation, key: Key[Array, ""] | None
        ) -> tuple[Float[Array, " batch"], dict[str, Float[Array, " batch"]]]:
            del key
            u = network(params)
            residuals = jax.vmap(lambda point: self.residual(u, point))(batch.interior)
            boundary_errors = jax.vmap(u)(batch.boundary) - batch.boundary_values
            errors = jax.vmap(u)(batch.interior) - batch.solution
            losses = self.residual_weight * residuals**2 + self.boundary_weight * boundary_errors**2
            return losses, {"squared_error": errors**2, "squared_solution": batch.solution**2}

        def outputs(params: Params, batch: Collocation) -> dict[str, Array]:
            return {"network": jax.vmap(network(params))(batch.interior)}

        return Problem(
            train=self._sample("train", self.points),
            validation=self._sample("validation", self.validation_points) if self.validates else None,
            test=self._examples(self.grid(), np.random.default_rng(0)),
            init=init,
            loss=loss,
            metrics=(RELATIVE_ERROR, Metric(name=LOSS, least=0.0, resampling="none")),
            outputs=outputs,
            views=self.views,
            random=False,
        )

    def _sample(self, split: str, count: int) -> Collocation:
        from scipy.stats import qmc  # the import takes a second or two

        random = np.random.default_rng(_SEEDS[split])
        coordinates = self.grid().shape[1]
        unit = qmc.LatinHypercube(coordinates, rng=random).random(count)
        return self._examples(self.interior(unit), random)

    def _examples(self, interior: Float[np.ndarray, "points coordinates"], random: np.random.Generator) -> Collocation:
        boundary = self.boundary(len(interior), random)
        arrays = interior, self.solution(interior), boundary, self.solution(boundary)
        return Collocation(*(array.astype(np.float32) for array in arrays))


def _relative_error(means: Statistics) -> Any:
    return (means["squared_error"] / means["squared_solution"]) ** 0.5


RELATIVE_ERROR = Metric(
    name="relative_error",
    words="relative L2 error",
    untrained=1.0,
    least=0.0,
    resampling="none",
    of=_relative_error,
    needs=("squared_error", "squared_solution"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Poisson(DifferentialEquation):
    """The Poisson equation −u″ = f on 0 < x < 1 with u(0) = u(1) = 0, where u(x) = sin πx + ½ sin kπx is the solution.

    A larger k increases the time that a network needs to learn the high-frequency part.
    """

    boundary_weight: float = number_field(10.0, above=0)
    """The factor of the squared error on the boundary."""
    frequency: int = number_field(4, at_least=1)
    """The frequency k of the high-frequency part of the solution."""

    @property
    def title(self) -> str:
        """The equation's name."""
        return "poisson"

    def residual(self, u: Network, point: Float[Array, " 1"]) -> Float[Array, ""]:
        """Returns −u″ − f; see `DifferentialEquation.residual`."""
        _, second = _derivatives(u, point, jnp.ones(1))
        slow, fast = math.pi, self.frequency * math.pi
        return -second - (slow**2 * jnp.sin(slow * point[0]) + 0.5 * fast**2 * jnp.sin(fast * point[0]))

    def solution(self, points: Float[np.ndarray, "points 1"]) -> Float[np.ndarray, " points"]:
        """See `DifferentialEquation.solution`."""
        return np.sin(np.pi * points[:, 0]) + 0.5 * np.sin(self.frequency * np.pi * points[:, 0])

    def interior(self, unit: Float[np.ndarray, "points 1"]) -> Float[np.ndarray, "points 1"]:
        """See `DifferentialEquation.interior`."""
        return unit

    def boundary(self, count: int, random: np.random.Generator) -> Float[np.ndarray, "points 1"]:
        """Returns the two end points, alternating."""
        del random
        return (np.arange(count) % 2)[:, None].astype(np.float64)

    def grid(self) -> Float[np.ndarray, "points 1"]:
        """See `DifferentialEquation.grid`."""
        return np.linspace(0, 1, 257)[:, None]

    def views(self, examples: Collocation, outputs: Mapping[str, Any]) -> Sequence[View]:
        """Returns the network and the solution over x."""
        x = np.asarray(examples.interior[:, 0], np.float64)
        return [_lines("Network and solution", "", x, examples.solution, outputs["network"])]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Burgers(DifferentialEquation):
    """Burgers' equation ∂u/∂t + u ∂u/∂x = ν ∂²u/∂x² for −1 < x < 1 and 0 < t < 1, with ν = 0.01 / π.

    At t = 0, u is −sin πx; at x = ±1 it is 0. A steep front forms at x = 0. A point is (x, t).

    Source: Raissi et al., 2019, appendix A.1. They reach a relative L2 error of 6.7e-4 with L-BFGS, 8 hidden layers of
    20 units and 10,000 points.
    """

    model: MLP = MLP(widths=(32, 32, 32, 32), activation="tanh")
    """The network."""
    points: int = number_field(2000, at_least=2)
    """The number of training examples: points in the interior, each with a point on the boundary."""

    @property
    def title(self) -> str:
        """The equation's name."""
        return "burgers"

    def residual(self, u: Network, point: Float[Array, " 2"]) -> Float[Array, ""]:
        """Returns ∂u/∂t + u ∂u/∂x − ν ∂²u/∂x²; see `DifferentialEquation.residual`."""
        first, second = _derivatives(u, point, jnp.array([1.0, 0.0]))
        value, in_time = jax.jvp(u, (point,), (jnp.array([0.0, 1.0]),))
        return in_time + value * first - VISCOSITY * second

    def solution(self, points: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, " points"]:
        """Returns `burgers_solution` at the points."""
        return burgers_solution(points[:, 0], points[:, 1])

    def interior(self, unit: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "points 2"]:
        """See `DifferentialEquation.interior`."""
        return unit * [2, 1] - [1, 0]

    def boundary(self, count: int, random: np.random.Generator) -> Float[np.ndarray, "points 2"]:
        """Returns points at t = 0 (a half), x = −1 (a quarter) and x = 1 (a quarter)."""
        position = random.random(count)
        at_start = np.stack([2 * position - 1, np.zeros(count)], axis=1)
        at_sides = np.stack([np.where(np.arange(count) % 4 < 2, -1.0, 1.0), position], axis=1)
        return np.where((np.arange(count) % 2 == 0)[:, None], at_start, at_sides)

    def grid(self) -> Float[np.ndarray, "points 2"]:
        """Returns points at 129 values of x for each of 5 times."""
        times, places = np.meshgrid(_TIMES, np.linspace(-1, 1, 129), indexing="ij")
        return np.stack([places.ravel(), times.ravel()], axis=1)

    def views(self, examples: Collocation, outputs: Mapping[str, Any]) -> Sequence[View]:
        """Returns plots of the network and the solution over x at each time of the grid, or dots for other points."""
        points = np.asarray(examples.interior, np.float64)
        solution, network = np.asarray(examples.solution), np.asarray(outputs["network"])
        at = {time: np.isclose(points[:, 1], time) for time in _TIMES}
        if sum(chosen.sum() for chosen in at.values()) < len(points):
            return [
                Points(
                    title="Network and solution",
                    text="Each dot is a point (x, t). On the diagonal line, the network equals the solution.",
                    x=solution.astype(np.float64),
                    y=network.astype(np.float64),
                    x_title="solution",
                    y_title="network",
                    diagonal=True,
                )
            ]
        return [
            _lines(f"Network and solution at t = {time:g}", "", points[chosen, 0], solution[chosen], network[chosen])
            for time, chosen in at.items()
        ]


VISCOSITY = 0.01 / math.pi
_TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)


def burgers_solution(
    x: Float[np.ndarray, " points"], t: Float[np.ndarray, " points"], nodes: int = 128
) -> Float[np.ndarray, " points"]:
    """Returns the solution of Burgers' equation by the Cole–Hopf formula, in float64.

    The formula's two integrals over the real line, weighted by exp(−z²), are computed by Gauss–Hermite quadrature.
    Source: Basdevant et al., 1986 (Computers & Fluids 14), equation 2.

    Args:
      x: positions from −1 to 1.
      t: times, at least 0.
      nodes: the number of nodes of the quadrature. With 128, the error is below 1e-10 for t ≤ 1.
    """
    z, weights = np.polynomial.hermite.hermgauss(nodes)
    y = np.pi * (x[:, None] - np.sqrt(4 * VISCOSITY * t)[:, None] * z)
    kernel = weights * np.exp(-(np.cos(y) + 1) / (2 * np.pi * VISCOSITY))
    return -(kernel * np.sin(y)).sum(axis=1) / kernel.sum(axis=1)


def _derivatives(
    u: Network, point: Float[Array, " coordinates"], direction: Float[Array, " coordinates"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns the first and the second derivative along a direction."""

    def first(at: Float[Array, " coordinates"]) -> Float[Array, ""]:
        return jax.jvp(u, (at,), (direction,))[1]

    return jax.jvp(first, (point,), (direction,))


def _lines(title: str, text: str, x: np.ndarray, solution: ArrayLike, network: ArrayLike) -> Lines:
    order = np.argsort(x)
    lines = {"solution": np.asarray(solution, np.float64)[order], "network": np.asarray(network, np.float64)[order]}
    return Lines(title=title, text=text, x=x[order], lines=lines, x_title="x", y_title="u")
