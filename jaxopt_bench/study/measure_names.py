"""The names of measures in a study: for judging trials, in targets, and in claims."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jaxopt_bench.measures import DERIVED, split_of
from jaxopt_bench.problems import LOSS
from jaxopt_bench.runs import SPLITS

JUDGING = ("validation", "train_clean")
"""The splits that can judge trials and have targets: trials are evaluated on them at the ends of epochs."""
STEPS = "steps_to_target"
"""A value of `Study.select`. With it, the trial that reaches the target in the fewest steps wins."""
JUDGING_FORM = '"validation_<metric>" or "train_clean_<metric>", such as "validation_loss"'


def is_judging(measure: str) -> bool:
    """Returns whether the name of a measure has the form of measures that can judge trials."""
    found = split_of(measure)
    return found is not None and found[0] in JUDGING


def list_measure_names(metrics: Iterable[Sequence[str]]) -> list[str]:
    """Returns the names of all measures of problems with these metrics."""
    names = dict.fromkeys([LOSS, *(name for each in metrics for name in each)])
    return [*(f"{split}_{name}" for split in SPLITS for name in names), *DERIVED]
