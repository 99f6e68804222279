"""The names of measures that a study uses: to judge trials, in targets, and in claims."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jaxopt_bench.errors import UserError
from jaxopt_bench.measures import DERIVED, split_of
from jaxopt_bench.problems import LOSS
from jaxopt_bench.runs import SPLITS

JUDGING = ("validation", "train_clean")
"""Splits by which trials may be judged and targets be stated: those that trials measure at the ends of epochs."""
STEPS = "steps_to_target"
"""The value of `Study.select` by which the trial that reaches the target first wins."""
JUDGING_FORM = '"validation_<metric>" or "train_clean_<metric>", such as "validation_loss"'


def is_judging(measure: str) -> bool:
    """Returns whether a measure has the form of those that trials can be judged by."""
    found = split_of(measure)
    return found is not None and found[0] in JUDGING


def check_measure(part: str, name: str) -> None:
    """Checks that a measure has the form of those that runs have.

    Args:
      part: the class whose field it is, for error messages.
      name: of the measure.

    Raises:
      UserError: if it has not.
    """
    if name not in DERIVED and split_of(name) is None:
        forms = ", ".join(f'"{split}_<metric>"' for split in SPLITS)
        raise UserError(f"{part}.measure is {name!r}. Expected {forms}, {' or '.join(map(repr, DERIVED))}.")


def names_of_measures(metrics: Iterable[Sequence[str]]) -> list[str]:
    """Returns the names of all measures of problems with these metrics."""
    names = dict.fromkeys([LOSS, *(name for each in metrics for name in each)])
    return [*(f"{split}_{name}" for split in SPLITS for name in names), *DERIVED]
