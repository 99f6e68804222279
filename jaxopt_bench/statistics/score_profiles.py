"""Performance profiles of scores: the share of runs above each score."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxopt_bench.statistics.aggregates import Scores, check_scores
from jaxopt_bench.statistics.checks import check_finite


@dataclasses.dataclass(frozen=True)
class ScoreProfile:
    """The share of runs with a score higher than τ, as a mean over workloads.

    Attributes:
      taus: the scores τ.
      shares: the share of runs above each τ.
    """

    taus: tuple[float, ...]
    shares: tuple[float, ...]


def score_profiles(scores: Scores, taus: Sequence[float]) -> dict[str, ScoreProfile]:
    """Returns the performance profile of each contender.

    Args:
      scores: all contenders have the same workloads, with at least one result on each.
      taus: the scores τ.

    Returns:
      The profiles by contender, in the given order.

    Raises:
      UserError: if a result is missing or not finite.

    Source: Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice", section 4.2
    (run-score distributions).
    """
    check_finite("taus", taus)
    check_scores(scores)
    known = np.asarray(taus, np.float64)
    profiles = {}
    for name, own in scores.items():
        each = [(np.asarray(values)[:, None] > known).mean(axis=0) for values in own.values()]
        profiles[name] = ScoreProfile(tuple(known.tolist()), tuple(np.mean(each, axis=0).tolist()))
    return profiles
