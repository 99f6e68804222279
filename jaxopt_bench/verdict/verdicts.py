"""The verdict of a study: a ranking for each workload, and performance profiles over all workloads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from jaxopt_bench.results import Results
from jaxopt_bench.statistics import Profile, algoperf_score, performance_profile
from jaxopt_bench.study import Document, Study
from jaxopt_bench.verdict.ranking import Ranking, ranking_of


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The verdict of a study.

    Attributes:
      study: the study.
      rankings: one for each workload.
      profiles: over the workloads with targets, by contender; empty below two of them.
      scores: AlgoPerf's, of the profiles.
      complete: whether every contender is confirmed on every workload, or has no winner.
    """

    study: Study
    rankings: tuple[Ranking, ...]
    profiles: Mapping[str, Profile]
    scores: Mapping[str, float]
    complete: bool


def verdict(results: Results, document: Document) -> Verdict:
    """Returns the verdict of a study, also if it is not complete.

    Args:
      results: the runs of the study.
      document: its document.
    """
    study = document.study
    rankings = tuple(ranking_of(results, document, w.name) for w in study.workloads)
    profiles = _profiles(study, rankings)
    decided = {s.unit: s.trial for s in document.selections}
    wanted = len(study.workloads) * len(study.contenders) * study.repetitions
    confirmed = sum(s.runs for r in rankings for s in r.standings)
    alive = sum(trial is not None for trial in decided.values())
    complete = len(decided) == wanted and confirmed == alive * study.seeds
    return Verdict(study, rankings, profiles, {name: algoperf_score(p) for name, p in profiles.items()}, complete)


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
