"""Every pair of contenders, compared by one measure."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from jaxopt_bench.measures import Measure
from jaxopt_bench.statistics import CONFIDENCE, Difference, Estimate, SeedRange, compare_pairs, count_wins, seed_range


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two contenders on a workload. The first has the better mean.

    Attributes:
      difference: the lead of the first contender's mean, tested together with all pairs of the workload. If the results
        of single test examples are known, the difference also holds for other test examples.
      wins: the number of pairs of a run of the first and a run of the second in which the first is better; a tie counts
        half. With several repetitions, the means of searches are used in place of runs.
      of: the number of all such pairs of runs.
      seeds: the number of seeds of each contender that would show a difference of this size among this many pairs; None
        if one of the two has a single result.
    """

    first: str
    second: str
    difference: Difference
    wins: float
    of: int
    seeds: SeedRange | None

    @property
    def significant(self) -> bool:
        """Whether the difference is significant, corrected for all pairs."""
        return self.difference.significant

    @property
    def adjusted(self) -> float | None:
        """The p value, adjusted for all pairs; None if they are not tested."""
        return self.difference.adjusted

    @property
    def needs_examples(self) -> bool:
        """Whether no number of seeds could show a difference of this size, because there are too few test examples."""
        return self.difference.sampling > 0 and self.seeds is not None and self.seeds.low is None

    def higher_less_lower(self, higher: str, measure: Measure) -> Estimate:
        """Returns the difference of the means: the mean of `higher` minus the mean of the other contender."""
        found = self.difference.estimate
        if (self.first == higher) == measure.higher_is_better:
            return found
        interval = None if found.interval is None else (-found.high, -found.low)
        return Estimate(-found.mean, interval, found.count)


def compare(
    values: Mapping[str, Sequence[float]],
    measure: Measure,
    least_deviation: float,
    examples: Mapping[str, Float[np.ndarray, "results examples"]] | None = None,
) -> tuple[Pair, ...]:
    """Returns every pair of contenders, tested together, the better contenders first.

    Args:
      values: independent results of each contender. If means are equal, the earlier contender comes first.
      measure: the measure of the results.
      least_deviation: the smallest possible deviation of the results; see `samples.deviation_floor`.
      examples: the results of each test example; see `samples.example_samples`.
    """
    sign = 1 if measure.higher_is_better else -1
    ranked = sorted(values, key=lambda name: -sign * statistics.fmean(values[name]))
    gains = [[sign * value for value in values[name]] for name in ranked]
    gains_of_examples = None if examples is None else [sign * examples[name] for name in ranked]
    differences = compare_pairs(gains, least_deviation=least_deviation, examples=gains_of_examples)
    tested = sum(difference.p_value is not None for difference in differences)
    confidence = 1 - (1 - CONFIDENCE) / max(tested, 1)
    names = itertools.combinations(ranked, 2)
    samples = itertools.combinations(gains, 2)
    return tuple(
        Pair(
            *pair,
            difference,
            wins=count_wins(first, second, higher=True),
            of=len(first) * len(second),
            seeds=seed_range(
                first, second, confidence=confidence, least_deviation=least_deviation, sampling=difference.sampling
            ),
        )
        for pair, (first, second), difference in zip(names, samples, differences, strict=True)
    )
