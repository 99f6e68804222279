"""The verdict of a study: a ranking for each workload, and performance profiles over all workloads."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from jaxopt_bench.display import NotebookDisplay
from jaxopt_bench.results import Results
from jaxopt_bench.statistics import Estimate, Profile, Scores, bootstrap_scores, performance_profile
from jaxopt_bench.study import Document, Study
from jaxopt_bench.verdict.ranking import Ranking, ranking_of


@dataclasses.dataclass(frozen=True)
class Verdict(NotebookDisplay):
    """The verdict of a study.

    Attributes:
      study: the study.
      rankings: one ranking for each workload.
      timed: the workloads with targets on which every contender was timed.
      profiles: the profiles over these workloads, by contender; empty if there are fewer than two workloads.
      scores: AlgoPerf's scores of the profiles, with intervals for the noise of seeds.
      margin: the noise of seeds can make scores of equally fast contenders differ by this much; see `Scores.margin`.
      complete: whether every contender is confirmed on every workload, or has no winner.
    """

    study: Study
    rankings: tuple[Ranking, ...]
    timed: tuple[str, ...]
    profiles: Mapping[str, Profile]
    scores: Mapping[str, Estimate]
    margin: float | None
    complete: bool


def verdict(results: Results, document: Document) -> Verdict:
    """Returns the verdict of a study, which may be incomplete.

    Args:
      results: the runs of the study.
      document: its document.
    """
    study = document.study
    rankings = tuple(ranking_of(results, document, w.name) for w in study.workloads)
    times = _times(study, rankings)
    decided = {s.unit: s.trial for s in document.selections}
    wanted = len(study.workloads) * len(study.contenders) * study.repetitions
    confirmed = sum(s.runs for r in rankings for s in r.standings)
    alive = sum(trial is not None for trial in decided.values())
    complete = len(decided) == wanted and confirmed == alive * study.seeds
    scores = bootstrap_scores(times) if times else Scores({}, None)
    medians = {name: {w: statistics.median(own) for w, own in by.items()} for name, by in times.items()}
    return Verdict(
        study,
        rankings,
        timed=tuple(next(iter(times.values()), {})),
        profiles=performance_profile(medians) if medians else {},
        scores=scores.estimates,
        margin=scores.margin,
        complete=complete,
    )


def _times(study: Study, rankings: Sequence[Ranking]) -> dict[str, dict[str, tuple[float, ...]]]:
    """Returns the times of each contender's results on the workloads with targets on which all contenders were timed.

    It is empty if there are fewer than two such workloads.
    """
    found = {r.workload: {s.contender: s.times for s in r.standings if s.times} for r in rankings}
    timed = {workload: by for workload, by in found.items() if len(by) == len(study.contenders)}
    if len(timed) < 2:
        return {}
    return {c.name: {workload: by[c.name] for workload, by in timed.items()} for c in study.contenders}
