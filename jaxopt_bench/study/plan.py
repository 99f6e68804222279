"""The runs that a study plans. This module does not train or write anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.study.contender import Contender, experiment_of
from jaxopt_bench.study.entries import RunEntry, UnitKey
from jaxopt_bench.study.halving import HALVING
from jaxopt_bench.study.search import Point, draw
from jaxopt_bench.study.study import MOST_SEEDS, Study

Phase = Literal["trial", "finalist", "confirmation"]
FOLDERS = {"trial": "trials", "finalist": "finalists", "confirmation": "confirmations"}
"""The name of the folder with the runs of each phase."""

_SEEDS: tuple[Phase, ...] = ("trial", "confirmation", "finalist")
"""The phases in the order of their ranges of seeds within a repetition."""


@dataclasses.dataclass(frozen=True)
class Unit:
    """A part of a study that is tuned and confirmed separately: a contender on a workload, in one repetition."""

    workload: Workload
    contender: Contender
    repetition: int = 0

    @property
    def key(self) -> UnitKey:
        """The identity of the unit in files."""
        return UnitKey(self.workload.name, self.contender.name, self.repetition)

    @property
    def label(self) -> str:
        """The name of the unit in messages."""
        again = f" (search {self.repetition + 1})" if self.repetition else ""
        return f"{self.workload.name}, {self.contender.name}{again}"


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A planned run of a study.

    Attributes:
      unit: the unit of the run.
      phase: whether it is a trial, trains a finalist again, or confirms a winner.
      trial: the index of the trial whose values it has.
      seed: the index of the seed, from 0.
      experiment: the experiment of the run.
      values: the values that the trial has drawn, by field.
    """

    unit: Unit
    phase: Phase
    trial: int
    seed: int
    experiment: Experiment
    values: Point

    @property
    def path(self) -> str:
        """The directory of the run, relative to the study's folder."""
        return f"{FOLDERS[self.phase]}/{self.experiment.name}/{self.experiment.digest}"

    @property
    def entry(self) -> RunEntry:
        """The entry of the run in `study.json`."""
        seed, digest = self.experiment.seed, self.experiment.digest
        return RunEntry(self.phase, *self.unit.key, self.trial, seed, digest, self.path)


def units(study: Study) -> list[Unit]:
    """Returns the units of a study, workload after workload."""
    return [Unit(w, c, r) for w in study.workloads for c in study.contenders for r in range(study.repetitions)]


def points(study: Study, unit: Unit) -> list[Point]:
    """Returns the points of the trials of a unit; one empty point if nothing is searched.

    All contenders draw the same points of the unit cube, see `draw`. So contenders with the same search space have the
    same trials, and differences between contenders are not differences between draws (common random numbers: Glasserman
    and Yao 1992, "Some guidelines and guarantees for common random numbers"). The name of a contender does not affect
    its points.

    With `Study.same_trials`, the name of the workload does not affect them either. Otherwise, each workload has its own
    draws.

    Trials in an extension are drawn in its box. All others are the points of one sequence in the search space.
    """
    space = unit.contender.searched
    if not space:
        return [{}]
    of_workload = () if study.same_trials else (unit.workload.name,)
    purpose = (study.seed, *of_workload, unit.repetition)
    how = "sobol" if study.search == HALVING else study.search
    count = study.trials_on(unit.workload)
    boxes = [
        [min(count, study.trials_within(budget, unit.workload)) for budget in (extension.after, extension.until)]
        for extension in unit.contender.extensions
    ]
    own = draw(space, count - sum(until - after for after, until in boxes), how, *purpose)
    found: list[Point] = []
    taken = 0
    for number, ((after, until), extension) in enumerate(zip(boxes, unit.contender.extensions, strict=True)):
        before = taken + after - (boxes[number - 1][1] if number else 0)
        found += own[taken:before]
        if until > after:
            found += draw(extension.space, until - after, how, *purpose, f"extension {number}")
        taken = before
    return found + own[taken:]


def plan_trials(study: Study, unit: Unit) -> list[PlannedRun]:
    """Returns the trials of a unit, one after the other, each with all its seeds; none if nothing is searched."""
    if not unit.contender.searched:
        return []
    return [
        planned
        for index, values in enumerate(points(study, unit))
        for planned in _runs(study, unit, "trial", index, values, study.trial_seeds)
    ]


def plan_finalists(study: Study, unit: Unit, chosen: Sequence[int]) -> list[PlannedRun]:
    """Returns the runs that train the finalists of a unit again, one finalist after the other, each with all its seeds.

    Args:
      study: the study.
      unit: the unit.
      chosen: the indices of the finalists among the trials.
    """
    drawn = points(study, unit) if chosen else []
    return [
        planned
        for index in chosen
        for planned in _runs(study, unit, "finalist", index, drawn[index], study.finalist_seeds)
    ]


def plan_confirmations(study: Study, unit: Unit, trial: int) -> list[PlannedRun]:
    """Returns the runs that confirm a trial of a unit."""
    return list(_runs(study, unit, "confirmation", trial, points(study, unit)[trial], study.seeds))


def plan_all_runs(study: Study, unit: Unit) -> dict[Phase, list[PlannedRun]]:
    """Returns all runs of a unit, by phase and in the order of the phases.

    The finalists and the winner are not known yet: the first trials take their place.
    """
    found: dict[Phase, list[PlannedRun]] = {"trial": plan_trials(study, unit)}
    again = study.finalists_among(study.rungs_on(unit.workload, len(found["trial"]) // study.trial_seeds)[-1].trials)
    if again:
        found["finalist"] = plan_finalists(study, unit, range(again))
    return {**found, "confirmation": plan_confirmations(study, unit, 0)}


def _runs(study: Study, unit: Unit, phase: Phase, trial: int, values: Point, count: int) -> Iterator[PlannedRun]:
    contender = unit.contender.at(values)
    confirms = phase == "confirmation"
    first = study.seed + MOST_SEEDS * (len(_SEEDS) * unit.repetition + _SEEDS.index(phase))
    workload = unit.workload
    if confirms and study.refit:
        workload = dataclasses.replace(workload, problem=workload.problem.without_validation())
    track_test = confirms and study.track_test
    for seed in range(count):
        experiment = experiment_of(
            workload, contender, seed=first + seed, evaluate_test=confirms, track_test=track_test
        )
        yield PlannedRun(unit, phase, trial, seed, experiment, values)
