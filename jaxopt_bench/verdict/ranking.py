"""The ranking of contenders on one workload: the leader, its lead, and the certainty of this lead."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import statistics
from collections.abc import Mapping

import polars as pl

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import ParameterGroup, read_parameter_groups
from jaxopt_bench.results import Results, workload_metrics
from jaxopt_bench.statistics import Estimate, variance_shares
from jaxopt_bench.study import Document, Selection, Study
from jaxopt_bench.verdict.pairs import Pair, compare
from jaxopt_bench.verdict.samples import (
    by_search,
    deviation_floor,
    example_samples,
    lost_searches,
    run_steps_to_target,
    samples,
    select_ended_runs,
    worst_result,
)
from jaxopt_bench.verdict.trials import Trials, improving_edges, trials_of
from jaxopt_bench.verdict.workload_measures import WorkloadMeasures, choose_measures


@dataclasses.dataclass(frozen=True)
class Standing:
    """The results of a contender on a workload.

    Attributes:
      contender: the name of the contender.
      trials: its trials; None if it is not tuned.
      winners: the selections of its units that have a winner.
      lost: the number of its searches without a winner, because all trials diverged.
      runs: the number of confirmations that have ended.
      diverged: the number of diverged confirmations.
      results: estimates of the confirmations' means, by measure; `samples` defines the results.
      primary: the estimate for `WorkloadMeasures.primary`, which ranks the contender.
      steps, seconds: the steps and the seconds to the workload's target, the median over results; None if there is no
        target, or at least half of the results did not reach it. `seconds` is also None if no step was timed.
      times: the seconds to the target of each independent result; for a search, the median of its confirmations; inf if
        it was not reached; empty if there is no target or a step was not timed.
      cost: the seconds of all its runs.
      improving: the edges of its search space at which a winner lies and towards which the results still improve, such
        as "optimizer.b1 (low)"; see `improving_edges`.
      inner_rules: the parts of the network that its inner rules update; empty for an optimizer with a single rule.
    """

    contender: str
    trials: Trials | None
    winners: tuple[Selection, ...]
    lost: int
    runs: int
    diverged: int
    results: Mapping[str, Estimate]
    primary: Estimate
    steps: float | None
    seconds: float | None
    times: tuple[float, ...]
    cost: float
    improving: tuple[str, ...] = ()
    inner_rules: tuple[ParameterGroup, ...] = ()


@dataclasses.dataclass(frozen=True)
class Ranking:
    """A workload's contenders, the best first, and every pair of them.

    Attributes:
      workload: the name of the workload.
      measures: the measures that compare the contenders.
      standings: the standings of the contenders with confirmations.
      missing: the contenders without confirmations.
      pairs: the pairs, the better contender first, compared by `WorkloadMeasures.primary`.
      test_examples: the number of test examples whose single results the pairs take into account; None if these are not
        recorded, so that all intervals hold for the same test examples.
      worst: the result that counts for a run that diverged, and for a search whose trials all diverged; None if it is
        not known, and then they are left out.
      lost: the trials of those contenders of `missing` whose trials all diverged, by name.
      variance: the shares of the variance of a single result of a tuned contender by source, see `variance_shares`;
        None if they are not known.
    """

    workload: str
    measures: WorkloadMeasures
    standings: tuple[Standing, ...]
    missing: tuple[str, ...]
    pairs: tuple[Pair, ...]
    worst: float | None = None
    test_examples: int | None = None
    lost: Mapping[str, Trials] = dataclasses.field(default_factory=dict)
    variance: Mapping[str, float] | None = None

    @property
    def comparisons(self) -> int:
        """The number of pairs for which the tests are corrected."""
        return sum(pair.adjusted is not None for pair in self.pairs)

    def standing(self, contender: str) -> Standing | None:
        """Returns a contender's standing; None if it has no standing."""
        return next((s for s in self.standings if s.contender == contender), None)

    def pair(self, first: str, second: str) -> Pair:
        """Returns the pair of two contenders. `first` is the better one."""
        return next(p for p in self.pairs if (p.first, p.second) == (first, second))


def ranking_of(results: Results, document: Document, workload: str) -> Ranking:
    """Returns the ranking of a study's contenders on a workload, from the runs that have ended."""
    study = document.study
    measures = choose_measures(results, study, workload)
    reached = {name: samples(results, document, workload, measure) for name, measure in measures.by_name.items()}
    floors = {
        name: deviation_floor(results, workload, measures.by_name[name], values) for name, values in reached.items()
    }
    estimates = {
        name: {who: measures.by_name[name].estimate(own, floors[name]) for who, own in values.items()}
        for name, values in reached.items()
    }
    found = {c.name: _standing(results, document, workload, c.name, measures, estimates) for c in study.contenders}
    primary = measures.primary
    sign = -1 if primary.higher_is_better else 1
    standings = sorted(
        (s for s in found.values() if s is not None), key=lambda s: (sign * s.primary.mean, s.diverged / s.runs)
    )
    ranked = {s.contender: reached[primary.name][s.contender] for s in standings}
    examples = example_samples(results, document, workload, primary)
    pairs = compare(ranked, primary, floors[primary.name], examples)
    missing = [name for name, standing in found.items() if standing is None]
    lost = {name: each for name in missing if (each := _lost(results, document, workload, name, measures)) is not None}
    worst = worst_result(results, study, workload, primary)
    test_examples = next((array.shape[1] for array in (examples or {}).values()), None)
    searches = by_search(results, document, workload, primary)
    tuned = [own for name, own in searches.items() if study.contender(name).searched]
    sampling = None
    if test_examples is not None and pairs:
        sampling = statistics.fmean(pair.difference.sampling / 2 for pair in pairs)
    variance = variance_shares(tuned, sampling)
    return Ranking(workload, measures, tuple(standings), tuple(missing), pairs, worst, test_examples, lost, variance)


def _lost(
    results: Results, document: Document, workload: str, contender: str, measures: WorkloadMeasures
) -> Trials | None:
    """Returns the trials of a contender without a winner in any repetition, because all of them diverged."""
    trials = select_ended_runs(results, workload, contender, "trial")
    if not len(trials) or len(lost_searches(document, workload, contender)) < document.study.repetitions:
        return None
    return trials_of(document.study, workload, trials, measures)


def _standing(
    results: Results,
    document: Document,
    workload: str,
    contender: str,
    measures: WorkloadMeasures,
    estimates: Mapping[str, Mapping[str, Estimate]],
) -> Standing | None:
    study = document.study
    confirmed = select_ended_runs(results, workload, contender, "confirmation")
    if not len(confirmed):
        return None
    own = {name: of_all[contender] for name, of_all in estimates.items() if contender in of_all}
    primary = own.get(measures.primary.name)
    if primary is None and (confirmed["status"] == "completed").any():
        raise UserError(
            f"the confirmations of {contender} on {workload} have no {measures.primary.name}: their records are "
            "damaged."
        )
    if primary is None:  # all runs of all contenders diverged, and the value of an untrained model is not known
        return None
    lost = lost_searches(document, workload, contender)
    each_steps = _steps_of_results(results, study, workload, confirmed, len(lost))
    steps = statistics.median(each_steps) if each_steps else math.inf
    a_step = document.seconds_per_step(workload, contender)
    trials = select_ended_runs(results, workload, contender, "trial")
    again = select_ended_runs(results, workload, contender, "finalist")
    winners = tuple(s for s in document.selections_of(workload, contender) if s.trial is not None)
    return Standing(
        contender=contender,
        trials=trials_of(study, workload, trials, measures) if len(trials) else None,
        winners=winners,
        lost=len(lost),
        runs=len(confirmed),
        diverged=int((confirmed["status"] == "diverged").sum()),
        results=own,
        primary=primary,
        steps=steps if steps < math.inf else None,
        seconds=steps * a_step if steps < math.inf and a_step is not None else None,
        times=() if a_step is None else tuple(each * a_step for each in each_steps),
        cost=sum(second or 0.0 for rows in (confirmed, again, trials) for second in rows["seconds"].to_list()),
        improving=tuple(
            dict.fromkeys(e for w in winners for e in improving_edges(study, results, trials, w, measures.judged))
        ),
        inner_rules=_inner_rules(confirmed),
    )


def _inner_rules(runs: pl.DataFrame) -> tuple[ParameterGroup, ...]:
    """Returns the inner rules of the last run that recorded inner rules."""
    recorded = runs["inner_rules"].drop_nulls().to_list() if "inner_rules" in runs.columns else []
    for text in reversed(recorded):
        with contextlib.suppress(ValueError):
            return read_parameter_groups(json.loads(text))
    return ()


def _steps_of_results(results: Results, study: Study, workload: str, confirmed: pl.DataFrame, lost: int) -> list[float]:
    """Returns the steps to the target of each seed or, with several searches, the median of each; inf if not reached.

    The target is not reached by a search without a winner. The list is empty if the workload has no target.
    """
    target = study.target(workload)
    if target is None:
        return []
    metrics = workload_metrics(results.runs, workload)
    by_search: dict[int, list[float]] = {}
    for row in confirmed.sort("repetition", "seed").to_dicts():
        steps = run_steps_to_target(results.lines(row["path"]), target, metrics)
        by_search.setdefault(row["repetition"], []).append(math.inf if steps is None else steps)
    if study.repetitions == 1:
        return by_search[0]
    return [*map(statistics.median, by_search.values()), *[math.inf] * lost]
