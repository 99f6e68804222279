"""The cost of a study: its runs, compiled programs, time and disk space. Nothing is trained or written."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import jax

from jaxopt_bench.compare.costs import Costs, measure_costs
from jaxopt_bench.compare.folder import StudyFolder
from jaxopt_bench.compare.jobs import RECORDING
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.runs import Options, Problems, Reporter, check_optimizer, load_task, size_of_wave
from jaxopt_bench.study import (
    DOCUMENT,
    Document,
    Phase,
    PlannedRun,
    Study,
    Unit,
    experiment_of,
    merge_studies,
    plan_all_runs,
    plan_confirmations,
    plan_finalists,
    read_document,
    training_epochs,
    units,
)
from jaxopt_bench.training import Program

RECORD_BYTES, LINE_BYTES, LINES_OF_EPOCH = 20_000, 350, 4
"""The size of a run's files without its lines of metrics, the size of a line, and the number of lines per epoch."""
CHECKPOINTS = 2
"""The maximum number of checkpoints of a population at a time: the last one, and one being written or the best one."""


@dataclasses.dataclass(frozen=True)
class PhaseCost:
    """The cost of a phase of a study.

    Attributes:
      phase: the name of the phase.
      runs: the number of its runs.
      finished: the number of finished runs.
      programs: the number of programs to compile for the other runs, without those of earlier phases.
      compiling: the seconds to compile these programs.
      training: the seconds to train the other runs.
    """

    phase: Phase
    runs: int
    finished: int
    programs: int
    compiling: float
    training: float

    @property
    def seconds(self) -> float:
        """The total time in seconds."""
        return self.compiling + self.training


@dataclasses.dataclass(frozen=True)
class StudyCost:
    """The cost of a study on this machine.

    Attributes:
      study: the study, merged with the study in its folder.
      phases: its phases, in their order.
      disk: the maximum size of its folder in bytes.
      measured: the name of the contender whose training was measured, for each workload that has runs to train.
    """

    study: Study
    phases: tuple[PhaseCost, ...]
    disk: int
    measured: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class _Part:
    """The runs of a unit in a phase.

    Attributes:
      runs: all runs.
      left: the runs that have not finished.
      epochs: the total epochs of the runs that have not finished; with halving, only promoted trials have all epochs.
    """

    unit: Unit
    phase: Phase
    runs: Sequence[PlannedRun]
    left: Sequence[PlannedRun]
    epochs: int


def estimate_study_cost(
    study: Study, folder: pathlib.Path, data_dir: pathlib.Path | None, largest: int | None, reporter: Reporter
) -> StudyCost:
    """Returns the cost of training the unfinished runs of a study.

    On each workload, the training of one contender is measured for a few seconds. The times of all contenders are
    estimated from this measurement, with a margin.

    Args:
      study: the study.
      folder: its folder; if it holds a smaller study, the cost is that of both together.
      data_dir: the folder of the problems' data; see `ProblemConfig.load`.
      largest: the maximum number of runs that are trained at once; None if all runs of a population fit into memory.
      reporter: receives messages about the optimizers.

    Raises:
      UserError: if the folder holds a study that cannot grow into this one, data are missing, or an optimizer cannot
        train a workload.
    """
    for unit in units(study):
        check_optimizer(experiment_of(unit.workload, unit.contender, seed=0, evaluate_test=False), reporter.say)
    document = read_document(folder / DOCUMENT) if (folder / DOCUMENT).exists() else None
    whole = merge_studies(document.study, study) if document else study
    options = Options(data_dir=data_dir, problems=Problems(), reporter=reporter)
    parts = _parts(whole, folder, document)
    disk = _disk(parts, options)
    first = {part.unit.workload.name: part for part in reversed(parts) if part.left}
    measured = {name: part for name in (w.name for w in whole.workloads) if (part := first.get(name)) is not None}
    costs = {name: measure_costs(part.left[0].experiment, options) for name, part in measured.items()}
    compiled: set[tuple[str, int]] = set()
    phases = tuple(
        _phase_cost(phase, [part for part in parts if part.phase == phase], costs, compiled, largest)
        for phase in dict.fromkeys(part.phase for part in parts)
    )
    return StudyCost(whole, phases, disk, {name: part.unit.contender.name for name, part in measured.items()})


def _parts(study: Study, folder: pathlib.Path, document: Document | None) -> list[_Part]:
    """Returns the runs of all units, phase after phase."""
    found = []
    for unit in units(study):
        runs = plan_all_runs(study, unit)
        selection = document.selection(unit.key) if document else None
        if selection is not None and selection.among == tuple(run.experiment.digest for run in runs["trial"]):
            runs["confirmation"] = [] if selection.trial is None else plan_confirmations(study, unit, selection.trial)
        if document is not None and (chosen := document.finalists(unit.key)):
            runs["finalist"] = plan_finalists(study, unit, chosen)
        for phase, own in runs.items():
            left = StudyFolder(folder).unfinished(own)
            found.append(_Part(unit, phase, own, left, _epochs(study, unit, phase, own, left)))
    order = [*dict.fromkeys(part.phase for part in found)]
    return sorted(found, key=lambda part: order.index(part.phase))


def _epochs(study: Study, unit: Unit, phase: Phase, runs: Sequence[PlannedRun], left: Sequence[PlannedRun]) -> int:
    """Returns the total number of epochs of the remaining runs; for trials with halving, their share of the epochs."""
    if phase != "trial" or not runs:
        return len(left) * unit.workload.epochs
    rungs = study.rungs_on(unit.workload, len(runs) // study.trial_seeds)
    return math.ceil(training_epochs(rungs) * study.trial_seeds * len(left) / len(runs))


def _phase_cost(
    phase: Phase,
    parts: Sequence[_Part],
    costs: Mapping[str, Costs],
    compiled: set[tuple[str, int]],
    largest: int | None,
) -> PhaseCost:
    """Returns the cost of a phase, and adds its programs to the compiled programs."""
    before, compiling, training = len(compiled), 0.0, 0.0
    for part in parts:
        if part.left:
            populations = list(_populations([run.experiment for run in part.left], largest))
            new = len(compiled | {*populations}) - len(compiled)
            compiled.update(populations)
            epochs = part.epochs
            tracked = part.left[0].experiment.track_test
            own = costs[part.unit.workload.name]
            compiling += own.programs(new, again=len(populations) - new)
            training += own.epochs(epochs, evaluations=2 * epochs if tracked else epochs)
    runs, left = sum(len(part.runs) for part in parts), sum(len(part.left) for part in parts)
    return PhaseCost(phase, runs, runs - left, len(compiled) - before, compiling, training)


def _populations(experiments: Sequence[Experiment], largest: int | None) -> Iterator[tuple[str, int]]:
    """Yields the populations that train the experiments: the program of each, and its size."""
    groups: collections.Counter[str] = collections.Counter()
    for experiment in experiments:
        groups[json.dumps(dataclasses.replace(experiment, evaluate_test=False, track_test=False).program())] += 1
    for program, count in groups.items():
        while count:
            size = size_of_wave(count, min(largest or count, count), devices=1)
            yield program, size
            count -= size


def _disk(parts: Sequence[_Part], options: Options) -> int:
    """Returns the maximum size of a study's folder in bytes.

    The checkpoints of a unit's runs are removed when its winner is selected; the checkpoints of confirmations remain.
    """
    records, kept, removed = 0.0, 0, 0
    for part in parts:
        if part.runs:
            task, _ = load_task(part.runs[0].experiment, options)
            lines = task.steps / RECORDING.log_every + LINES_OF_EPOCH * part.unit.workload.epochs
            records += len(part.runs) * (RECORD_BYTES + LINE_BYTES * lines)
            state = Program(task).abstract_checkpoint()
            each = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
            checkpoints = CHECKPOINTS * len(part.runs) * each
            if part.phase == "confirmation":
                kept += checkpoints
            else:
                removed = max(removed, checkpoints)
    return round(records) + kept + removed
