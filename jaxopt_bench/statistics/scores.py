"""AlgoPerf's scores and their dependence on the seeds: a bootstrap over the runs."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics.checks import CONFIDENCE
from jaxopt_bench.statistics.intervals import Estimate
from jaxopt_bench.statistics.profiles import CREDITED, algoperf_score, performance_profile

FEWEST_RESULTS = 3
"""The smallest number of results of an optimizer on a workload for a bootstrap."""
RESAMPLES = 4_000


@dataclasses.dataclass(frozen=True)
class Scores:
    """AlgoPerf's scores of several optimizers, with intervals for the noise of the seeds.

    Attributes:
      estimates: the score of each optimizer, with an interval for the expected score of such a study with other seeds.
        `count` is the smallest number of results of any optimizer on any workload. If it is less than `FEWEST_RESULTS`,
        there are no intervals.
      margin: if all optimizers are equally fast, the probability that the scores of at least one pair differ by more
        than the margin is 5%; None if there are no intervals.
    """

    estimates: Mapping[str, Estimate]
    margin: float | None


def bootstrap_scores(times: Mapping[str, Mapping[str, Sequence[float]]]) -> Scores:
    """Returns AlgoPerf's scores with intervals that cover the noise of seeds.

    The time of an optimizer on a workload is the median of its results. The results of each optimizer on each workload
    are resampled with replacement, and all scores are computed again. This is repeated 4,000 times. The interval of a
    score contains the middle 95% of these scores, after a shift that makes their mean equal to the
    score. The shift is necessary because a score is a ratio to the fastest optimizer, so noise lowers it, and resampled
    results contain noise twice.

    The interval is for the expected score of a study with the same number of results. It does not cover the choice of
    workloads. It contains the expected score in 92 to 99% of simulated studies of 3 workloads with 3, 5 or 8 results,
    times with a lognormal deviation of 0.1 to 0.3, and 2 to 25 optimizers. In rare cases the coverage is lower (84%):
    if an optimizer is the fastest in almost all draws but not in all.

    The margin is the 95% quantile of the difference between the highest and the lowest shifted score,
    as in Tukey's range test. In these simulations, the scores of equally fast optimizers differ by more than the margin
    in at most 5.5% of studies.

    Args:
      times: for each optimizer and workload, the time to the target of each result (such as each seed), in seconds or
        steps; inf if it was not reached.

    Returns:
      The scores. The same times give the same intervals, because the seed of the draws is fixed.

    Raises:
      UserError: if an optimizer has no results on a workload, or a time is not positive; see also
        `performance_profile`.

    Source: Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice", section 4.1
    (stratified bootstrap); Tukey 1949, "Comparing individual means in the analysis of variance".
    """
    for optimizer, by_workload in times.items():
        for workload, results in by_workload.items():
            if not results or not all(time > 0 for time in results):
                raise UserError(
                    f"times: {optimizer!r} has {list(results)} on {workload!r}. Expected at least one time, all > 0."
                )
    medians = {o: {w: statistics.median(results) for w, results in by.items()} for o, by in times.items()}
    scores = {name: algoperf_score(profile) for name, profile in performance_profile(medians).items()}
    count = min(len(results) for by_workload in times.values() for results in by_workload.values())
    if count < FEWEST_RESULTS:
        return Scores({name: Estimate(score, None, count) for name, score in scores.items()}, None)
    drawn = _drawn_scores(times)
    noise = drawn - drawn.mean(axis=0)
    tails = (1 - CONFIDENCE) / 2
    ends = np.quantile(noise, [tails, 1 - tails], axis=0).T.tolist()
    estimates = {
        name: Estimate(score, (min(max(score + low, 0.0), score), max(min(score + high, 1.0), score)), count)
        for (name, score), (low, high) in zip(scores.items(), ends, strict=True)
    }
    return Scores(estimates, float(np.quantile(np.ptp(noise, axis=1), CONFIDENCE)))


def _drawn_scores(times: Mapping[str, Mapping[str, Sequence[float]]]) -> np.ndarray:
    """Returns the scores of each draw: [draws, optimizers]."""
    random = np.random.default_rng(0)

    def medians(results: Sequence[float]) -> np.ndarray:
        values = np.asarray(results, np.float64)
        return np.median(values[random.integers(len(values), size=(RESAMPLES, len(values)))], axis=1)

    workloads = next(iter(times.values()))
    return _scores(np.stack([[medians(by_workload[w]) for w in workloads] for by_workload in times.values()]))


def _scores(medians: np.ndarray) -> np.ndarray:
    """Returns scores [draws, optimizers] for times [optimizers, workloads, draws].

    The integral of a performance profile is the mean of the contributions of the workloads. The contribution is 1 if
    the optimizer is the fastest, and decreases to 0 at `CREDITED` times the fastest time.
    """
    fastest = medians.min(axis=0)
    ratios = np.divide(medians, fastest, out=np.full_like(medians, math.inf), where=medians < math.inf)
    return np.asarray((CREDITED - np.minimum(ratios, CREDITED)).mean(axis=1).T / (CREDITED - 1))
