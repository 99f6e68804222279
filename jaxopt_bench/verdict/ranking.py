"""The ranking of contenders on one workload: which one leads, by how much, and how certain that is."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import statistics
from collections.abc import Mapping

import polars as pl

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import Share, read_shares
from jaxopt_bench.results import Results, workload_metrics
from jaxopt_bench.statistics import Estimate
from jaxopt_bench.study import Document, Selection, Study
from jaxopt_bench.verdict.pairs import Pair, compare
from jaxopt_bench.verdict.samples import deviation_floor, ended, lost_searches, samples, steps_of, worst_result
from jaxopt_bench.verdict.scale import Scale, scale_of
from jaxopt_bench.verdict.trials import Trials, improving_edges, trials_of


@dataclasses.dataclass(frozen=True)
class Standing:
    """The results of a contender on a workload.

    Attributes:
      contender: its name.
      trials: its trials; None if it is not tuned.
      winners: the selections of its units; without those that have no winner.
      lost: how many of its searches have no winner, because all trials diverged.
      runs: the confirmations that have ended.
      diverged: how many of them diverged.
      results: estimates of the confirmations' means, by measure; see `samples` for what counts as a result.
      primary: the one of `Scale.primary`, by which it is ranked.
      steps, seconds: to the workload's target, the median over confirmations; None if most did not reach it.
      cost: the seconds of all its runs.
      improving: the edges of its search space at which a winner lies and towards which the results still improve, as
        "optimizer.b1 (low)".
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
    cost: float
    improving: tuple[str, ...] = ()
    inner_rules: tuple[Share, ...] = ()


@dataclasses.dataclass(frozen=True)
class Ranking:
    """A workload's contenders, the best first, and every pair of them.

    Attributes:
      workload: its name.
      scale: the measures by which the contenders are compared.
      standings: those of the contenders that have confirmations.
      missing: the contenders without confirmations.
      pairs: the better one first, compared by `Scale.primary`.
      worst: the result that counts for a run that diverged, and for a search whose trials all diverged; None if it is
        not known, and then they are left out.
      lost: the trials of those contenders of `missing` whose trials all diverged, by name.
    """

    workload: str
    scale: Scale
    standings: tuple[Standing, ...]
    missing: tuple[str, ...]
    pairs: tuple[Pair, ...]
    worst: float | None = None
    lost: Mapping[str, Trials] = dataclasses.field(default_factory=dict)

    @property
    def comparisons(self) -> int:
        """How many pairs are tested, for which the tests are corrected."""
        return sum(pair.adjusted is not None for pair in self.pairs)

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
    reached = {name: samples(results, document, workload, measure) for name, measure in scale.measures.items()}
    floors = {
        name: deviation_floor(results, workload, scale.measures[name], values) for name, values in reached.items()
    }
    estimates = {
        name: {who: scale.measures[name].estimate(own, floors[name]) for who, own in values.items()}
        for name, values in reached.items()
    }
    found = {c.name: _standing(results, document, workload, c.name, scale, estimates) for c in study.contenders}
    primary = scale.primary
    sign = -1 if primary.higher_is_better else 1
    standings = sorted(
        (s for s in found.values() if s is not None), key=lambda s: (sign * s.primary.mean, s.diverged / s.runs)
    )
    ranked = {s.contender: reached[primary.name][s.contender] for s in standings}
    pairs = compare(ranked, primary, floors[primary.name])
    missing = [name for name, standing in found.items() if standing is None]
    lost = {name: each for name in missing if (each := _lost(results, document, workload, name, scale)) is not None}
    worst = worst_result(results, study, workload, primary)
    return Ranking(workload, scale, tuple(standings), tuple(missing), pairs, worst, lost)


def _lost(results: Results, document: Document, workload: str, contender: str, scale: Scale) -> Trials | None:
    """Returns the trials of a contender that has no winner in any repetition, since they all diverged."""
    trials = ended(results, workload, contender, "trial")
    if not len(trials) or len(lost_searches(document, workload, contender)) < document.study.repetitions:
        return None
    return trials_of(document.study, workload, trials, scale)


def _standing(
    results: Results,
    document: Document,
    workload: str,
    contender: str,
    scale: Scale,
    estimates: Mapping[str, Mapping[str, Estimate]],
) -> Standing | None:
    study = document.study
    confirmed = ended(results, workload, contender, "confirmation")
    if not len(confirmed):
        return None
    own = {name: of_all[contender] for name, of_all in estimates.items() if contender in of_all}
    primary = own.get(scale.primary.name)
    if primary is None and (confirmed["status"] == "completed").any():
        raise UserError(
            f"the confirmations of {contender} on {workload} have no {scale.primary.name}: their records are damaged."
        )
    if primary is None:  # all diverged, and so did all others, and the value of an untrained model is not known
        return None
    steps = _median_steps(results, study, workload, confirmed)
    a_step = document.seconds_per_step(workload, contender)
    trials = ended(results, workload, contender, "trial")
    winners = tuple(s for s in document.selections_of(workload, contender) if s.trial is not None)
    return Standing(
        contender=contender,
        trials=trials_of(study, workload, trials, scale) if len(trials) else None,
        winners=winners,
        lost=len(lost_searches(document, workload, contender)),
        runs=len(confirmed),
        diverged=int((confirmed["status"] == "diverged").sum()),
        results=own,
        primary=primary,
        steps=steps,
        seconds=None if steps is None or a_step is None else steps * a_step,
        cost=sum(second or 0.0 for rows in (confirmed, trials) for second in rows["seconds"].to_list()),
        improving=tuple(
            dict.fromkeys(e for w in winners for e in improving_edges(study, results, trials, w, scale.judged))
        ),
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
