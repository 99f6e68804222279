"""A measure in the form that charts show: percentages in place of fractions, and in some curves the error."""

from __future__ import annotations

import dataclasses

import polars as pl

from jaxopt_bench.measures import Measure, split_of
from jaxopt_bench.problems import Metric


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A metric of a split in the form that a chart shows.

    Attributes:
      measure: the measure, such as the test accuracy.
      as_error: whether the chart shows 100% − value.
    """

    measure: Measure
    as_error: bool = False

    @property
    def name(self) -> str:
        """Its name in records: "test_accuracy"."""
        return self.measure.name

    @property
    def metric(self) -> Metric:
        """The metric, such as the accuracy."""
        return self.measure.metric

    @property
    def split(self) -> str:
        """The split, such as "test"."""
        found = split_of(self.measure.name)
        assert found is not None, "a chart shows metrics of splits"
        return found[0]

    @property
    def words(self) -> str:
        """The name in words: "test accuracy" or "test error"."""
        if not self.as_error:
            return self.measure.words
        prefix = self.measure.words.removesuffix(self.metric.words)
        return f"{prefix}{self.metric.complement or f'error (100% − {self.metric.words})'}"

    @property
    def title(self) -> str:
        """The name in words, with the unit: "test accuracy (%)"."""
        return f"{self.words} ({self.metric.unit})" if self.metric.unit else self.words

    @property
    def higher_is_better(self) -> bool:
        """Whether higher values in the chart are better."""
        return self.metric.higher_is_better and not self.as_error

    @property
    def limits(self) -> tuple[float | None, float | None]:
        """The smallest and the largest possible value, in the unit of the chart; None if there is no limit."""
        ends = (self.metric.least, self.metric.greatest)
        if self.as_error:
            greatest, least = (None if end is None else 100 * (1 - end) for end in ends)
        else:
            least, greatest = (None if end is None else self.metric.scale * end for end in ends)
        return least, greatest

    def values(self, column: str | None = None) -> pl.Expr:
        """Returns the values of a column in the unit of the chart: fractions become percentages.

        Args:
          column: the column; the measure's own name if it is None.
        """
        values = pl.col(self.name if column is None else column)
        return 100 * (1 - values) if self.as_error else self.metric.scale * values


def as_curve(measure: Measure) -> Quantity:
    """Returns a measure in the form that curves show: an error if it is a percentage and higher values are better.

    Differences are easier to see between errors near zero than between accuracies near 100%.
    """
    metric = measure.metric
    return Quantity(measure, as_error=metric.percent and metric.higher_is_better and metric.greatest == 1)


def may_be_logarithmic(metric: Metric) -> bool:
    """Returns whether a logarithmic axis is suitable: not for percentages, nor for metrics with an upper limit (R²)."""
    return not metric.percent and metric.greatest is None
