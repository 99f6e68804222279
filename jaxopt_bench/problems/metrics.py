"""Metrics: measures of the quality of a model, and their display. This module does not depend on the examples."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np

from jaxopt_bench.errors import UserError, shortened

LOSS = "loss"
"""The metric that every problem has. Training minimises it."""

Statistics = Mapping[str, Any]
"""Means over examples, by name: numbers, or arrays with an entry for each run."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """A measure of the quality of a model. It is a function of means over examples.

    Attributes:
      name: for example "accuracy"; the loss has the name "loss". It consists of lower-case letters, digits and
        underscores.
      words: the name in texts; by default `name` with spaces.
      complement: the name in texts of 1 − the metric, such as "error" for the accuracy; empty if it has no name.
      higher_is_better: whether higher values are better.
      unit: "%" for fractions that are displayed as percentages, or for example "nats"; empty for a plain number.
      untrained: the value for an untrained model, in the metric's own unit (a fraction for "%"). None: it is measured
        with initial parameters before a run begins.
      least: the least possible value; None if there is none.
      greatest: the greatest possible value; None if there is none.
      resampling: whether the examples of a split are a sample of a larger population. "examples": they are a sample and
        the metric is a mean over them. "ratio": they are a sample and the metric is another function of means over
        them. "none": they are the whole population, such as the points of a grid, so the metric is exact. An example is
        an element of the first axis of a split, such as an image, a row or a sequence.
      of: computes the metric from the means of the statistics in `needs`. None: the metric is the mean of the statistic
        with its name.
      needs: the statistics that `of` reads.

    Raises:
      UserError: if the name is reserved or not such a word, or only one of `of` and `needs` is given.
    """

    name: str
    words: str = ""
    complement: str = ""
    higher_is_better: bool = False
    unit: str = ""
    untrained: float | None = None
    least: float | None = None
    greatest: float | None = None
    resampling: Literal["examples", "ratio", "none"] = "examples"
    of: Callable[[Statistics], Any] | None = dataclasses.field(default=None, compare=False)
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.name.isidentifier() and self.name == self.name.lower()):
            raise UserError(
                f"Metric.name is {self.name!r}. Expected a word of lower-case letters, digits and underscores."
            )
        if self.name in RESERVED or self.name.startswith("clean_"):  # train_clean_… is a split's metric
            raise UserError(f"Metric.name is {self.name!r}. Expected another name: this one is a field of the records.")
        if (self.of is None) != (not self.needs):
            raise UserError(
                f"the metric {self.name}: needs is {self.needs!r}. Expected the names of the statistics that `of` "
                "reads if there is such a function, and () if there is none."
            )
        if not self.words:
            object.__setattr__(self, "words", self.name.replace("_", " "))

    @property
    def statistics(self) -> tuple[str, ...]:
        """The statistics of examples from which the metric is computed."""
        return self.needs or (self.name,)

    @property
    def percent(self) -> bool:
        """Whether its values are fractions that are displayed as percentages."""
        return self.unit == "%"

    @property
    def scale(self) -> float:
        """The factor of displayed values: 100 for percentages, else 1."""
        return 100.0 if self.percent else 1.0

    def value(self, means: Statistics) -> Any:
        """Returns the metric.

        Args:
          means: the means over examples of the statistics that it needs; numbers or arrays.
        """
        return means[self.name] if self.of is None else self.of(means)

    def contributions(self, statistics: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Returns the contribution of each example to the metric. The metric is the mean of the contributions.

        The variance of a metric over samples of n examples is the variance of the contributions divided by n. If the
        metric is a mean over examples, the contributions are the statistics. For another function of means, they are
        the pseudo-values of the jackknife, n · m − (n − 1) · mᵢ, where m is the metric and mᵢ is the metric without
        example i. Their mean is m up to an error of the order 1/n.

        Args:
          statistics: the statistics of each example [examples], by name.

        Returns:
          float64 [examples]; None if the examples are not a sample, or there are fewer than 2.

        Source: Tukey 1958, "Bias and confidence in not-quite large samples"; Efron and Tibshirani 1993, "An
        introduction to the bootstrap", chapter 11.
        """
        own = {name: np.asarray(statistics[name], np.float64) for name in self.statistics}
        count = len(next(iter(own.values())))
        if self.resampling == "none" or count < 2:
            return None
        if self.of is None:
            return own[self.name]
        means = {name: values.mean() for name, values in own.items()}
        without = {name: means[name] + (means[name] - values) / (count - 1) for name, values in own.items()}
        all_but_one = np.asarray(self.value(without), np.float64)
        return count * float(self.value(means)) - (count - 1) * all_but_one

    def format(self, value: float | None) -> str:
        """Returns a value as text for display: "97.67%" or "0.1234"; a dash for None."""
        if value is None or math.isnan(value):
            return "–"
        return f"{100 * value:.2f}%" if self.percent else _number(value)

    def title(self, split: str = "") -> str:
        """Returns the title of an axis or a column, with the unit: "test accuracy (%)"."""
        words = f"{split} {self.words}".strip()
        return f"{words} ({self.unit})" if self.unit else words

    def to_json(self) -> dict[str, Any]:
        """Returns the fields that are recorded: all except `of` and `needs`."""
        left_out = ("of", "needs")
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in left_out}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], where: str = "metric") -> Self:
        """Returns the metric that `to_json` wrote. It can be displayed, but it cannot be computed.

        Raises:
          UserError: if a field is missing or of another type.
        """
        kinds = {"name": str, "words": str, "complement": str, "higher_is_better": bool, "unit": str, "resampling": str}
        numbers = ("untrained", "least", "greatest")
        sound = (
            isinstance(values, Mapping)
            and values.keys() == {*kinds, *numbers}
            and all(isinstance(values[name], kind) for name, kind in kinds.items())
            and all(values[name] is None or type(values[name]) in (int, float) for name in numbers)
        )
        if not sound:
            raise UserError(f"{where} is damaged: {shortened(values)}. Expected an object with the fields of a metric.")
        return cls(**values)


RESERVED = (
    "path", "step", "steps", "epoch", "split", "seconds", "grad_norm", "update_norm", "learning_rate", "diverged",
    "examples_per_second", "evaluations",
)  # fmt: skip
"""The names of other fields of the records. A metric must not have one of these names."""


def metric_named(metrics: Sequence[Metric], name: str) -> Metric | None:
    """Returns the metric with this name; None if there is none."""
    return next((metric for metric in metrics if metric.name == name), None)


def _number(value: float) -> str:
    """Returns a number with four digits after the point, or fewer from 10 on; tiny and huge ones like 1.234e-05."""
    size = abs(value)
    if value != 0 and not 1e-3 <= size < 1e6:
        return f"{value:.4g}"
    return f"{value:.{4 if size < 10 else max(0, 4 - math.floor(math.log10(size)))}f}"
