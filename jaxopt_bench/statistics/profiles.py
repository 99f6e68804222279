"""The time to a target, and performance profiles of several optimizers over many workloads."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics.checks import check_finite, check_lengths

CREDITED = 4.0
"""The ratio to the fastest time from which on AlgoPerf gives no credit."""


def steps_to_target(steps: Sequence[int], values: Sequence[float | None], target: float, *, higher: bool) -> int | None:
    """Returns the first step at which a measured value reaches the target.

    Args:
      steps: the steps of the measurements, in any order.
      values: the measured value at each step. None, or a value that is not finite, does not reach the target.
      target: the target value, in the same unit.
      higher: whether higher values are better (such as accuracies) or lower values (such as losses).

    Returns:
      The step, or None if the target was not reached.

    Raises:
      UserError: if the lists have different lengths, or the target is not finite.
    """
    check_lengths(steps=steps, values=values)
    check_finite("target", [target])
    pairs = ((step, value) for step, value in zip(steps, values, strict=True) if value is not None)
    reached = (s for s, value in pairs if math.isfinite(value) and (value >= target if higher else value <= target))
    return min(reached, default=None)


@dataclasses.dataclass(frozen=True)
class Profile:
    """A step function: the share of workloads on which an optimizer takes at most τ times as long as the fastest.

    Attributes:
      taus: the positions of its steps, ascending, from 1 on.
      shares: the value of the function from each position up to the next one.
    """

    taus: tuple[float, ...]
    shares: tuple[float, ...]

    def at(self, tau: float) -> float:
        """Returns ρ(τ); 0 below τ = 1."""
        index = bisect.bisect_right(self.taus, tau)
        return self.shares[index - 1] if index else 0.0


def performance_profile(times: Mapping[str, Mapping[str, float | None]]) -> dict[str, Profile]:
    """Returns the performance profile of each optimizer.

    Each time is divided by the shortest time of all optimizers on the same workload. ρ(τ) is the share of all workloads
    on which this ratio is at most τ. If the target was not reached, the ratio is infinite. So a workload on which no
    optimizer reaches the target gives no credit, but it counts as one of all workloads. The profile depends on the
    compared optimizers, because another optimizer changes the ratios.

    Args:
      times: the time to the target by optimizer and workload, in seconds or steps; None or inf if it was not reached.

    Returns:
      A profile for each optimizer, in the given order.

    Raises:
      UserError: if there are no times, optimizers have different workloads, or a time is not positive.

    Source: Dolan and Moré 2002, "Benchmarking optimization software with performance profiles", section 2.
    """
    workloads = _common_workloads(times)
    solved = {name: _solved(name, by_workload) for name, by_workload in times.items()}
    fastest = {w: min((by[w] for by in solved.values() if w in by), default=math.inf) for w in workloads}
    return {
        name: _profile([time / fastest[workload] for workload, time in by.items()], len(workloads))
        for name, by in solved.items()
    }


def _common_workloads(times: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """Returns the workloads. All optimizers must have the same workloads."""
    workloads = list(next(iter(times.values()), {}))
    if not workloads:
        raise UserError("times is empty. Expected: at least one optimizer with at least one workload.")
    for name, by_workload in times.items():
        odd = sorted(set(by_workload) ^ set(workloads))
        if odd:
            raise UserError(
                f"times: not every optimizer has the workload {odd[0]!r}, as {name!r} shows. Expected: the same "
                "workloads for all, None where a target was not reached."
            )
    return workloads


def _solved(name: str, by_workload: Mapping[str, float | None]) -> dict[str, float]:
    """Returns the times of the workloads on which the target was reached."""
    times = {workload: math.inf if time is None else time for workload, time in by_workload.items()}
    for workload, time in times.items():
        if not time > 0:
            raise UserError(f"times: {name!r} has {time} on {workload!r}. Expected: a time > 0, or None.")
    return {workload: time for workload, time in times.items() if time < math.inf}


def _profile(ratios: Sequence[float], workloads: int) -> Profile:
    ascending = sorted(ratios)
    taus = sorted({1.0, *ascending})
    return Profile(tuple(taus), tuple(bisect.bisect_right(ascending, tau) / workloads for tau in taus))


def algoperf_score(profile: Profile, tau_max: float = CREDITED) -> float:
    """Returns AlgoPerf's benchmark score: the mean of a performance profile over τ from 1 to `tau_max`.

    This is the exact integral. AlgoPerf's own code approximates it by the trapezoid rule over 100 points. So the scores
    that AlgoPerf publishes for its version 0.6, 0.6244 (Shampoo) and 0.4590 (baseline), are 0.6239 and 0.4580 here.

    Args:
      profile: the profile of an optimizer in a comparison.
      tau_max: the ratio to the fastest time from which on a workload gives no credit; 4 in AlgoPerf.

    Returns:
      A share from 0 to 1; 1 if the optimizer was the fastest on every workload.

    Raises:
      UserError: if `tau_max` is not above 1 and finite.

    Source: Dahl et al. 2023, "Benchmarking neural network training algorithms", section 4.5.2, equation 3.
    """
    if not 1 < tau_max < math.inf:
        raise UserError(f"tau_max is {tau_max}. Expected: a finite number > 1.")
    edges = [min(tau, tau_max) for tau in (*profile.taus, tau_max)]
    widths = (high - low for low, high in itertools.pairwise(edges))
    return math.fsum(share * width for share, width in zip(profile.shares, widths, strict=True)) / (tau_max - 1)
