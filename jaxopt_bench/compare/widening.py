"""Widens a study: adds trials beyond the edges of search spaces towards which results still improve."""

from __future__ import annotations

import dataclasses
import math
import pathlib

from jaxopt_bench.compare.folder import StudyFolder
from jaxopt_bench.errors import UserError
from jaxopt_bench.formatting import join_words
from jaxopt_bench.optimizers import Space
from jaxopt_bench.results import load
from jaxopt_bench.study import (
    DOCUMENT,
    Contender,
    Extension,
    Study,
    describe_space,
    merge_studies,
    plan_confirmations,
    units,
)
from jaxopt_bench.verdict import verdict
from jaxopt_bench.verdict.trials import FEWEST_NEAREST

SHARE = 1 / 4
"""The number of trials in a box beyond an edge, as a share of the earlier trials.

A box usually has one more decade, which is about a quarter of 3.5 decades, the usual range of learning rates. There are
at least `FEWEST_NEAREST` trials in a box, so that they can show whether results continue to improve.
"""


@dataclasses.dataclass(frozen=True)
class Widening:
    """A study after widening, which may be unchanged.

    Attributes:
      study: the study, with the extensions of its search spaces and a larger budget.
      said: sentences about the extensions; or the reason why there are none.
    """

    study: Study
    said: tuple[str, ...]


def widen(study: Study, folder: pathlib.Path) -> Widening:
    """Returns a study whose search spaces are extended beyond the edges towards which its results still improve.

    An optimizer gets a box of trials beyond each such edge. All others get the same number of additional trials in
    their own search spaces. Nothing is written.

    Args:
      study: the study, or a part of it.
      folder: its folder. If some runs of its study have not ended, nothing is widened.

    Raises:
      UserError: if there is no such study, or its search is a grid.
    """
    if not (folder / DOCUMENT).exists():
        raise UserError(
            f"--widen needs the results of a study, and {folder} holds none. Expected the same command without --widen "
            "first."
        )
    study_folder = StudyFolder(folder)
    whole = merge_studies(study_folder.document.study, study)
    if whole.search == "grid":
        raise UserError("--widen cannot add trials to a grid. Expected a study whose search is 'sobol' or 'random'.")
    if not _has_ended(whole, study_folder):
        return Widening(whole, ("Not widened: some runs have not ended. They continue now; then use --widen again.",))
    boxes = {name: _boxes(whole.contender(name), edges) for name, edges in _improving(folder).items()}
    if not boxes:
        return Widening(whole, ("Not widened: no optimizer's results improve towards an edge of its search space.",))
    return _widened(whole, boxes)


def _has_ended(study: Study, folder: StudyFolder) -> bool:
    """Returns whether all runs of a study have ended. Winners are selected when all trials and finalists have ended."""
    document = folder.document
    for unit in units(study):
        found = document.selection(unit.key)
        if found is None:
            return False
        if found.trial is not None and folder.unfinished(plan_confirmations(study, unit, found.trial)):
            return False
    return True


def _improving(folder: pathlib.Path) -> dict[str, list[str]]:
    """Returns the edges towards which results improve on at least one workload, by contender."""
    results = load(folder)
    found: dict[str, list[str]] = {}
    for ranking in verdict(results, results.documents[0]).rankings:
        for standing in ranking.standings:
            for edge in standing.improving:
                known = found.setdefault(standing.contender, [])
                known += [edge] * (edge not in known)
    return found


def _boxes(contender: Contender, edges: list[str]) -> list[Space]:
    """Returns the boxes beyond some edges of a contender's search space."""
    return [box for edge in edges if (box := contender.beyond(edge)) is not None]


def _widened(study: Study, boxes: dict[str, list[Space]]) -> Widening:
    """Returns a study with extensions of its search spaces, and as many additional trials for all contenders."""
    budget, step = study.budget, _step(study)
    assert budget is not None, "something is tuned"
    kind = "trials" if study.trials is not None else "epochs of trials"
    contenders, said = [], []
    for contender in study.contenders:
        added = tuple(
            Extension(after=budget + number * step, until=budget + (number + 1) * step, space=box)
            for number, box in enumerate(boxes.get(contender.name, ()))
        )
        contenders.append(dataclasses.replace(contender, extensions=(*contender.extensions, *added)))
        said += [f"{contender.name}: {step} {kind} in {_beyond(contender, each.space)}." for each in added]
    most = step * max(map(len, boxes.values()))
    others = [c.name for c in study.contenders if c.searched and step * len(boxes.get(c.name, ())) < most]
    if others:
        said.append(
            f"Every tuned optimizer gets {most} more {kind}. Those of {join_words(others)} that are not listed above "
            "are drawn in the earlier search space."
        )
    size = {"trials" if study.trials is not None else "total_epochs": budget + most}
    wider = dataclasses.replace(study, contenders=tuple(contenders), **size)  # type: ignore[arg-type]
    return Widening(wider, ("Widened where results still improve towards an edge of a search space.", *said))


def _beyond(contender: Contender, box: Space) -> str:
    """Returns the range of a box that lies beyond a contender's search space."""
    return describe_space(Space({field: axis for field, axis in box.items() if axis != contender.reach[field]}))


def _step(study: Study) -> int:
    """Returns the budget of one box."""
    assert study.budget is not None, "something is tuned"
    fewest = FEWEST_NEAREST
    if study.trials is None:
        fewest *= study.trial_seeds * max(workload.epochs for workload in study.workloads)
    return max(fewest, math.ceil(SHARE * study.budget))
