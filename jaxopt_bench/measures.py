"""The measures of runs, by name: each metric on each split, and numbers that are computed from curves."""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections.abc import Callable, Mapping, Sequence

from jaxopt_bench.problems import LOSS, Metric, metric_named
from jaxopt_bench.runs import SPLITS
from jaxopt_bench.statistics import Estimate, complete_mean, estimate

SPLIT_WORDS = {"train": "training", "train_clean": "clean training", "validation": "validation", "test": "test"}
"""The name of each split in words.

"Clean training" is the split of the first 5,000 training examples, evaluated without augmentation and dropout.
"""

Curves = Mapping[str, Sequence[float | None]]
"""The values of a run at the ends of its epochs, by `{split}_{metric}`; None for a value that was not finite."""


@dataclasses.dataclass(frozen=True)
class Measure:
    """A number that describes a run, such as its test accuracy at the last epoch.

    Attributes:
      name: `{split}_{metric}`, or one of `DERIVED`.
      metric: its direction, unit, bounds, and the value of an untrained model.
      words: the name in texts, such as "test accuracy".
      of_curves: computes it from the run's curves; None if it is in the run's summary.
    """

    name: str
    metric: Metric
    words: str
    of_curves: Callable[[Curves], float | None] | None = None

    @property
    def higher_is_better(self) -> bool:
        """Whether higher values are better."""
        return self.metric.higher_is_better

    @property
    def title(self) -> str:
        """The title of an axis or a column, with the unit: "test accuracy (%)"."""
        return f"{self.words} ({self.metric.unit})" if self.metric.unit else self.words

    def estimate(self, values: Sequence[float], least_deviation: float = 0.0) -> Estimate:
        """Returns the mean of independent values and its 95% interval within the bounds of the metric.

        Args:
          values: the values in the metric's own unit.
          least_deviation: a lower bound for their standard deviation; see `statistics.least_deviation`.
        """
        least, greatest = self.metric.least, self.metric.greatest
        return estimate(values, least=least, greatest=greatest, least_deviation=least_deviation)

    def format_number(self, value: float, sign: str = "") -> str:
        """Returns a value as text without its unit: "97.67" for a percentage, otherwise in the form of `Metric.format`.

        Args:
          value: the value in the metric's own unit (a fraction for "%").
          sign: "+" to write positive numbers with a sign, too.
        """
        if self.metric.percent:
            return f"{100 * value:{sign}.2f}"
        return f"{'+' if sign and value >= 0 else ''}{self.metric.format(value)}"

    def format(self, value: float) -> str:
        """Returns a value with its unit: "97.67%", "0.1234 nats", "0.1234"."""
        return f"{self.format_number(value)}%" if self.metric.percent else self._with_unit(self.format_number(value))

    def format_difference(self, value: float, sign: str = "") -> str:
        """Returns a difference of values with its unit: "0.53 points", "0.0210 nats", "0.0210"; see `format_number`."""
        number = self.format_number(value, sign)
        return f"{number} points" if self.metric.percent else self._with_unit(number)

    def format_interval(self, found: Estimate, sign: str = "") -> str:
        """Returns the ends of an interval without the unit: "97.35 to 98.00"; see `format_number`."""
        return f"{self.format_number(found.low, sign)} to {self.format_number(found.high, sign)}"

    def _with_unit(self, number: str) -> str:
        return f"{number} {self.metric.unit}" if self.metric.unit else number


def mean_clean_loss(curves: Curves) -> float | None:
    """Returns the mean over epochs of the clean training loss. A lower mean means faster training."""
    return complete_mean(curves.get("train_clean_loss", ()))


ROUGHNESS_EPOCHS = 20
"""The smallest number of epochs for which a curve's roughness can be distinguished from its curvature."""


def roughness(values: Sequence[float | None]) -> float | None:
    """Returns the roughness of a curve: the mean absolute second difference over epochs.

    The roughness of a straight line is 0 for any slope. So an accuracy and its error have the same roughness. A smooth
    curve that bends has some roughness too: if an accuracy rises exponentially by 90 points, it is up to 33 points over
    3 epochs, and less than 2 from 20 epochs on.

    Returns:
      The roughness; None for fewer than 20 finite values. Values that are None are left out.
    """
    known = [value for value in values if value is not None]
    if len(known) < ROUGHNESS_EPOCHS:
        return None
    return statistics.fmean(abs(a - 2 * b + c) for a, b, c in zip(known, known[1:], known[2:], strict=False))


ROUGHNESS = "test_error_roughness"
DERIVED = ("mean_clean_loss", ROUGHNESS)
"""Measures that are computed from curves: the mean over epochs of the clean training loss, and the roughness of the
headline metric's curve on the test split."""


@functools.cache
def measures(metrics: tuple[Metric, ...]) -> Mapping[str, Measure]:
    """Returns all measures of runs by name.

    Args:
      metrics: the metrics of the runs, the headline first, including the loss.
    """
    loss, headline = metric_named(metrics, LOSS), metrics[0]
    assert loss is not None, "every problem has a loss"
    curve = f"test_{headline.name}"
    found = [
        *(Measure(f"{s}_{m.name}", m, f"{SPLIT_WORDS[s]} {m.words}") for s in SPLITS for m in metrics),
        Measure("mean_clean_loss", loss, f"clean training {loss.words}, mean over epochs", mean_clean_loss),
        Measure(
            ROUGHNESS,
            Metric(name="roughness", unit=headline.unit, least=0.0),
            f"roughness of the test {headline.words} curve",
            lambda curves: roughness(curves.get(curve, ())),
        ),
    ]
    return {measure.name: measure for measure in found}


def split_of(measure: str) -> tuple[str, str] | None:
    """Returns the split and the metric in a name of the form `{split}_{metric}`; None if it has another form."""
    for split in sorted(SPLITS, key=len, reverse=True):  # "train_clean" before "train"
        if measure.startswith(f"{split}_") and len(measure) > len(split) + 1:
            return split, measure[len(split) + 1 :]
    return None
