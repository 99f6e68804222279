"""A problem without images, labels and classes: fitting a line to points."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxopt_bench.config import number_field
from jaxopt_bench.models.layers import LayersPath
from jaxopt_bench.problems import LOSS, Metric, Problem, ProblemConfig

RELATIVE_ERROR = Metric(
    name="relative_error",
    untrained=1.0,
    least=0.0,
    of=lambda means: jnp.sqrt(means[LOSS] / means["square"]),
    needs=(LOSS, "square"),
    resampling="ratio",
)
R2 = Metric(
    name="r2",
    words="R²",
    higher_is_better=True,
    untrained=0.0,
    greatest=1.0,
    of=lambda means: 1 - means[LOSS] / means["square"],
    needs=(LOSS, "square"),
    resampling="ratio",
)
ERROR = Metric(name=LOSS, words="mean squared error", least=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line(ProblemConfig):
    """Least squares. An untrained model predicts 0, which is nearly the mean of the targets."""

    metric_names: ClassVar[tuple[str, ...] | None] = ("relative_error", "r2", LOSS)

    features: int = number_field(3, at_least=1)
    noise: float = number_field(0.1, at_least=0)
    validation: int = number_field(32, at_least=0)
    test: int = number_field(32, at_least=0)

    @property
    def title(self) -> str:
        """The name of the problem's runs."""
        return "line"

    @property
    def validates(self) -> bool:
        """Whether there are validation examples."""
        return self.validation > 0

    def load(self, data_dir: pathlib.Path | None = None, layers: LayersPath = "plain") -> Problem:
        """Draws the points."""
        rng = np.random.default_rng(0)
        slope = rng.normal(size=self.features)

        def examples(count: int) -> tuple[np.ndarray, np.ndarray] | None:
            inputs = rng.normal(size=(count, self.features))
            targets = inputs @ slope + self.noise * rng.normal(size=count)
            return (inputs.astype(np.float32), targets.astype(np.float32)) if count else None

        def init(key: Key[Array, ""]) -> dict[str, Float[Array, " features"]]:
            return {"slope": jnp.zeros(self.features)}

        def loss(params, batch, key):
            inputs, targets = batch
            return (inputs @ params["slope"] - targets) ** 2, {"square": targets**2}

        train = examples(128)
        assert train is not None
        return Problem(
            train=train,
            validation=examples(self.validation),
            test=examples(self.test),
            init=init,
            loss=loss,
            metrics=(RELATIVE_ERROR, R2, ERROR),
            random=False,
        )
