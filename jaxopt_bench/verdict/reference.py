"""Each contender compared with a reference contender on one workload: its lead and its speed-up."""

from __future__ import annotations

import dataclasses
import math

from jaxopt_bench.measures import Measure
from jaxopt_bench.results import Results
from jaxopt_bench.statistics import Estimate, SpeedUp, speed_up
from jaxopt_bench.study import Document
from jaxopt_bench.verdict.curves import Curves, curves_of
from jaxopt_bench.verdict.pairs import Pair
from jaxopt_bench.verdict.ranking import Ranking

REFERENCE = "adamw"
"""The default contender to compare the others with, if a study has it."""


@dataclasses.dataclass(frozen=True)
class ReferenceComparison:
    """A contender compared with the reference on a workload.

    Attributes:
      workload, contender: their names.
      measure: the measure of the difference, `WorkloadMeasures.primary`.
      lead: the difference of the means; positive if the contender is better. Its interval is corrected for all pairs of
        the workload, see `Pair`. None if the contender has no results.
      p_value: the p value of the difference, not adjusted; None if it is not tested.
      adjusted: the p value, adjusted for all pairs of the workload.
      significant: whether the difference is significant among all pairs of the workload.
      curve: the measure of the speed-up; None if no curves are recorded.
      speed_up: the share of the reference's steps that the contender needs; None if no curves are recorded.
    """

    workload: str
    contender: str
    measure: Measure
    lead: Estimate | None
    p_value: float | None
    adjusted: float | None
    significant: bool
    curve: Measure | None
    speed_up: SpeedUp | None


def reference_of(document: Document, name: str | None = None) -> str | None:
    """Returns the reference: `name` if it is given, else `REFERENCE` if the study has it, else None."""
    known = [contender.name for contender in document.study.contenders]
    return name if name is not None else REFERENCE if REFERENCE in known else None


def compare_with_reference(
    results: Results, document: Document, ranking: Ranking, reference: str
) -> dict[str, ReferenceComparison]:
    """Returns the comparison of each other contender of a workload with the reference, by name.

    A contender whose trials all diverged has no lead, and does not reach the reference's result. A contender without
    known results is left out.

    Args:
      results: the results of the study.
      document: the document of the study.
      ranking: the ranking of the workload.
      reference: the name of a contender. If it has no results, nothing is compared with it.
    """
    if ranking.standing(reference) is None:
        return {}
    curves = curves_of(results, document, ranking.workload)
    found = {}
    for name in (s.contender for s in ranking.standings if s.contender != reference):
        pair = next(p for p in ranking.pairs if {p.first, p.second} == {name, reference})
        found[name] = _versus(ranking, pair, name, reference, curves)
    for name in ranking.lost:
        curve = None if curves is None else curves.measure
        never = SpeedUp(math.inf, None, 0.0)
        found[name] = ReferenceComparison(
            ranking.workload, name, ranking.measures.primary, None, None, None, False, curve, never
        )
    return found


def _versus(ranking: Ranking, pair: Pair, name: str, reference: str, curves: Curves | None) -> ReferenceComparison:
    ahead = pair.difference.estimate
    if pair.first != name:
        interval = None if ahead.interval is None else (-ahead.high, -ahead.low)
        ahead = Estimate(-ahead.mean, interval, ahead.count)
    return ReferenceComparison(
        ranking.workload,
        name,
        ranking.measures.primary,
        ahead,
        pair.difference.p_value,
        pair.adjusted,
        pair.significant,
        None if curves is None else curves.measure,
        None if curves is None else _speed_up(curves, name, reference),
    )


def _speed_up(curves: Curves, name: str, reference: str) -> SpeedUp | None:
    if name not in curves.of or reference not in curves.of:
        return None
    finals = curves.of[reference][:, -1].tolist()
    return speed_up(curves.steps, curves.of[name], finals, higher=curves.measure.higher_is_better)
