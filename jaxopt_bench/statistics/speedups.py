"""The number of steps that a contender needs to reach the final result of a reference."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics.aggregates import Aggregate
from jaxopt_bench.statistics.checks import CONFIDENCE, check_finite
from jaxopt_bench.statistics.resampling import (
    FEWEST_SEEDS,
    FEWEST_WORKLOADS,
    RESAMPLES,
    percentile_interval,
    tail_share,
)


@dataclasses.dataclass(frozen=True)
class SpeedUp:
    """The share of the reference's steps that a contender needs to reach the reference's final result.

    Attributes:
      share: the share of the steps; 0.5 means twice as fast, inf means that the result is not reached.
      interval: the interval for the noise of the seeds of both. Its upper end is inf if it is uncertain whether the
        result is reached at all. None if one of the two has fewer than 3 results.
      reaching: the share of the contender's runs that reach the result at the end of an epoch.
      draws: the shares of the bootstrap draws. `interval` consists of their percentiles. Empty if there is no interval.
    """

    share: float
    interval: tuple[float, float] | None
    reaching: float
    draws: tuple[float, ...] = dataclasses.field(repr=False, default=())


def speed_up(
    steps: Sequence[int],
    curves: Float[np.ndarray, "runs epochs"],
    reference: Sequence[float],
    *,
    higher: bool,
) -> SpeedUp:
    """Returns the share of the reference's steps that a contender needs to reach the reference's final result.

    The target is the mean over the reference's runs at their last epoch. A contender reaches it when the mean over its
    runs reaches it. So both are estimates of the expected result, a single lucky run is not enough, and a contender
    equal to the reference reaches the target at the end. A median over runs that each reach the target or not would be
    undefined for such a contender, because about half of its runs end below the mean.

    The result is measured at the ends of epochs. The step is interpolated linearly between the end of the first epoch
    in which the mean reaches the target and the end of the epoch before. Curves of losses are mostly convex and curves
    of accuracies mostly concave, so the interpolated step tends to be too late rather than too early. With few epochs
    it is much more accurate than the end of the epoch. Before the end of the first epoch nothing is measured, so the
    step is never earlier.

    If the mean never reaches the target within the run, the share is infinite (it is censored: with more steps the
    target might be reached). The interval consists of percentiles of 2,000 draws of the runs of both, with replacement,
    expanded for small samples; see `tail_share`.

    Args:
      steps: the steps at the ends of the epochs, ascending. Both were trained for the same number of steps.
      curves: the results of the contender's runs at these steps, all finite.
      reference: the results of the reference's runs at the last step.
      higher: whether higher values are better (such as accuracies) or lower values (such as losses).

    Raises:
      UserError: if there are no runs, a value is not finite, or the steps do not match the curves.

    Source: Metz et al. 2022, "VeLO: Training versatile learned optimizers by scaling up", figure 1 (steps for the same
    loss, in the other direction: there the baseline is trained for longer); Efron and Tibshirani 1993, "An introduction
    to the bootstrap", chapter 8 (two samples).
    """
    check_finite("reference", reference)
    if curves.ndim != 2 or curves.shape[1] != len(steps) or not curves.size:
        raise UserError(f"curves has the shape {curves.shape}. Expected at least one run with {len(steps)} values.")
    check_finite("curves", curves.ravel().tolist())
    sign = -1.0 if higher else 1.0
    losses, finals = sign * np.asarray(curves, np.float64), sign * np.asarray(reference, np.float64)
    share = float(_shares(steps, losses.mean(axis=0)[None], finals.mean()[None])[0])
    reaching = float((losses <= finals.mean()).any(axis=1).mean())
    fewest = min(len(losses), len(finals))
    if fewest < FEWEST_SEEDS:
        return SpeedUp(share, None, reaching)
    random = np.random.default_rng(0)
    again = losses[random.integers(len(losses), size=(RESAMPLES, len(losses)))].mean(axis=1)
    targets = finals[random.integers(len(finals), size=(RESAMPLES, len(finals)))].mean(axis=1)
    draws = _shares(steps, again, targets)
    low, high = percentile_interval(draws, tail_share(fewest, fewest - 1))
    return SpeedUp(share, (min(low, share), max(high, share)), reaching, tuple(draws.tolist()))


def _shares(
    steps: Sequence[int], losses: Float[np.ndarray, "draws epochs"], targets: Float[np.ndarray, " draws"]
) -> Float[np.ndarray, " draws"]:
    """Returns the share of the last step at which each curve is first at most its target; inf if it never is."""
    known = np.asarray(steps, np.float64) / steps[-1]
    each = np.arange(len(losses))
    reached = losses <= targets[:, None]
    first = reached.argmax(axis=1)
    before = np.maximum(first - 1, 0)
    fall = losses[each, before] - losses[each, first]
    part = np.divide(losses[each, before] - targets, fall, out=np.zeros(len(each)), where=(first > 0) & (fall > 0))
    found = np.where(first > 0, known[before] + part * (known[first] - known[before]), known[0])
    return np.where(reached.any(axis=1), found, math.inf)


def median_speed_up(speed_ups: Mapping[str, SpeedUp]) -> Aggregate:
    """Returns the median over workloads of the shares of steps; inf if half of the targets or more are not reached.

    A mean would be infinite as soon as the target of one workload is not reached. For an even number of workloads, the
    median is the mean of the middle two, so it is finite only if more than half of the targets are reached.

    Args:
      speed_ups: the speed-ups of a contender, by workload.

    Raises:
      UserError: if there are none.
    """
    if not speed_ups:
        raise UserError("speed_ups is empty. Expected at least one workload.")
    shares = np.array([found.share for found in speed_ups.values()])
    value = statistics.median(shares.tolist())
    random = np.random.default_rng(0)
    over_seeds = over_workloads = None
    if all(found.draws for found in speed_ups.values()):
        draws = np.median(np.array([found.draws for found in speed_ups.values()]), axis=0)
        low, high = percentile_interval(draws, (1 - CONFIDENCE) / 2)
        over_seeds = (min(low, value), max(high, value))
    if len(shares) >= FEWEST_WORKLOADS:
        drawn = shares[random.integers(len(shares), size=(RESAMPLES, len(shares)))]
        over_workloads = percentile_interval(np.median(drawn, axis=1), tail_share(len(shares), len(shares) - 1))
    return Aggregate(value, over_seeds, over_workloads)
