"""What a study's runs say: who is ahead on each workload, by how much, and how sure that is."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from jaxopt_bench.errors import UserError
from jaxopt_bench.measures import Measure, measures
from jaxopt_bench.optimizers import Share, read_shares
from jaxopt_bench.problems import LOSS
from jaxopt_bench.results import Results, workload_metrics
from jaxopt_bench.results.columns import metric_columns
from jaxopt_bench.statistics import (
    Difference,
    Estimate,
    Profile,
    Sensitivity,
    algoperf_score,
    complete_mean,
    expected_best,
    holm,
    paired_difference,
    performance_profile,
    probability_better,
    seeds_needed,
    sensitivity,
)
from jaxopt_bench.study import STEPS, Document, Selection, Study
from jaxopt_bench.verdict.selection import final_or_best, judged_by, seeds_by_trial, steps_of

REPORTED = ("test", "validation", "train_clean")
"""Splits by preference: results are reported on the first of them that the problem has."""
LEARNING_RATE = "optimizer.learning_rate"
POINT = 0.01
"""How much worse than the best a learning rate may be and still count as good: a point of a percentage; for other
units, this share of the difference between the best trial and an untrained model."""

Key = int  # a seed, or a repetition where there are several


@dataclasses.dataclass(frozen=True)
class Trials:
    """A contender's trials on a workload, those of all repetitions.

    Attributes:
      count: how many.
      diverged: how many of them diverged.
      expected_best: what the best of 1, 2, … trials is expected to reach, as trials are judged; empty where that means
        nothing.
      good_learning_rates: those of trials that are nearly as good as the best one, see `Ranking.tolerance`; None if
        they are not known.
    """

    count: int
    diverged: int
    expected_best: tuple[float, ...]
    good_learning_rates: Sensitivity | None


@dataclasses.dataclass(frozen=True)
class Standing:
    """A contender on a workload.

    Attributes:
      contender: its name.
      trials: of its tuning; None where it is not tuned.
      winners: the selections of its units; without those that have no winner.
      runs: the confirmations that have ended.
      diverged: how many of them diverged; in what follows these count as untrained models.
      results: estimates of what the confirmations reached, by measure.
      score: what it is ranked by, the mean of `Ranking.primary`; over several repetitions the median of their means.
      steps, seconds: to the workload's target, the median over confirmations; None where most did not reach it.
      cost: seconds that all its runs took.
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
      difference: how much better the results of the first are, in `Ranking.primary`, paired by seed, or by repetition
        if there are several.
      adjusted: its p value, adjusted for all pairs of the workload by Holm's method.
      better: the probability that a run of the first beats a run of the second.
      seeds: how many would be needed to see a difference of that size; None where no number is enough, or of one seed.
    """

    first: str
    second: str
    difference: Difference
    adjusted: float | None
    better: float
    seeds: int | None

    @property
    def seen(self) -> bool:
        """Whether the difference can be told from noise."""
        return self.adjusted is not None and self.adjusted < 0.05


@dataclasses.dataclass(frozen=True)
class Ranking:
    """A workload's contenders, the best first, and every pair of them.

    Attributes:
      workload: its name.
      standings: of those that have confirmations.
      missing: the contenders without confirmations.
      pairs: the better one first.
      measures: all measures of the workload's runs, by name.
      primary: what contenders are ranked by, such as the test accuracy.
      judged: what the expected best of the trials is of, such as the validation loss.
      headline: the headline metric of the trials, by which learning rates are good or not.
      tolerance: how much worse than the best trial's `headline` that of a good learning rate may be; None if it is not
        known.
      lost: the trials of those contenders of `missing` whose trials all diverged, by name.
    """

    workload: str
    standings: tuple[Standing, ...]
    missing: tuple[str, ...]
    pairs: tuple[Pair, ...]
    measures: Mapping[str, Measure]
    primary: Measure
    judged: Measure
    headline: Measure
    tolerance: float | None
    lost: Mapping[str, Trials] = dataclasses.field(default_factory=dict)

    def standing(self, contender: str) -> Standing | None:
        """Returns a contender's standing, where it has one."""
        return next((s for s in self.standings if s.contender == contender), None)

    def pair(self, first: str, second: str) -> Pair:
        """Returns two contenders' pair, the better one first."""
        return next(p for p in self.pairs if (p.first, p.second) == (first, second))


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a study says.

    Attributes:
      study: the study.
      rankings: one a workload.
      profiles: over the workloads with targets, by contender; empty below two of them.
      scores: AlgoPerf's, of the profiles.
      complete: whether every contender has come to its end on every workload.
    """

    study: Study
    rankings: tuple[Ranking, ...]
    profiles: Mapping[str, Profile]
    scores: Mapping[str, float]
    complete: bool


def verdict(results: Results, document: Document) -> Verdict:
    """Returns what a study says, as far as it has come.

    Args:
      results: its runs.
      document: the study, its winners and its timings.
    """
    study = document.study
    rankings = tuple(_ranking(results, document, w.name) for w in study.workloads)
    profiles = _profiles(study, rankings)
    decided = {s.unit: s.trial for s in document.selections}
    wanted = len(study.workloads) * len(study.contenders) * study.repetitions
    confirmed = sum(s.runs for r in rankings for s in r.standings)
    alive = sum(trial is not None for trial in decided.values())
    complete = len(decided) == wanted and confirmed == alive * study.seeds
    return Verdict(study, rankings, profiles, {name: algoperf_score(p) for name, p in profiles.items()}, complete)


def samples(results: Results, study: Study, workload: str, contender: str, measure: Measure) -> dict[Key, float]:
    """Returns independent results of a contender: one a seed, or with several repetitions the mean of each.

    A run that diverged counts as an untrained model; it is left out if the measure is of curves, or if the value of an
    untrained model is not known.
    """
    by_repetition: dict[int, dict[int, float]] = {}
    for row in ended(results, workload, contender, "confirmation").to_dicts():
        value = measured(results, study, row, measure)
        if value is not None:
            by_repetition.setdefault(row["repetition"], {})[row["seed"]] = value
    if study.repetitions == 1:
        return by_repetition.get(0, {})
    return {repetition: statistics.fmean(values.values()) for repetition, values in by_repetition.items()}


def ended(results: Results, workload: str, contender: str, phase: str) -> pl.DataFrame:
    """Returns the runs of a contender in a phase that have come to their end; of confirmations, those of winners."""
    rows = results.runs.filter(
        pl.col("workload") == workload,
        pl.col("contender") == contender,
        pl.col("phase") == phase,
        pl.col("status").is_in(["completed", "diverged"]),
    )
    return rows.filter(pl.col("selected")) if phase == "confirmation" else rows


def measured(results: Results, study: Study, row: Mapping[str, Any], measure: Measure) -> float | None:
    """Returns a run's measure; of one that diverged, that of an untrained model; None if it is not known."""
    if measure.of_curves is not None:
        return measure.of_curves(epoch_curves(results.lines(row["path"]))) if row["status"] == "completed" else None
    value = final_or_best(study, row, measure.name)
    return measure.metric.untrained if value is None and row["status"] != "completed" else value


def epoch_curves(lines: pl.DataFrame) -> dict[str, list[float | None]]:
    """Returns what a run measured at its epochs' ends, by `{split}_{metric}`."""
    names = metric_columns(lines.columns)
    ends = lines.select("split", "step", *names).filter(pl.col("split") != "train_steps").sort("step")
    found: dict[str, list[float | None]] = {}
    for line in ends.iter_rows(named=True):
        for name in names:
            found.setdefault(f"{line['split']}_{name}", []).append(line[name])
    return found


def paired(one: Mapping[Key, float], other: Mapping[Key, float]) -> tuple[list[float], list[float]]:
    """Returns the results of two contenders that have the same key."""
    keys = sorted(one.keys() & other.keys())
    return [one[key] for key in keys], [other[key] for key in keys]


def _ranking(results: Results, document: Document, workload: str) -> Ranking:
    study = document.study
    scale = _scale(results, study, workload)
    found = [_standing(results, document, workload, c.name, scale) for c in study.contenders]
    sign = -1 if scale.primary.higher_is_better else 1
    standings = sorted((s for s in found if s is not None), key=lambda s: sign * s.score)
    missing = [c.name for c, s in zip(study.contenders, found, strict=True) if s is None]
    values = {s.contender: samples(results, study, workload, s.contender, scale.primary) for s in standings}
    names = [s.contender for s in standings]
    pairs = [
        pair for a, b in itertools.combinations(names, 2) if (pair := _pair(a, b, values, scale.primary)) is not None
    ]
    adjusted = holm([pair.difference.p_value for pair in pairs])
    corrected = tuple(dataclasses.replace(p, adjusted=value) for p, value in zip(pairs, adjusted, strict=True))
    lost = {name: each for name in missing if (each := _lost(results, document, workload, name, scale)) is not None}
    return Ranking(
        workload,
        tuple(standings),
        tuple(missing),
        corrected,
        measures=scale.measures,
        primary=scale.primary,
        judged=scale.judged,
        headline=scale.headline,
        tolerance=scale.tolerance,
        lost=lost,
    )


class _Scale(NamedTuple):
    """The measures of a workload's runs; see `Ranking`."""

    measures: Mapping[str, Measure]
    primary: Measure
    judged: Measure
    headline: Measure
    tolerance: float | None


def _scale(results: Results, study: Study, workload: str) -> _Scale:
    metrics = workload_metrics(results.runs, workload)
    known = measures(metrics)
    split = study.judging_split(workload)
    judged = known[f"{split}_{LOSS}"] if study.select == STEPS else judged_by(study, workload, metrics)
    headline = known[f"{split}_{metrics[0].name}"]
    primary = known[f"{_reported(results, study, workload, metrics[0].name)}_{metrics[0].name}"]
    return _Scale(known, primary, judged, headline, _tolerance(results, study, workload, headline))


def _reported(results: Results, study: Study, workload: str, metric: str) -> str:
    """Returns the split on which results are reported: the first that some confirmation has a result of."""
    rows = results.runs.filter(pl.col("workload") == workload, pl.col("phase") == "confirmation")
    columns = {split: f"{study.at}.{split}_{metric}" for split in REPORTED}
    known = (split for split, name in columns.items() if name in rows.columns and rows[name].count())
    return next(known, REPORTED[0])


def _tolerance(results: Results, study: Study, workload: str, headline: Measure) -> float | None:
    """Returns how much worse than the best a good learning rate may be."""
    if headline.metric.percent:
        return POINT
    rows = results.runs.filter(pl.col("workload") == workload, pl.col("phase") == "trial")
    values = [v for row in rows.to_dicts() if (v := final_or_best(study, row, headline.name)) is not None]
    if not values or headline.metric.untrained is None:
        return None
    best = max(values) if headline.higher_is_better else min(values)
    return POINT * abs(best - headline.metric.untrained)


def _lost(results: Results, document: Document, workload: str, contender: str, scale: _Scale) -> Trials | None:
    """Returns the trials of a contender that has no winner in any repetition, since they all diverged."""
    chosen = [s.trial for s in document.selections if (s.workload, s.contender) == (workload, contender)]
    trials = ended(results, workload, contender, "trial")
    if not len(trials) or len(chosen) < document.study.repetitions or any(trial is not None for trial in chosen):
        return None
    return _trials(document.study, workload, trials, scale)


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


def _standing(results: Results, document: Document, workload: str, contender: str, scale: _Scale) -> Standing | None:
    study = document.study
    confirmed = ended(results, workload, contender, "confirmation")
    if not len(confirmed):
        return None
    estimates = {}
    for name, measure in scale.measures.items():
        values = list(samples(results, study, workload, contender, measure).values())
        if values:
            estimates[name] = measure.estimate(values)
    primary = list(samples(results, study, workload, contender, scale.primary).values())
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
        trials=_trials(study, workload, trials, scale) if len(trials) else None,
        winners=tuple(
            s for s in document.selections if (s.workload, s.contender) == (workload, contender) and s.trial is not None
        ),
        runs=len(confirmed),
        diverged=int((confirmed["status"] == "diverged").sum()),
        results=estimates,
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


def _trials(study: Study, workload: str, rows: pl.DataFrame, scale: _Scale) -> Trials:
    """Returns what a contender's trials say, each the mean over its seeds."""
    trials = seeds_by_trial(rows)

    def means(measure: str) -> list[float | None]:
        return [complete_mean([final_or_best(study, seed, measure) for seed in seeds]) for seeds in trials]

    values = means(scale.judged.name)
    good = None
    if LEARNING_RATE in rows.columns and scale.tolerance is not None:
        reached = means(scale.headline.name)
        rates = [seeds[0][LEARNING_RATE] for seeds in trials]
        if min(rates) > 0:
            good = sensitivity(rates, reached, scale.tolerance, higher=scale.headline.higher_is_better)
    curve = [] if study.search == "grid" else _expected_best(values, scale.judged)  # no part of a grid is a grid
    budget = study.trials_on(study.workload(workload))
    return Trials(len(trials), sum(v is None for v in values), tuple(curve[:budget]), good)


def _expected_best(values: Sequence[float | None], judged: Measure) -> list[float]:
    """Returns what the best of 1, 2, … trials is expected to reach; one that diverged counts as an untrained model."""
    higher, worst = judged.higher_is_better, judged.metric.untrained
    known = [value for value in values if value is not None]
    if worst is None:
        worst = min(known, default=None) if higher else max(known, default=None)
    if worst is None:
        return []
    bad = -math.inf if higher else math.inf
    return expected_best([bad if v is None else v for v in values], higher=higher, worst=worst)


def _median_steps(results: Results, study: Study, workload: str, rows: pl.DataFrame) -> float | None:
    target = study.target(workload)
    if target is None:
        return None
    metrics = workload_metrics(results.runs, workload)
    steps = [steps_of(results.lines(path), target, metrics) for path in rows["path"].to_list()]
    middle = statistics.median(math.inf if s is None else s for s in steps)
    return middle if math.isfinite(middle) else None


def _profiles(study: Study, rankings: Sequence[Ranking]) -> dict[str, Profile]:
    """Returns performance profiles over the workloads with targets on which every contender was timed."""
    with_target = [r for r in rankings if study.target(r.workload) is not None and not r.missing]
    if len(with_target) < 2:
        return {}
    times = {
        c.name: {r.workload: s.seconds for r in with_target if (s := r.standing(c.name)) is not None}
        for c in study.contenders
    }
    return performance_profile(times)
