"""Analytic functions with a known minimum and without data.

The examples are numbers without meaning. Their count only determines the number of steps in an epoch.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, Key

from jaxopt_bench.config import number_field
from jaxopt_bench.errors import UserError
from jaxopt_bench.models.layers import LayersPath
from jaxopt_bench.problems.base import Params, Problem, ProblemConfig
from jaxopt_bench.problems.metrics import LOSS, Metric

GAP = Metric(name="gap", words="gap to the minimum", least=0.0, resampling="none")
"""The difference between the loss and its known minimum. The loss is computed in float32, so a negative gap is a
rounding error and is replaced by 0."""

_MATRIX_SEED = 0  # for the matrices to factorise


@dataclasses.dataclass(frozen=True, kw_only=True)
class Function(ProblemConfig):
    """A function that depends only on parameters. It has no test examples, and by default no validation examples."""

    metric_names: ClassVar[tuple[str, ...] | None] = ("gap", LOSS)
    added_later: ClassVar[tuple[str, ...]] = ("validation_examples",)

    examples: int = number_field(100, at_least=1)
    """The number of steps in an epoch times the batch size."""
    validation_examples: int = number_field(0, at_least=0)
    """The number of validation examples. The loss of each one is the function itself. With at least one, a study can
    compare trials by the validation loss on functions as well as on other problems."""

    @property
    def validates(self) -> bool:
        """Whether there are validation examples."""
        return self.validation_examples > 0

    def problem(
        self,
        init: Callable[[Key[Array, ""]], Params],
        value: Callable[[Params], Float[Array, ""]],
        minimum: float = 0.0,
        noise: Callable[[Params, int, Key[Array, ""]], Float[Array, ""]] | None = None,
    ) -> Problem:
        """Returns the problem of minimising a function.

        Args:
          init: returns the starting point.
          value: the function.
          minimum: the smallest value of the function.
          noise: `noise(params, batch_size, key)` returns the noise that a training step adds to the function.
        """

        def loss(
            params: Params, batch: Int32[Array, " batch"], key: Key[Array, ""] | None
        ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
            exact = value(params)
            gap = jnp.maximum(exact - minimum, 0.0)
            return exact if noise is None or key is None else exact + noise(params, len(batch), key), {"gap": gap}

        return Problem(
            train=np.arange(self.examples, dtype=np.int32),
            validation=np.arange(self.validation_examples, dtype=np.int32) if self.validates else None,
            init=init,
            loss=loss,
            metrics=(GAP, Metric(name=LOSS, least=minimum if noise is None else None, resampling="none")),
            random=noise is not None,
            full_batch=True,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoisyQuadratic(Function):
    """The noisy quadratic model: f(θ) = ½ Σ hᵢ (θᵢ − c)² with hᵢ = 1/i, and noisy gradients.

    The noise of a gradient has the covariance diag(h) / B with the batch size B. c is the center. Every initial θᵢ is
    drawn from a standard normal distribution. In evaluation the loss is f itself: the expected loss, without noise.

    Source: Zhang et al., 2019 (arXiv 1907.04164), section 3, with 10,000 dimensions and c = 0.
    """

    added_later: ClassVar[tuple[str, ...]] = (*Function.added_later, "center")

    dimensions: int = number_field(1000, at_least=1)
    """The number of parameters."""
    center: float = 0.0
    """The value of every coordinate of the minimum. At 0, weight decay moves the parameters towards the minimum, an
    advantage that weight decay does not have on networks."""

    @property
    def title(self) -> str:
        """The function's name."""
        return "noisy_quadratic"

    def load(self, data_dir: pathlib.Path | None = None, layers: LayersPath = "plain") -> Problem:
        """Returns the problem; see `ProblemConfig.load`."""
        del data_dir, layers
        curvature = (1 / np.arange(1, self.dimensions + 1)).astype(np.float32)

        def init(key: Key[Array, ""]) -> Float[Array, " dimensions"]:
            return jax.random.normal(key, (self.dimensions,))

        def value(params: Float[Array, " dimensions"]) -> Float[Array, ""]:
            return 0.5 * jnp.sum(curvature * (params - self.center) ** 2)

        def noise(params: Float[Array, " dimensions"], batch_size: int, key: Key[Array, ""]) -> Float[Array, ""]:
            # the mean of `batch_size` independent draws has the distribution of one draw divided by the square root
            draw = jnp.sqrt(curvature / batch_size) * jax.random.normal(key, params.shape)
            return jnp.sum(draw * params)

        return self.problem(init, value, noise=noise)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rosenbrock(Function):
    """Rosenbrock's function: f(x) = Σ 100 (xᵢ₊₁ − xᵢ²)² + (1 − xᵢ)². Its minimum is 0 at (1, …, 1).

    It has a narrow, curved valley. The starting point is (−1.2, 1, −1.2, 1, …) for all seeds. With 4 or more dimensions
    it also has a local minimum near (−1, 1, …, 1).

    Source: Rosenbrock, 1960; start: Moré, Garbow and Hillstrom, 1981, problem 21.
    """

    dimensions: int = number_field(2, at_least=2)
    """The number of parameters."""

    @property
    def title(self) -> str:
        """The function's name."""
        return "rosenbrock"

    def load(self, data_dir: pathlib.Path | None = None, layers: LayersPath = "plain") -> Problem:
        """Returns the problem; see `ProblemConfig.load`."""
        del data_dir, layers
        start = np.where(np.arange(self.dimensions) % 2 == 0, -1.2, 1.0).astype(np.float32)

        def init(key: Key[Array, ""]) -> Float[Array, " dimensions"]:
            del key
            return jnp.asarray(start)

        def value(x: Float[Array, " dimensions"]) -> Float[Array, ""]:
            return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

        return self.problem(init, value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepLinear(Function):
    """A deep linear network: f(W₁, …, W_L) = ½ ‖W_L ⋯ W₁ − A‖², for a square matrix A of known singular values.

    It is the loss of a network without activation functions for inputs with covariance I. The singular values of A
    decrease geometrically from 1 to 1 / condition. They are learned one after the other, with plateaus between them.
    The initial layers are random orthogonal matrices times `scale`. The minimum is 0.

    Source: Saxe, McClelland and Ganguli, 2014 (arXiv 1312.6120), sections 1 and 3.
    """

    depth: int = number_field(3, at_least=1)
    """The number of layers."""
    width: int = number_field(16, at_least=1)
    """The number of units of each layer, inputs and outputs included."""
    condition: float = number_field(100.0, at_least=1)
    """The largest singular value of A divided by the smallest."""
    scale: float = number_field(0.5, above=0)
    """The initial value of all singular values of each layer."""

    @property
    def title(self) -> str:
        """The function's name."""
        return "deep_linear"

    def load(self, data_dir: pathlib.Path | None = None, layers: LayersPath = "plain") -> Problem:
        """Returns the problem; see `ProblemConfig.load`."""
        del data_dir, layers
        target = matrix(self.width, self.width, np.geomspace(1, 1 / self.condition, self.width)).astype(np.float32)
        orthogonal = jax.nn.initializers.orthogonal(self.scale)

        def init(key: Key[Array, ""]) -> list[Float[Array, "width width"]]:
            return [orthogonal(k, (self.width, self.width)) for k in jax.random.split(key, self.depth)]

        def value(weights: list[Float[Array, "width width"]]) -> Float[Array, ""]:
            product = weights[0]
            for weight in weights[1:]:
                product = weight @ product
            return 0.5 * jnp.sum((product - target) ** 2)

        return self.problem(init, value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatrixFactorisation(Function):
    """Matrix factorisation: f(U, V) = ½ ‖U Vᵀ − A‖², for a matrix A of known singular values.

    The singular values of A decrease geometrically from 1 to 1 / condition. If `rank` is less than the full rank, the
    minimum is half the sum of the squares of the omitted singular values (Eckart and Young, 1936). All other stationary
    points are saddle points. The initial U and V are normal random numbers with standard deviation `scale`.
    """

    rows: int = number_field(32, at_least=1)
    """The number of rows of A."""
    columns: int = number_field(24, at_least=1)
    """The number of columns of A."""
    rank: int = number_field(8, at_least=1)
    """The number of columns of U and of V; at most the smaller side of A."""
    condition: float = number_field(100.0, at_least=1)
    """The largest singular value of A divided by the smallest."""
    scale: float = number_field(0.1, above=0)
    """The standard deviation of all initial parameters."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank > min(self.rows, self.columns):
            raise UserError(
                f"MatrixFactorisation.rank is {self.rank}, but the matrix is {self.rows} × {self.columns}. Expected an "
                f"integer >= 1 and <= {min(self.rows, self.columns)}."
            )

    @property
    def title(self) -> str:
        """The function's name."""
        return "matrix_factorisation"

    def load(self, data_dir: pathlib.Path | None = None, layers: LayersPath = "plain") -> Problem:
        """Returns the problem; see `ProblemConfig.load`."""
        del data_dir, layers
        singular_values = np.geomspace(1, 1 / self.condition, min(self.rows, self.columns))
        target = matrix(self.rows, self.columns, singular_values).astype(np.float32)

        def init(key: Key[Array, ""]) -> dict[str, Float[Array, "side rank"]]:
            left, right = jax.random.split(key)
            return {
                "left": self.scale * jax.random.normal(left, (self.rows, self.rank)),
                "right": self.scale * jax.random.normal(right, (self.columns, self.rank)),
            }

        def value(params: dict[str, Float[Array, "side rank"]]) -> Float[Array, ""]:
            return 0.5 * jnp.sum((params["left"] @ params["right"].T - target) ** 2)

        return self.problem(init, value, minimum=0.5 * float(np.sum(singular_values[self.rank :] ** 2)))


def matrix(rows: int, columns: int, singular_values: Float[np.ndarray, " rank"]) -> Float[np.ndarray, "rows columns"]:
    """Returns a matrix with the given singular values. Its singular vectors are random with a fixed seed."""
    random = np.random.default_rng(_MATRIX_SEED)
    left, _ = np.linalg.qr(random.standard_normal((rows, len(singular_values))))
    right, _ = np.linalg.qr(random.standard_normal((columns, len(singular_values))))
    return (left * singular_values) @ right.T
