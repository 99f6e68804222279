"""Performance profiles of scores: the share of runs above each score."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxopt_bench.statistics.aggregates import Scores, check_scores
from jaxopt_bench.statistics.checks import check_finite, check_share
from jaxopt_bench.statistics.resampling import FEWEST_SEEDS, RESAMPLES, tail_share


@dataclasses.dataclass(frozen=True)
class ScoreProfile:
    """The share of runs with a score higher than τ, as a mean over workloads.

    Attributes:
      taus: the scores τ.
      shares: the share of runs above each τ.
      low, high: the ends of the pointwise interval of each share, for the noise of seeds; empty if some contender has
        fewer than 3 results on a workload.
    """

    taus: tuple[float, ...]
    shares: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


def score_profiles(scores: Scores, taus: Sequence[float], confidence: float = 0.95) -> dict[str, ScoreProfile]:
    """Returns the performance profile of each contender, with an interval for each τ from a stratified bootstrap.

    The number of runs above τ among the resampled runs of a workload has a binomial distribution, so it is drawn from
    this distribution.

    Args:
      scores: all contenders have the same workloads, with at least one result on each.
      taus: the scores τ.
      confidence: the confidence level of each interval.

    Returns:
      The profiles by contender, in the given order.

    Raises:
      UserError: if a result is missing or not finite.

    Source: Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice", section 4.2
    (run-score distributions).
    """
    check_share("confidence", confidence)
    check_finite("taus", taus)
    check_scores(scores)
    random = np.random.default_rng(0)
    known = np.asarray(taus, np.float64)
    counts = [len(values) for own in scores.values() for values in own.values()]
    profiles = {}
    for name, own in scores.items():
        each = [(np.asarray(values)[:, None] > known).mean(axis=0) for values in own.values()]
        shares = tuple(np.mean(each, axis=0).tolist())
        profiles[name] = ScoreProfile(tuple(known.tolist()), shares)
        if min(counts) >= FEWEST_SEEDS:
            tail = tail_share(confidence, min(counts), len(own) * (min(counts) - 1))
            sizes = [len(values) for values in own.values()]
            drawn = [
                random.binomial(n, share, size=(RESAMPLES, len(known))) / n
                for n, share in zip(sizes, each, strict=True)
            ]
            low, high = np.quantile(np.mean(drawn, axis=0), [tail, 1 - tail], axis=0)
            profiles[name] = ScoreProfile(tuple(known.tolist()), shares, tuple(low.tolist()), tuple(high.tolist()))
    return profiles
