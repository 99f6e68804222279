"""What is measured of steps and of evaluations, as mergeable `clu.metrics`.

Annotations are evaluated here, not postponed: a `Collection` reads its metrics from them.
"""

from typing import Any, Self

import flax
import jax.numpy as jnp
from clu import metrics
from jaxtyping import Array, Integer

NEVER = 2**31 - 1  # later than any step


@flax.struct.dataclass
class FirstStep(metrics.Metric):
    """The first step at which something happened; `NEVER` where it has not."""

    step: Integer[Array, ""]

    @classmethod
    def empty(cls) -> Self:
        """The metric of no steps."""
        return cls(step=jnp.array(NEVER, jnp.int32))

    @classmethod
    def from_model_output(cls, value: Integer[Array, ""], **_: Any) -> Self:
        """The metric of one step: its number, or `NEVER`."""
        return cls(step=value)

    def merge(self, other: Self) -> Self:
        """The earlier of two."""
        return type(self)(step=jnp.minimum(self.step, other.step))

    def compute(self) -> Integer[Array, ""]:
        """The step."""
        return self.step


@flax.struct.dataclass
class StepMetrics(metrics.Collection):
    """Means over steps since the last report; the learning rate is that of the last step.

    `diverged` is the first step, counted from 1, whose loss or update was not finite, an update so large that its norm
    overflows (from 1.8e19 on, in float32) among them.
    """

    loss: metrics.Average.from_output("loss")  # type: ignore[valid-type]
    accuracy: metrics.Average.from_output("accuracy")  # type: ignore[valid-type]
    grad_norm: metrics.Average.from_output("grad_norm")  # type: ignore[valid-type]
    update_norm: metrics.Average.from_output("update_norm")  # type: ignore[valid-type]
    learning_rate: metrics.LastValue.from_output("learning_rate")  # type: ignore[valid-type]
    diverged: FirstStep.from_output("diverged")  # type: ignore[valid-type]


@flax.struct.dataclass
class EvaluationMetrics(metrics.Collection):
    """Means over examples, padding masked."""

    loss: metrics.Average.from_output("loss")  # type: ignore[valid-type]
    accuracy: metrics.Average.from_output("accuracy")  # type: ignore[valid-type]
