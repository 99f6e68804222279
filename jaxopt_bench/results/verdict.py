"""What a study's runs say: who is ahead on each workload, by how much, and how sure that is."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from jaxopt_bench.data import dataset
from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import Share, read_shares
from jaxopt_bench.results.document import Document, Json
from jaxopt_bench.results.measures import MEASURES, domain_of
from jaxopt_bench.results.selection import final_or_best, steps_of
from jaxopt_bench.results.statistics import (
    Difference,
    Estimate,
    Profile,
    Sensitivity,
    algoperf_score,
    estimate,
    expected_best,
    holm,
    paired_difference,
    performance_profile,
    probability_better,
    seeds_needed,
    sensitivity,
)
from jaxopt_bench.results.study import Study
from jaxopt_bench.results.tables import Results

PRIMARY = "test_accuracy"
"""What contenders are judged by."""
LEARNING_RATE = "optimizer.learning_rate"
POINT = 0.01
"""Of accuracy: how much worse than the best a learning rate may be and still count as good."""

Key = int  # a seed, or a repetition where there are several


@dataclasses.dataclass(frozen=True)
class Trials:
    """A contender's trials on a workload, those of all repetitions.

    Attributes:
      count: how many.
      diverged: how many of them diverged.
      expected_best: what the best of 1, 2, … trials is expected to reach, as trials are judged; empty where that means
        nothing.
      good_learning_rates: those within a point of accuracy of the best trial's.
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
      winners: its winner in each repetition, as `study.json` says it; without those that have none.
      runs: the confirmations that have ended.
      diverged: how many of them diverged; in what follows these have the accuracy and the loss of chance.
      results: estimates of what the confirmations reached, by measure.
      score: what it is ranked by, the mean test accuracy; over several repetitions the median of their means.
      steps, seconds: to the workload's target, the median over confirmations; None where most did not reach it.
      cost: seconds that all its runs took.
      inner_rules: the parts of the network that its inner rules update; empty for an optimizer with a single rule.
    """

    contender: str
    trials: Trials | None
    winners: tuple[Json, ...]
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
      difference: of their test accuracies, paired by seed, or by repetition where there are several.
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
      lost: the trials of those contenders of `missing` whose trials all diverged, by name.
    """

    workload: str
    standings: tuple[Standing, ...]
    missing: tuple[str, ...]
    pairs: tuple[Pair, ...]
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
    decided = {(s["workload"], s["contender"], s["repetition"]): s["trial"] for s in document.selections}
    wanted = len(study.workloads) * len(study.contenders) * study.repetitions
    confirmed = sum(s.runs for r in rankings for s in r.standings)
    alive = sum(trial is not None for trial in decided.values())
    complete = len(decided) == wanted and confirmed == alive * study.seeds
    return Verdict(study, rankings, profiles, {name: algoperf_score(p) for name, p in profiles.items()}, complete)


def samples(results: Results, study: Study, workload: str, contender: str, measure: str) -> dict[Key, float]:
    """Returns independent results of a contender: one a seed, or with several repetitions the mean of each.

    A run that diverged has the accuracy or the loss of chance; it is left out where the measure is of curves.
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


def measured(results: Results, study: Study, row: Mapping[str, Any], measure: str) -> float | None:
    """Returns a run's measure; of one that diverged, that of chance; None where it was not measured."""
    of_curves = MEASURES[measure].of_curves
    if of_curves is not None:
        return of_curves(epoch_curves(results.lines(row["path"]))) if row["status"] == "completed" else None
    value = final_or_best(study, row, measure)
    if value is None and row["status"] != "completed":
        classes = dataset(row["dataset"]).num_classes
        return 1 / classes if measure.endswith("accuracy") else math.log(classes)
    return value


def epoch_curves(lines: pl.DataFrame) -> dict[str, list[float | None]]:
    """Returns what a run measured at its epochs' ends, by `{split}_{loss,accuracy}`."""
    ends = lines.select("split", "step", "loss", "accuracy").filter(pl.col("split") != "train_steps").sort("step")
    found: dict[str, list[float | None]] = {}
    for line in ends.iter_rows(named=True):
        for name in ("loss", "accuracy"):
            found.setdefault(f"{line['split']}_{name}", []).append(line[name])
    return found


def paired(one: Mapping[Key, float], other: Mapping[Key, float]) -> tuple[list[float], list[float]]:
    """Returns the results of two contenders that have the same key."""
    keys = sorted(one.keys() & other.keys())
    return [one[key] for key in keys], [other[key] for key in keys]


def _ranking(results: Results, document: Document, workload: str) -> Ranking:
    study = document.study
    found = [_standing(results, document, workload, c.name) for c in study.contenders]
    standings = sorted((s for s in found if s is not None), key=lambda s: -s.score)
    missing = [c.name for c, s in zip(study.contenders, found, strict=True) if s is None]
    values = {s.contender: samples(results, study, workload, s.contender, PRIMARY) for s in standings}
    names = [s.contender for s in standings]
    pairs = [pair for a, b in itertools.combinations(names, 2) if (pair := _pair(a, b, values)) is not None]
    adjusted = holm([pair.difference.p_value for pair in pairs])
    corrected = tuple(dataclasses.replace(p, adjusted=value) for p, value in zip(pairs, adjusted, strict=True))
    lost = {name: each for name in missing if (each := _lost(results, document, workload, name)) is not None}
    return Ranking(workload, tuple(standings), tuple(missing), corrected, lost)


def _lost(results: Results, document: Document, workload: str, contender: str) -> Trials | None:
    """Returns the trials of a contender that has no winner in any repetition, since they all diverged."""
    unit = (workload, contender)
    chosen = [s["trial"] for s in document.selections if (s["workload"], s["contender"]) == unit]
    trials = ended(results, workload, contender, "trial")
    if not len(trials) or len(chosen) < document.study.repetitions or any(trial is not None for trial in chosen):
        return None
    return _trials(results, document.study, workload, trials)


def _pair(first: str, second: str, values: Mapping[str, Mapping[Key, float]]) -> Pair | None:
    one, other = paired(values[first], values[second])
    if not one:
        return None
    differences = [a - b for a, b in zip(one, other, strict=True)]
    needed = None
    if len(one) > 1:
        deviation = statistics.stdev(differences)
        needed = seeds_needed(difference=statistics.fmean(differences), deviation=deviation)
    better = probability_better(one, other, higher=MEASURES[PRIMARY].higher_is_better)
    return Pair(first, second, paired_difference(one, other), None, better, needed)


def _standing(results: Results, document: Document, workload: str, contender: str) -> Standing | None:
    study = document.study
    confirmed = ended(results, workload, contender, "confirmation")
    if not len(confirmed):
        return None
    estimates = {}
    for measure in MEASURES:
        values = list(samples(results, study, workload, contender, measure).values())
        if values:
            estimates[measure] = estimate(values, domain=domain_of(measure))
    primary = list(samples(results, study, workload, contender, PRIMARY).values())
    if not primary:
        raise UserError(f"the confirmations of {contender} on {workload} have no {PRIMARY}: their records are damaged.")
    steps = _median_steps(results, study, workload, confirmed)
    a_step = _seconds_per_step(document, workload, contender)
    trials = ended(results, workload, contender, "trial")
    return Standing(
        contender=contender,
        trials=_trials(results, study, workload, trials) if len(trials) else None,
        winners=tuple(
            s
            for s in document.selections
            if (s["workload"], s["contender"]) == (workload, contender) and s["trial"] is not None
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


def _trials(results: Results, study: Study, workload: str, rows: pl.DataFrame) -> Trials:
    """Returns what a contender's trials say, each the mean over its seeds."""
    by_trial: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in rows.to_dicts():
        by_trial.setdefault((row["repetition"], row["trial"]), []).append(row)
    seeds = list(by_trial.values())
    judged = "validation_loss" if study.select == "steps_to_target" else study.select
    values = [_mean(study, trial, judged) for trial in seeds]
    higher = judged == "validation_accuracy"
    curve: list[float] = []
    if study.search != "grid":  # no part of a grid is a grid
        classes = dataset(study.workload(workload).dataset).num_classes
        chance = 1 / classes if higher else math.log(classes)
        bad = -math.inf if higher else math.inf
        curve = expected_best([bad if v is None else v for v in values], higher=higher, worst=chance)
    good = None
    if LEARNING_RATE in rows.columns:
        accuracies = [_mean(study, trial, "validation_accuracy") for trial in seeds]
        rates = [trial[0][LEARNING_RATE] for trial in seeds]
        good = sensitivity(rates, accuracies, POINT, higher=True) if min(rates) > 0 else None
    budget = study.trials_on(study.workload(workload))
    return Trials(len(seeds), sum(v is None for v in values), tuple(curve[:budget]), good)


def _mean(study: Study, seeds: Sequence[Mapping[str, Any]], measure: str) -> float | None:
    values = [final_or_best(study, row, measure) for row in seeds]
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _median_steps(results: Results, study: Study, workload: str, rows: pl.DataFrame) -> float | None:
    target = study.target(workload)
    if target is None:
        return None
    steps = [steps_of(results.lines(path), target) for path in rows["path"].to_list()]
    middle = statistics.median(math.inf if s is None else s for s in steps)
    return middle if math.isfinite(middle) else None


def _seconds_per_step(document: Document, workload: str, contender: str) -> float | None:
    found = (t for t in document.timings if (t["workload"], t["contender"]) == (workload, contender))
    return next((t["seconds_per_step"] for t in found), None)


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
