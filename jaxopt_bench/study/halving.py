"""Successive halving: the numbers of trials at each rung, and the epochs up to which they are trained."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

HALVING = "halving"
"""The value of `Study.search` for successive halving."""


class Rung(NamedTuple):
    """A stage of a search.

    Attributes:
      trials: the number of trials that are trained.
      epochs: the epoch up to which they are trained, counted from the start of their training.
    """

    trials: int
    epochs: int


def rungs(trials: int, epochs: int, factor: int, most: int) -> tuple[Rung, ...]:
    """Returns the rungs of a successive halving.

    With n trials of R epochs and the factor η there are s + 1 rungs. Rung i = 0, …, s trains ⌊n/η^i⌋ trials up to epoch
    ⌊R/η^(s − i)⌋. s is as large as n, R and `most` allow: η^s ≤ n, η^s ≤ R and s < `most`.

    Args:
      trials: n, at least 1.
      epochs: R, at least 1; the trials of the last rung are trained to the end.
      factor: η, at least 2.
      most: the maximum number of rungs, at least 1.

    Returns:
      The rungs, the first one first. Their epochs increase.

    Source: Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization", with
    the numbers of a bracket in Algorithm 1 of Li et al. 2018, "Hyperband: a novel bandit-based approach to
    hyperparameter optimization", and whole epochs.
    """
    last = 0
    while factor ** (last + 1) <= min(trials, epochs) and last + 1 < most:
        last += 1
    return tuple(Rung(trials // factor**i, epochs // factor ** (last - i)) for i in range(last + 1))


def training_epochs(stages: Sequence[Rung], first: int = 0) -> int:
    """Returns the total number of epochs from the rung with the index `first` on, if no trial diverges.

    A promoted trial continues from the epoch that it has reached.
    """
    reached = [0, *(rung.epochs for rung in stages)]
    pairs = zip(stages, itertools.pairwise(reached), strict=True)
    return sum(rung.trials * (after - before) for rung, (before, after) in list(pairs)[first:])


@functools.cache
def most_trials(total_epochs: int, epochs: int, factor: int, most: int, limit: int) -> int:
    """Returns the largest number of trials whose halving trains at most `total_epochs` epochs in total.

    More trials can need fewer epochs, because they can have one more rung.

    Args:
      total_epochs: the budget.
      epochs: see `rungs`; the same holds for `factor` and `most`.
      limit: the largest number to return.
    """
    for trials in range(min(limit, total_epochs), 0, -1):
        if training_epochs(rungs(trials, epochs, factor, most)) <= total_epochs:
            return trials
    return 0
