"""Decides from recorded metrics up to which epoch a unit's trials are trained."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from jaxopt_bench.compare.folder import StudyFolder
from jaxopt_bench.measures import Measure
from jaxopt_bench.study import PlannedRun, Study, Unit
from jaxopt_bench.verdict import rank_trials, trial_scores


def current_rung(
    study: Study, folder: StudyFolder, unit: Unit, planned: Sequence[PlannedRun], judged: Measure
) -> tuple[list[PlannedRun], int]:
    """Returns the trials at the first rung that some of them have not reached, or otherwise at the last rung.

    Promotions depend only on the metrics that were recorded up to a rung's epoch. So a study that was stopped, or has
    grown, promotes the same trials as an uninterrupted one.

    Args:
      study: the study; without halving there is a single rung, the end of training.
      folder: its folder.
      unit: the unit.
      planned: its trials; with halving, all of them.
      judged: the measure that judges them.

    Returns:
      The trials, and the epoch up to which they are trained. There are no trials if all of them diverged before.
    """
    left = list(planned)
    rungs = study.rungs_on(unit.workload, len(planned) // study.trial_seeds)
    for rung, following in itertools.pairwise(rungs):
        if not left or folder.unfinished(left, rung.epochs):
            return left, rung.epochs
        scores = trial_scores(study, folder.results(left), rung.epochs)
        promoted = {score.trial for score in rank_trials(scores, higher=judged.higher_is_better)[: following.trials]}
        left = [run for run in left if run.trial in promoted]
    return left, rungs[-1].epochs
