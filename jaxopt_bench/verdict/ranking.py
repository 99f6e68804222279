"""The ranking of contenders on one workload: which one leads, by how much, and how certain that is."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import statistics
from collections.abc import Mapping

import polars as pl

from jaxopt_bench.errors import UserError
from jaxopt_bench.measures import Measure
from jaxopt_bench.optimizers import Share, read_shares
from jaxopt_bench.results import Results, workload_metrics
from jaxopt_bench.statistics import (
    Difference,
    Estimate,
    holm,
    paired_difference,
    probability_better,
    seeds_needed,
)
from jaxopt_bench.study import Document, Selection, Study
from jaxopt_bench.verdict.samples import Key, ended, paired, samples, steps_of
from jaxopt_bench.verdict.scale import Scale, scale_of
from jaxopt_bench.verdict.trials import Trials, trials_of


@dataclasses.dataclass(frozen=True)
class Standing:
    """The results of a contender on a workload.

    Attributes:
      contender: its name.
      trials: its trials; None if it is not tuned.
      winners: the selections of its units; without those that have no winner.
      runs: the confirmations that have ended.
      diverged: how many of them diverged. In the next fields these count as untrained models.
      results: estimates of the confirmations' results, by measure.
      score: the number that ranks it: the mean of `Scale.primary`; with several repetitions the median of their means.
      steps, seconds: to the workload's target, the median over confirmations; None if most did not reach it.
      cost: the seconds of all its runs.
      inner_rules: the parts of the network that its inner rules update; empty for an optimizer with a single rule.
    """

    contender: str
    trials: Trials | None
    winners: tuple[Selection, ...]
    runs: int
    diverged: int
    results: Mapping[str, Estimate]
    score: float
    steps: float | None
    seconds: float | None
    cost: float
    inner_rules: tuple[Share, ...] = ()


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two contenders on a workload, the first of which is ahead.

    Attributes:
      difference: how much better the results of the first are, in `Scale.primary`, paired by seed, or by repetition
        if there are several.
      adjusted: its p value, adjusted for all pairs of the workload by Holm's method.
      better: the probability that a run of the first beats a run of the second.
      seeds: how many would be needed to see a difference of that size; None if no number is enough, or there is one
        seed.
    """

    first: str
    second: str
    difference: Difference
    adjusted: float | None
    better: float
    seeds: int | None

    @property
    def seen(self) -> bool:
        """Whether the difference is significant: its adjusted p value is below 0.05."""
        return self.adjusted is not None and self.adjusted < 0.05


@dataclasses.dataclass(frozen=True)
class Ranking:
    """A workload's contenders, the best first, and every pair of them.

    Attributes:
      workload: its name.
      scale: the measures by which the contenders are compared.
      standings: those of the contenders that have confirmations.
      missing: the contenders without confirmations.
      pairs: the better one first.
      lost: the trials of those contenders of `missing` whose trials all diverged, by name.
    """

    workload: str
    scale: Scale
    standings: tuple[Standing, ...]
    missing: tuple[str, ...]
    pairs: tuple[Pair, ...]
    lost: Mapping[str, Trials] = dataclasses.field(default_factory=dict)

    def standing(self, contender: str) -> Standing | None:
        """Returns a contender's standing; None if it has none."""
        return next((s for s in self.standings if s.contender == contender), None)

    def pair(self, first: str, second: str) -> Pair:
        """Returns the pair of two contenders, of which `first` is the better one."""
        return next(p for p in self.pairs if (p.first, p.second) == (first, second))


def ranking_of(results: Results, document: Document, workload: str) -> Ranking:
    """Returns the ranking of a study's contenders on a workload, from the runs that have ended."""
    study = document.study
    scale = scale_of(results, study, workload)
    found = {c.name: _standing(results, document, workload, c.name, scale) for c in study.contenders}
    sign = -1 if scale.primary.higher_is_better else 1
    standings = sorted((s for s in found.values() if s is not None), key=lambda s: sign * s.score)
    missing = [name for name, standing in found.items() if standing is None]
    values = {s.contender: samples(results, study, workload, s.contender, scale.primary) for s in standings}
    lost = {name: each for name in missing if (each := _lost(results, document, workload, name, scale)) is not None}
    return Ranking(workload, scale, tuple(standings), tuple(missing), _pairs(values, scale.primary), lost)


def _lost(results: Results, document: Document, workload: str, contender: str, scale: Scale) -> Trials | None:
    """Returns the trials of a contender that has no winner in any repetition, since they all diverged."""
    chosen = [selection.trial for selection in document.selections_of(workload, contender)]
    trials = ended(results, workload, contender, "trial")
    if not len(trials) or len(chosen) < document.study.repetitions or any(trial is not None for trial in chosen):
        return None
    return trials_of(document.study, workload, trials, scale)


def _pairs(values: Mapping[str, Mapping[Key, float]], primary: Measure) -> tuple[Pair, ...]:
    """Returns every pair of contenders, with adjusted p values.

    Args:
      values: the results of each contender, the best contender first.
      primary: the measure of the results.
    """
    names = itertools.combinations(values, 2)
    pairs = [pair for a, b in names if (pair := _pair(a, b, values, primary)) is not None]
    adjusted = holm([pair.difference.p_value for pair in pairs])
    return tuple(dataclasses.replace(p, adjusted=value) for p, value in zip(pairs, adjusted, strict=True))


def _pair(first: str, second: str, values: Mapping[str, Mapping[Key, float]], primary: Measure) -> Pair | None:
    one, other = paired(values[first], values[second])
    if not one:
        return None
    more, less = (one, other) if primary.higher_is_better else (other, one)
    differences = [a - b for a, b in zip(more, less, strict=True)]
    needed = None
    if len(one) > 1:
        deviation = statistics.stdev(differences)
        needed = seeds_needed(difference=statistics.fmean(differences), deviation=deviation)
    better = probability_better(one, other, higher=primary.higher_is_better)
    return Pair(first, second, paired_difference(more, less), None, better, needed)


def _standing(results: Results, document: Document, workload: str, contender: str, scale: Scale) -> Standing | None:
    study = document.study
    confirmed = ended(results, workload, contender, "confirmation")
    if not len(confirmed):
        return None
    reached = {
        name: [*samples(results, study, workload, contender, measure).values()]
        for name, measure in scale.measures.items()
    }
    primary = reached[scale.primary.name]
    if not primary and (confirmed["status"] == "completed").any():
        raise UserError(
            f"the confirmations of {contender} on {workload} have no {scale.primary.name}: their records are damaged."
        )
    if not primary:  # all diverged, and the value of an untrained model is not known
        return None
    steps = _median_steps(results, study, workload, confirmed)
    a_step = document.seconds_per_step(workload, contender)
    trials = ended(results, workload, contender, "trial")
    return Standing(
        contender=contender,
        trials=trials_of(study, workload, trials, scale) if len(trials) else None,
        winners=tuple(s for s in document.selections_of(workload, contender) if s.trial is not None),
        runs=len(confirmed),
        diverged=int((confirmed["status"] == "diverged").sum()),
        results={name: scale.measures[name].estimate(values) for name, values in reached.items() if values},
        score=statistics.median(primary) if study.repetitions > 1 else statistics.fmean(primary),
        steps=steps,
        seconds=None if steps is None or a_step is None else steps * a_step,
        cost=sum(second or 0.0 for rows in (confirmed, trials) for second in rows["seconds"].to_list()),
        inner_rules=_inner_rules(confirmed),
    )


def _inner_rules(runs: pl.DataFrame) -> tuple[Share, ...]:
    """Returns the inner rules of the last run that recorded some."""
    recorded = runs["inner_rules"].drop_nulls().to_list() if "inner_rules" in runs.columns else []
    for text in reversed(recorded):
        with contextlib.suppress(ValueError):
            return read_shares(json.loads(text))
    return ()


def _median_steps(results: Results, study: Study, workload: str, rows: pl.DataFrame) -> float | None:
    target = study.target(workload)
    if target is None:
        return None
    metrics = workload_metrics(results.runs, workload)
    steps = [steps_of(results.lines(path), target, metrics) for path in rows["path"].to_list()]
    middle = statistics.median(math.inf if s is None else s for s in steps)
    return middle if math.isfinite(middle) else None
