"""Results of a workload as scores: 0 for an untrained model, 1 for the best contender's mean."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from jaxopt_bench.measures import Measure
from jaxopt_bench.problems import Metric
from jaxopt_bench.statistics.resolution import FLOAT32


@dataclasses.dataclass(frozen=True)
class ScoreScale:
    """A scale that turns results on a workload into scores, which can be averaged over workloads.

    A score is the share of the way from `zero` to `one`, but never below 0: a result that is worse than an untrained
    model counts as an untrained model, so that a single diverging run does not outweigh all others. Single runs that
    are better than the best mean have scores above 1.

    Attributes:
      measure: the measure of the results.
      logarithmic: whether the way is measured on the logarithm of the distance from the metric's least value. This is
        so for metrics with a least value and no greatest value that are not percentages, such as losses and gaps to a
        minimum: for them, half of a loss is the same improvement for any loss.
      zero: the result with the score 0: the result of an untrained model or, if this is not known, the mean of the
        worst contender.
      one: the result with the score 1: the mean of the best contender, on the logarithm if `logarithmic`.
      zero_is_untrained: whether `zero` is the result of an untrained model.
      floor: smaller distances from the least value count as this one; 0 if not `logarithmic`. It is 2⁻²³ (the
        resolution of float32) of the distance of an untrained model or, if this is not known, of the worst result.
        Smaller distances are due to rounding.
    """

    measure: Measure
    logarithmic: bool
    zero: float
    one: float
    zero_is_untrained: bool
    floor: float = 0.0

    def score(self, value: float) -> float:
        """Returns the score of a result. The result is in the metric's own unit; the score has no unit."""
        zero, one = self._position(self.zero), self._position(self.one)
        return max(0.0, (self._position(value) - zero) / (one - zero))

    def scores(self, values: Sequence[float]) -> tuple[float, ...]:
        """Returns the scores of results."""
        return tuple(map(self.score, values))

    def _position(self, value: float) -> float:
        return _position(self.measure.metric, value, self.floor if self.logarithmic else None)


def score_scale(measure: Measure, results: Mapping[str, Sequence[float]]) -> ScoreScale | None:
    """Returns the scale of the scores on a workload.

    Args:
      measure: the measure of the results.
      results: the results of each contender, at least one, in the metric's own unit.

    Returns:
      The scale; None if its length is only rounding: no contender is better than an untrained model or, if the result
      of an untrained model is not known, than another contender.

    Source: Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice", section 2
    (normalised scores). They normalise by a random policy and a human.
    """
    metric = measure.metric
    logarithmic = metric.least is not None and metric.greatest is None and not metric.percent
    every = [value for own in results.values() for value in own]
    if not every:
        return None
    floor = None
    if logarithmic and metric.least is not None:
        farthest = (max(every) if metric.untrained is None else metric.untrained) - metric.least
        if not 0 < farthest < math.inf:
            return None
        floor = FLOAT32 * farthest
    means = [float(np.mean([_position(metric, value, floor) for value in own])) for own in results.values()]
    one = max(means)
    known = metric.untrained is not None
    zero = min(means) if metric.untrained is None else _position(metric, metric.untrained, floor)
    if not one - zero > FLOAT32 * max(abs(zero), 1.0):
        return None
    return ScoreScale(
        measure, logarithmic, _value(metric, zero, floor), _value(metric, one, floor), known, floor or 0.0
    )


def _position(metric: Metric, value: float, floor: float | None) -> float:
    """Returns a number that is higher for better results: the value or its logarithm, with its sign.

    Args:
      metric: the metric of the value.
      value: the value in its own unit.
      floor: smaller distances count as this one in the logarithm; None for the value itself.
    """
    sign = 1.0 if metric.higher_is_better else -1.0
    if floor is None or metric.least is None:
        return sign * value
    return sign * math.log(max(value - metric.least, floor))


def _value(metric: Metric, position: float, floor: float | None) -> float:
    """Returns the value at a position; see `_position`."""
    sign = 1.0 if metric.higher_is_better else -1.0
    if floor is None or metric.least is None:
        return sign * position
    return metric.least + math.exp(sign * position)
