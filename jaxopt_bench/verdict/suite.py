"""The verdict over all workloads of a study: scores, ranks and speed-ups, and the noise of seeds and workloads."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from jaxopt_bench.results import Results
from jaxopt_bench.statistics import (
    CONFIDENCE,
    Aggregate,
    Friedman,
    ScoreProfile,
    SpeedUp,
    aggregate_ranks,
    aggregate_scores,
    friedman,
    holm,
    median_speed_up,
    score_profiles,
    signed_rank_p_value,
)
from jaxopt_bench.study import Document
from jaxopt_bench.user_config import UserDefined
from jaxopt_bench.verdict.ranking import Ranking
from jaxopt_bench.verdict.reference import ReferenceComparison, compare_with_reference, reference_of
from jaxopt_bench.verdict.samples import samples
from jaxopt_bench.verdict.score_scale import ScoreScale, score_scale
from jaxopt_bench.verdict.single_settings import SingleSetting, compute_single_settings
from jaxopt_bench.verdict.verdict import Verdict

TAUS = tuple(i / 50 for i in range(61))
"""The scores at which performance profiles are evaluated."""


@dataclasses.dataclass(frozen=True)
class SuitePair:
    """Two contenders over all workloads. The first has the higher score.

    Attributes:
      first, second: their names.
      better_on: the number of workloads on which the mean score of the first is higher.
      p_value: two-sided, of Wilcoxon's signed-rank test of the mean scores on each workload.
      adjusted: the p value, adjusted by Holm's method for all pairs that are tested; None if this pair is not.
    """

    first: str
    second: str
    better_on: int
    p_value: float
    adjusted: float | None

    @property
    def significant(self) -> bool:
        """Whether the pair is tested, and the difference holds for other workloads of this kind."""
        return self.adjusted is not None and self.adjusted <= 1 - CONFIDENCE


@dataclasses.dataclass(frozen=True)
class SuiteVerdict:
    """The contenders of a study over all its workloads.

    Attributes:
      workloads: the workloads that count, in the study's order.
      left_out: the workloads that do not count: no contender has results, or none is better than an untrained model.
      missing: the contenders that do not count, because they have no results yet on some of the workloads.
      scales: the scales that turn results into scores, by workload.
      runs: the score of each result, by contender and workload, the contender with the highest score first. A run that
        diverged has the score of `worst_result`; a contender whose trials all diverged has scores of 0.
      scores: the interquartile mean of all scores of each contender, see `statistics.aggregate_scores`.
      score_margin: the seeds can make the scores of equally good contenders differ by this much; None if it is not
        known.
      ranks: the mean over workloads of each contender's rank, see `statistics.aggregate_ranks`.
      friedman: Friedman's test of the ranks, with the critical difference of Nemenyi; its `mean_ranks` are in the order
        of `runs`.
      focus: the contenders that are compared with all others, see `focus_of`; empty if every pair is tested.
      pairs: every pair of contenders. Those with a contender of `focus` are tested by Wilcoxon's signed-rank test.
        Unlike Nemenyi's test, it does not depend on the other contenders, and it has more power, so it decides
        (Benavoli et al. 2016).
      profiles: the share of runs above each score, by contender.
      reference: the contender to compare the others with; None if there is none, or it has no results.
      versus: the comparisons with the reference, by contender and workload.
      speed_ups: the median over workloads of the share of the reference's steps, by contender.
      single_settings: single settings for all workloads; empty if they are not known, see `compute_single_settings`.
    """

    workloads: tuple[str, ...]
    left_out: tuple[str, ...]
    missing: tuple[str, ...]
    scales: Mapping[str, ScoreScale]
    runs: Mapping[str, Mapping[str, tuple[float, ...]]]
    scores: Mapping[str, Aggregate]
    score_margin: float | None
    ranks: Mapping[str, Aggregate]
    friedman: Friedman
    focus: tuple[str, ...]
    pairs: tuple[SuitePair, ...]
    profiles: Mapping[str, ScoreProfile]
    reference: str | None
    versus: Mapping[str, Mapping[str, ReferenceComparison]]
    speed_ups: Mapping[str, Aggregate]
    single_settings: tuple[SingleSetting, ...]

    def mean_scores(self, contender: str) -> dict[str, float]:
        """Returns the mean score of a contender on each workload."""
        return {workload: statistics.fmean(values) for workload, values in self.runs[contender].items()}

    def pair(self, one: str, other: str) -> SuitePair:
        """Returns the pair of two contenders."""
        return next(pair for pair in self.pairs if {pair.first, pair.second} == {one, other})

    def likely_ahead(self, one: str, other: str) -> bool:
        """Returns whether one contender is likely to be ahead of another one on other workloads of this kind.

        The difference is significant, and `one` has the higher mean score on most workloads.
        """
        pair = self.pair(one, other)
        better_on = (
            pair.better_on
            if pair.first == one
            else sum(
                a > b for a, b in zip(self.mean_scores(one).values(), self.mean_scores(other).values(), strict=True)
            )
        )
        return pair.significant and 2 * better_on > len(self.workloads)

    def reached_on(self, contender: str) -> int | None:
        """Returns the number of workloads on which a contender reaches the reference's results; None if unknown."""
        if contender not in self.speed_ups:
            return None
        versus = self.versus[contender].values()
        return sum(each.speed_up is not None and each.speed_up.share < math.inf for each in versus)

    @property
    def least_p_value(self) -> float:
        """The smallest possible adjusted p value of a pair, with this number of workloads and tested pairs."""
        return min(1.0, self.tested_pairs * 2.0 ** (1 - len(self.workloads)))

    @property
    def tested_pairs(self) -> int:
        """The number of pairs that are tested together."""
        return sum(pair.adjusted is not None for pair in self.pairs)


def focus_of(document: Document, reference: str | None, contenders: Sequence[str]) -> tuple[str, ...]:
    """Returns the contenders that a study's question is about. Over all workloads, only their pairs are tested.

    The more pairs are tested, the larger is the difference that is significant. With many contenders and few workloads,
    no difference could be significant if every pair were tested. The question does not depend on the results: a study
    with optimizers of users and others is about those of the users, and another study about the reference.

    Args:
      document: the document of the study.
      reference: the contender to compare the others with; None if there is none.
      contenders: the names of the contenders that count.

    Returns:
      The names; empty if every pair is tested.
    """
    own = [c.name for c in document.study.contenders if isinstance(c.optimizer, UserDefined) and c.name in contenders]
    if own and len(own) < len(contenders):
        return tuple(own)
    return (reference,) if reference is not None and reference in contenders else ()


def compute_suite_verdict(
    results: Results, document: Document, found: Verdict, reference: str | None = None
) -> SuiteVerdict | None:
    """Returns the verdict over all workloads.

    Args:
      results: the results of the study.
      document: the document of the study.
      found: the study's verdict on each workload.
      reference: the contender to compare the others with; `REFERENCE` by default.

    Returns:
      The verdict; None if fewer than two workloads count, or fewer than two contenders.
    """
    known = {r.workload: _results(results, document, r) for r in found.rankings}
    scales = {
        r.workload: scale
        for r in found.rankings
        if (scale := score_scale(r.measures.primary, known[r.workload])) is not None
    }
    lost = {r.workload: {*r.lost} for r in found.rankings}
    names = [c.name for c in document.study.contenders]
    complete = [name for name in names if all(name in known[w] or name in lost[w] for w in scales)]
    if len(scales) < 2 or len(complete) < 2:
        return None
    seeds = document.study.repetitions if document.study.repetitions > 1 else document.study.seeds
    runs = {
        name: {w: scale.scores(known[w][name]) if name in known[w] else (0.0,) * seeds for w, scale in scales.items()}
        for name in complete
    }
    by_score = aggregate_scores(runs)
    ordered = {name: runs[name] for name in sorted(complete, key=lambda name: -by_score.of[name].value)}
    name = reference_of(document, reference)
    versus = _versus(results, document, [r for r in found.rankings if r.workload in scales], name, [*ordered])
    means = {name: [statistics.fmean(values) for values in own.values()] for name, own in ordered.items()}
    focus = focus_of(document, name if versus else None, complete)
    return SuiteVerdict(
        workloads=tuple(scales),
        left_out=tuple(r.workload for r in found.rankings if r.workload not in scales),
        missing=tuple(name for name in names if name not in complete),
        scales=scales,
        runs=ordered,
        scores={name: by_score.of[name] for name in ordered},
        score_margin=by_score.margin,
        ranks=aggregate_ranks(ordered).of,
        friedman=friedman((-np.array([*means.values()])).tolist()),
        focus=focus,
        pairs=_pairs(means, focus),
        profiles=score_profiles(ordered, TAUS),
        reference=name if versus else None,
        versus=versus,
        speed_ups={name: median for name, own in versus.items() if (median := _median(own, scales)) is not None},
        single_settings=compute_single_settings(results, document, [*scales]),
    )


def _results(results: Results, document: Document, ranking: Ranking) -> dict[str, list[float]]:
    """Returns the results on a workload of the contenders that have results."""
    if not ranking.standings:
        return {}
    return samples(results, document, ranking.workload, ranking.measures.primary)


def _versus(
    results: Results, document: Document, rankings: Sequence[Ranking], reference: str | None, contenders: Sequence[str]
) -> dict[str, dict[str, ReferenceComparison]]:
    """Returns the comparisons with the reference, by contender and workload."""
    if reference is None:
        return {}
    by_workload = {r.workload: compare_with_reference(results, document, r, reference) for r in rankings}
    found = {name: {w: own[name] for w, own in by_workload.items() if name in own} for name in contenders}
    return {name: own for name, own in found.items() if own}


def _median(versus: Mapping[str, ReferenceComparison], workloads: Mapping[str, ScoreScale]) -> Aggregate | None:
    """Returns the median share of steps over the workloads; None if it is not known on all of them."""
    known: dict[str, SpeedUp] = {w: each.speed_up for w, each in versus.items() if each.speed_up is not None}
    return median_speed_up(known) if known.keys() == workloads.keys() else None


def _pairs(means: Mapping[str, Sequence[float]], focus: Sequence[str]) -> tuple[SuitePair, ...]:
    """Returns every pair of contenders, given their mean scores by workload. Pairs outside `focus` are not tested."""
    pairs = [*itertools.combinations(means, 2)]
    p_values = [signed_rank_p_value(np.subtract(means[one], means[two]).tolist()) for one, two in pairs]
    tested = [p if not focus or {*pair} & {*focus} else None for pair, p in zip(pairs, p_values, strict=True)]
    better = [sum(a > b for a, b in zip(means[one], means[two], strict=True)) for one, two in pairs]
    return tuple(
        SuitePair(*pair, count, p, adjusted)
        for pair, count, p, adjusted in zip(pairs, better, p_values, holm(tested), strict=True)
    )
