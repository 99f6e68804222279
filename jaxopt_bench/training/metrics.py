"""Metrics of training steps and of evaluations, built on the mergeable `clu.metrics`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import flax
import jax.numpy as jnp
from clu import metrics
from jaxtyping import Array, Bool, Float, Integer

from jaxopt_bench.problems import Metric

NEVER = 2**31 - 1  # later than any step


@flax.struct.dataclass
class FirstStep(metrics.Metric):
    """The first step at which an event happened; `NEVER` if it has not happened."""

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
        """The earlier of two steps."""
        return type(self)(step=jnp.minimum(self.step, other.step))

    def compute(self) -> Integer[Array, ""]:
        """The step."""
        return self.step


class StepMetrics(flax.struct.PyTreeNode):
    """The metrics of the training steps since the last report.

    Attributes:
      means: means over the steps, by name: of the loss and the problem's statistics, and of the norms of the gradient
        and the update; with a line search also of the number of evaluations of the loss and its gradient per step.
      learning_rate: the learning rate of the last step.
      diverged: the first step, counted from 1, whose loss, gradient or update was not finite. This includes an update
        so large that its norm overflows (from 1.8e19 on, in float32).
    """

    means: dict[str, Any]
    learning_rate: Any
    diverged: FirstStep

    @classmethod
    def empty(cls, names: Iterable[str]) -> Self:
        """The metrics of no steps.

        Args:
          names: the names of the averaged values.
        """
        means = {name: metrics.Average.empty() for name in names}
        return cls(means=means, learning_rate=metrics.LastValue.empty(), diverged=FirstStep.empty())

    @classmethod
    def of_step(
        cls, values: Mapping[str, Float[Array, ""]], learning_rate: Float[Array, ""], diverged: Integer[Array, ""]
    ) -> Self:
        """The metrics of one step: values to average, the learning rate, and the step if it diverged, or `NEVER`."""
        means = {name: metrics.Average.from_model_output(value) for name, value in values.items()}
        rate = metrics.LastValue.from_model_output(learning_rate)
        return cls(means=means, learning_rate=rate, diverged=FirstStep.from_model_output(diverged))

    def merge(self, other: Self) -> Self:
        """The metrics of the steps of both. The steps of `other` are later."""
        means = {name: mean.merge(other.means[name]) for name, mean in self.means.items()}
        rate = self.learning_rate.merge(other.learning_rate)
        return type(self)(means=means, learning_rate=rate, diverged=self.diverged.merge(other.diverged))

    @property
    def steps(self) -> Float[Array, ""]:
        """The number of steps."""
        return next(iter(self.means.values())).count

    def compute(self, measured: Sequence[Metric]) -> dict[str, Array]:
        """Returns the metrics by name, with the norms, the learning rate and the step of divergence.

        Args:
          measured: the metrics to compute; the means must include all their statistics.
        """
        means = {name: mean.compute() for name, mean in self.means.items()}
        others = {name: means[name] for name in (*NORMS, EVALUATIONS) if name in means}
        values = {metric.name: metric.value(means) for metric in measured}
        return {
            **values,
            **others,
            "learning_rate": self.learning_rate.compute(),
            "diverged": self.diverged.compute(),
        }


NORMS = ("grad_norm", "update_norm")
EVALUATIONS = "evaluations"
"""The number of evaluations of the loss and its gradient in a training step."""


class EvaluationMetrics(flax.struct.PyTreeNode):
    """Means of a problem's statistics over examples, by name; padding is masked."""

    means: dict[str, Any]

    @classmethod
    def empty(cls, names: Iterable[str]) -> Self:
        """The metrics of no examples; see `StepMetrics.empty`."""
        return cls(means={name: metrics.Average.empty() for name in names})

    @classmethod
    def of_batch(cls, statistics: Mapping[str, Float[Array, " batch"]], mask: Bool[Array, " batch"]) -> Self:
        """The metrics of a batch, without the examples whose mask is False."""
        return cls(means={n: metrics.Average.from_model_output(values, mask=mask) for n, values in statistics.items()})

    def merge(self, other: Self) -> Self:
        """The metrics of the examples of both."""
        return type(self)(means={name: mean.merge(other.means[name]) for name, mean in self.means.items()})

    def compute(self, measured: Sequence[Metric]) -> dict[str, Array]:
        """Returns the metrics by name."""
        means = {name: mean.compute() for name, mean in self.means.items()}
        return {metric.name: metric.value(means) for metric in measured}
