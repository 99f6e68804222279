"""A study's verdict as a JSON object, for scripts.

Numbers are in the metrics' own units (an accuracy is a fraction). A number is null if it is not known or not finite.
Intervals are [low, high] with 95% confidence, or null. The object has these fields:

* `format`: 1. It changes if fields change their meaning; fields may be added.
* `study`, `complete` (whether every optimizer is confirmed on every workload, or all its trials diverged there),
  `reference` (the optimizer with which others are compared, or null).
* `workloads`: a list of objects, one for each workload:
  * `name`; `measure`: `name`, `words`, `unit`, `higher_is_better`, `untrained` of the measure that ranks optimizers.
  * `optimizers`: the best first; each has `name`, `mean`, `interval`, `results` (how many), `diverged` (confirmations),
    `trials`, `trials_diverged`, `seconds` (of all its runs), and `selected`: a list of the selected hyperparameters of
    each search.
  * `missing`: names without results; `lost`: those of them whose trials all diverged.
  * `pairs`: `first` (the better one), `second`, `lead`, `interval` (corrected for all pairs), `p_value`, `p_adjusted`,
    `significant`.
  * `versus_reference`: of each other optimizer: `name`, `lead` (positive: better than the reference), `interval`,
    `p_value`, `p_adjusted`, `significant`, and `steps`, see below.
  * `text`: the paragraph.
* `steps` is null or an object: `measure` (of the curves), `reached` (whether the mean over seeds reaches the final
  result of the reference), `share` (of the reference's steps that this takes; null if not reached), `interval` (its
  upper end is null if it is not settled that the result is reached), `runs_reaching` (the share of single runs).
* `suite`: null if fewer than two workloads or two optimizers can be compared, else an object:
  * `workloads` and `left_out`: the names of the workloads that count and of those that do not; `missing`: the names of
    the optimizers that do not count, because they have no results on some workloads.
  * `optimizers`: the highest score first; each has `name`; `score`, `mean_rank` and `steps_share` (the median over
    workloads; its `value` is null if not reached), each with `value`, `over_seeds`, `over_workloads` (intervals), or
    null; `steps_reached_on` (a number of workloads, or null); `scores`: by workload, the scores of its runs.
  * `score_margin`: the scores of equally good optimizers can differ by this much because of the seeds.
  * `scales`: by workload: `zero` and `one` (the results with these scores), `logarithmic`, `zero_is_untrained`.
  * `friedman`: `statistic`, `f_statistic`, `p_value`, `critical_difference` (of mean ranks, Nemenyi).
  * `focus`: the names of the optimizers whose pairs are tested; empty if every pair is.
  * `pairs`: `first` (the higher score), `second`, `better_on` (a number of workloads), `p_value` (Wilcoxon's
    signed-rank test), `p_adjusted` (Holm; null if the pair is not tested), `significant`.
  * `single_settings`: of each tuned optimizer, if trials are the same on all workloads: `name`, `values`, `score`,
    `interval`, `left_out` (the score on each workload of the setting chosen on the others), `tuned`, `tuned_is_fresh`,
    `gain`, `gain_interval`, `expected_best` (by number of trials).
  * `text`: the paragraph.
* `scores`: AlgoPerf's score of each optimizer, by name: `value` and `interval`; empty without targets.
"""

from __future__ import annotations

import math
from typing import Any

from jaxopt_bench.results import Results
from jaxopt_bench.statistics import Aggregate, Estimate
from jaxopt_bench.strict_json import finite_or_none
from jaxopt_bench.study import Document
from jaxopt_bench.verdict.paragraphs import paragraphs
from jaxopt_bench.verdict.ranking import Ranking, Standing
from jaxopt_bench.verdict.reference import ReferenceComparison, compare_with_reference, reference_of
from jaxopt_bench.verdict.single_settings import SingleSetting
from jaxopt_bench.verdict.suite import SuiteVerdict
from jaxopt_bench.verdict.suite_text import describe_suite_verdict
from jaxopt_bench.verdict.verdict import Verdict

FORMAT = 1


def verdict_to_json(
    results: Results, document: Document, found: Verdict, suite: SuiteVerdict | None, reference: str | None = None
) -> dict[str, Any]:
    """Returns a study's verdict as a JSON object; see the module docstring.

    Args:
      results: the results of the study.
      document: the document of the study.
      found: the study's verdict on each workload.
      suite: the study's verdict over all workloads; None if there is none.
      reference: the optimizer to compare the others with; `REFERENCE` by default.
    """
    name = reference_of(document, reference)
    return {
        "format": FORMAT,
        "study": document.study.name,
        "complete": found.complete,
        "reference": name,
        "workloads": [_workload(results, document, found, ranking, name) for ranking in found.rankings],
        "suite": None if suite is None else _suite(suite),
        "scores": {
            who: {"value": score.mean, "interval": _interval(score.interval)} for who, score in found.scores.items()
        },
    }


def _workload(
    results: Results, document: Document, found: Verdict, ranking: Ranking, reference: str | None
) -> dict[str, Any]:
    primary = ranking.measures.primary
    versus = {} if reference is None else compare_with_reference(results, document, ranking, reference)
    fields = ("words", "unit", "higher_is_better", "untrained")
    return {
        "name": ranking.workload,
        "measure": {"name": primary.name, **{field: getattr(primary.metric, field) for field in fields}}
        | {"words": primary.words},
        "optimizers": [_standing(standing) for standing in ranking.standings],
        "missing": list(ranking.missing),
        "lost": list(ranking.lost),
        "pairs": [
            {"first": p.first, "second": p.second, **_estimate("lead", p.difference.estimate),
             "p_value": p.difference.p_value, "p_adjusted": p.adjusted, "significant": p.significant}
            for p in ranking.pairs
        ],
        "versus_reference": [_versus(each) for each in versus.values()],
        "text": " ".join(paragraphs(found, ranking)),
    }  # fmt: skip


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "name": standing.contender,
        **_estimate("mean", standing.primary),
        "results": standing.primary.count,
        "diverged": standing.diverged,
        "trials": None if standing.trials is None else standing.trials.count,
        "trials_diverged": None if standing.trials is None else standing.trials.diverged,
        "seconds": standing.cost,
        "selected": [dict(winner.winning_values) for winner in standing.winners],
    }


def _versus(versus: ReferenceComparison) -> dict[str, Any]:
    speed = versus.speed_up
    steps = None
    if speed is not None and versus.curve is not None:
        steps = {"measure": versus.curve.name, "reached": speed.share < math.inf, "share": finite_or_none(speed.share),
                 "interval": _interval(speed.interval), "runs_reaching": speed.reaching}  # fmt: skip
    return {"name": versus.contender, **_estimate("lead", versus.lead), "p_value": versus.p_value,
            "p_adjusted": versus.adjusted, "significant": versus.significant, "steps": steps}  # fmt: skip


def _suite(suite: SuiteVerdict) -> dict[str, Any]:
    test = suite.friedman
    return {
        "workloads": list(suite.workloads),
        "left_out": list(suite.left_out),
        "missing": list(suite.missing),
        "optimizers": [
            {
                "name": name,
                "score": _aggregate(suite.scores[name]),
                "mean_rank": _aggregate(suite.ranks[name]),
                "steps_share": _aggregate(suite.speed_ups.get(name)),
                "steps_reached_on": suite.reached_on(name),
                "scores": {workload: list(values) for workload, values in own.items()},
            }
            for name, own in suite.runs.items()
        ],
        "score_margin": suite.score_margin,
        "scales": {
            workload: {"zero": scale.zero, "one": scale.one, "logarithmic": scale.logarithmic,
                       "zero_is_untrained": scale.zero_is_untrained}
            for workload, scale in suite.scales.items()
        },
        "friedman": {"statistic": test.statistic, "f_statistic": finite_or_none(test.f_statistic),
                     "p_value": test.p_value, "critical_difference": test.critical_difference},
        "focus": list(suite.focus),
        "pairs": [
            {"first": p.first, "second": p.second, "better_on": p.better_on, "p_value": p.p_value,
             "p_adjusted": p.adjusted, "significant": p.significant}
            for p in suite.pairs
        ],
        "single_settings": [_single_setting(each) for each in suite.single_settings],
        "text": describe_suite_verdict(suite),
    }  # fmt: skip


def _single_setting(shared: SingleSetting) -> dict[str, Any]:
    return {
        "name": shared.contender,
        "values": dict(shared.values),
        **_estimate("score", shared.single),
        "left_out": dict(shared.left_out),
        "tuned": dict(shared.tuned),
        "tuned_is_fresh": shared.fresh,
        "gain": shared.gain.mean,
        "gain_interval": _interval(shared.gain.interval),
        "expected_best": list(shared.expected_best),
    }


def _estimate(name: str, found: Estimate | None) -> dict[str, Any]:
    if found is None:
        return {name: None, "interval": None}
    return {name: found.mean, "interval": _interval(found.interval)}


def _aggregate(found: Aggregate | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"value": finite_or_none(found.value), "over_seeds": _interval(found.over_seeds),
            "over_workloads": _interval(found.over_workloads)}  # fmt: skip


def _interval(ends: tuple[float, float] | None) -> list[float | None] | None:
    return None if ends is None else [finite_or_none(end) for end in ends]
