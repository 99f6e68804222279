"""Single settings for all workloads: the best one, and the gain of tuning for each workload over it.

They are known only if trial i of a contender has the same hyperparameters on all workloads (`Study.same_trials`).
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from jaxopt_bench.measures import Measure
from jaxopt_bench.results import Results
from jaxopt_bench.statistics import Estimate, complete_mean, estimate, expected_best, shared_setting
from jaxopt_bench.study import HALVING, Contender, Document, Point, Study
from jaxopt_bench.verdict.samples import RunRow, final_or_best, samples, seeds_by_trial, select_ended_runs
from jaxopt_bench.verdict.score_scale import ScoreScale, score_scale
from jaxopt_bench.verdict.workload_measures import choose_measures

TrialKey = tuple[int, int]
"""A repetition and the index of a trial in it."""


@dataclasses.dataclass(frozen=True)
class SingleSetting:
    """A contender with one setting for all workloads. Scores are those of trials, not of the test split.

    Attributes:
      contender: the name of the contender.
      scores: the scores of its trials, by workload: 0 for an untrained model and for a trial that diverged, 1 for the
        best trial of all contenders on the workload.
      values: the hyperparameters of the setting that is best over all workloads.
      single: the mean over workloads of the score of a setting that was chosen on the other workloads, with Student's t
        interval over workloads.
      left_out: this score on each workload.
      tuned: the score on each workload of the setting that was tuned for it.
      fresh: whether `tuned` comes from the confirmations, with fresh seeds. Otherwise it comes from the best trials and
        is too good, because the same results chose them.
      gain: the mean of `tuned` − `left_out`, with Student's t interval over workloads.
      expected_best: the expected score of the best of 1, 2, … trials, the mean over workloads; see
        `statistics.expected_best`. Empty if a part of the trials is not a smaller search: for a grid, and for search
        spaces with extensions.
    """

    contender: str
    scores: Mapping[str, tuple[float, ...]]
    values: Point
    single: Estimate
    left_out: Mapping[str, float]
    tuned: Mapping[str, float]
    fresh: bool
    gain: Estimate
    expected_best: tuple[float, ...]


def compute_single_settings(
    results: Results, document: Document, workloads: Sequence[str]
) -> tuple[SingleSetting, ...]:
    """Returns each tuned contender with one setting for all workloads, the best first.

    Args:
      results: the results of the study.
      document: the document of the study.
      workloads: the workloads on which settings are compared.

    Returns:
      The settings. There are none for fewer than 2 workloads, for halving, which has results of the best trials only,
      and if trial i of a contender has other hyperparameters on another workload. A contender that is not tuned, or has
      fewer than 2 trials with records on all workloads, is left out.
    """
    study = document.study
    contenders = [c for c in study.contenders if c.searched]
    if len(workloads) < 2 or study.search == HALVING or not contenders:
        return ()
    found: dict[str, dict[str, dict[TrialKey, float | None]]] = {}
    points: dict[str, dict[TrialKey, Point]] = {}
    headlines = {workload: choose_measures(results, study, workload).headline for workload in workloads}
    for contender in contenders:
        trials = {w: _trials(results, w, contender) for w in workloads}
        common = [key for key in trials[workloads[0]] if all(key in own for own in trials.values())]
        drawn = [[_values(own[key][0], contender) for key in common] for own in trials.values()]
        if len(common) < 2:
            continue
        if any(own != drawn[0] for own in drawn):
            return ()
        points[contender.name] = dict(zip(common, drawn[0], strict=True))
        found[contender.name] = {
            w: {key: _mean(study, own[key], headlines[w]) for key in common} for w, own in trials.items()
        }
    if not found:
        return ()
    scales = {w: _scale(headlines[w], {name: by[w] for name, by in found.items()}) for w in workloads}
    known = {w: scale for w, scale in scales.items() if scale is not None}
    if len(known) < 2:
        return ()
    confirmed = {w: samples(results, document, w, headlines[w]) for w in known}
    shared = [
        _single_setting(study, contender, points[contender.name], found[contender.name], known, confirmed)
        for contender in contenders
        if contender.name in found
    ]
    return tuple(sorted(shared, key=lambda each: -each.single.mean))


def _trials(results: Results, workload: str, contender: Contender) -> dict[TrialKey, list[RunRow]]:
    """Returns the rows of the seeds of each trial of a contender on a workload, in order."""
    rows = select_ended_runs(results, workload, contender.name, "trial")
    found = {(seeds[0]["repetition"], seeds[0]["trial"]): seeds for seeds in seeds_by_trial(rows)}
    return dict(sorted(found.items()))


def _values(row: RunRow, contender: Contender) -> Point:
    return {field: row.get(field) for field in contender.searched}


def _mean(study: Study, seeds: Sequence[RunRow], measure: Measure) -> float | None:
    """Returns a trial's result, the mean over its seeds; None if one of them diverged."""
    return complete_mean([final_or_best(study, seed, measure.name) for seed in seeds])


def _scale(measure: Measure, trials: Mapping[str, Mapping[TrialKey, float | None]]) -> ScoreScale | None:
    """Returns the scale on which the best trial of all contenders has the score 1."""
    best = max if measure.higher_is_better else min
    known = {name: [value for value in own.values() if value is not None] for name, own in trials.items()}
    return score_scale(measure, {name: [best(values)] for name, values in known.items() if values})


def _single_setting(
    study: Study,
    contender: Contender,
    points: Mapping[TrialKey, Point],
    trials: Mapping[str, Mapping[TrialKey, float | None]],
    scales: Mapping[str, ScoreScale],
    confirmed: Mapping[str, Mapping[str, Sequence[float]]],
) -> SingleSetting:
    scores = {
        w: tuple(0.0 if value is None else scale.score(value) for value in trials[w].values())
        for w, scale in scales.items()
    }
    table: Float[np.ndarray, "workloads trials"] = np.array([*scores.values()])
    best = shared_setting(table)
    left_out = dict(zip(scores, best.left_out, strict=True))
    fresh = all(confirmed[w].get(contender.name) for w in scales)
    tuned = {
        w: statistics.fmean(scale.scores(confirmed[w][contender.name])) if fresh else max(scores[w])
        for w, scale in scales.items()
    }
    return SingleSetting(
        contender.name,
        scores,
        list(points.values())[best.trial],
        estimate([*left_out.values()]),
        left_out,
        tuned,
        fresh,
        estimate([tuned[w] - left_out[w] for w in scales]),
        () if study.search == "grid" or contender.extensions else _expected_best(table),
    )


def _expected_best(scores: Float[np.ndarray, "workloads trials"]) -> tuple[float, ...]:
    curves = [expected_best(own.tolist(), higher=True) for own in scores]
    return tuple(np.mean(curves, axis=0).tolist())
