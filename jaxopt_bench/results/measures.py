"""What a run is measured by, by name."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence

from jaxopt_bench.results.statistics import Domain

Curves = Mapping[str, Sequence[float | None]]
"""What a run measured at the ends of its epochs, by `{split}_{loss,accuracy}`; None where it was not finite."""


@dataclasses.dataclass(frozen=True)
class Measure:
    """Something that can be said of a run as one number.

    Attributes:
      words: what it is called.
      higher_is_better: whether more of it is better.
      percent: whether people read it as a percentage.
      of_curves: computes it from the run's curves; None for what stands in its summary.
    """

    words: str
    higher_is_better: bool
    percent: bool = False
    of_curves: Callable[[Curves], float | None] | None = None


def domain_of(measure: str) -> Domain:
    """Returns what the values of a measure can be: an accuracy is a fraction, and nothing else is negative."""
    return "fraction" if measure.endswith("accuracy") else "positive"


def mean_clean_loss(curves: Curves) -> float | None:
    """Returns the mean over epochs of the clean training loss: the lower, the faster training went."""
    losses = curves.get("train_clean_loss", ())
    known = [loss for loss in losses if loss is not None]
    return statistics.fmean(known) if known and len(known) == len(losses) else None


def test_error_roughness(curves: Curves) -> float | None:
    """Returns how rough the curve of the test error is: the mean size of its second differences over epochs.

    A straight line has none, whatever its slope.
    """
    accuracies = [a for a in curves.get("test_accuracy", ()) if a is not None]
    triples = list(zip(accuracies, accuracies[1:], accuracies[2:], strict=False))
    return statistics.fmean(abs(a - 2 * b + c) for a, b, c in triples) if triples else None


MEASURES: Mapping[str, Measure] = {
    "test_accuracy": Measure("test accuracy", True, percent=True),
    "test_loss": Measure("test loss", False),
    "validation_accuracy": Measure("validation accuracy", True, percent=True),
    "validation_loss": Measure("validation loss", False),
    "train_clean_accuracy": Measure("clean training accuracy", True, percent=True),
    "train_clean_loss": Measure("clean training loss", False),
    "train_loss": Measure("training loss", False),
    "mean_clean_loss": Measure("clean training loss, mean over epochs", False, of_curves=mean_clean_loss),
    "test_error_roughness": Measure(
        "roughness of the test error's curve", False, percent=True, of_curves=test_error_roughness
    ),
}
"""All measures by name. Those without a function stand in a run's summary under their names."""
