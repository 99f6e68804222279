"""A study from its trials to its last confirmation: tune, select, confirm, test."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Mapping, Sequence

from jaxopt_bench.compare.folder import StudyFolder
from jaxopt_bench.compare.jobs import Executor, Job, JobOptions, Local, StepTime
from jaxopt_bench.compare.progress import Progress
from jaxopt_bench.errors import UserError
from jaxopt_bench.measures import Measure
from jaxopt_bench.problems import Problem, ProblemConfig
from jaxopt_bench.runs import LockedError, check_optimizer, discard_checkpoints, locked
from jaxopt_bench.study import (
    Document,
    Planned,
    Selection,
    Study,
    Timing,
    Unit,
    confirmations,
    experiment_of,
    points,
    trials,
    units,
)
from jaxopt_bench.training import Task
from jaxopt_bench.verdict import edges, judged_by, select, trial_scores


def compare(
    study: Study,
    folder: str | pathlib.Path,
    *,
    data_dir: str | pathlib.Path | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    shard: tuple[int, int] = (0, 1),
    largest: int | None = None,
    devices: int = 1,
) -> Document:
    """Works a study off, or what is left of it, and returns what its folder says then.

    Nothing is run twice: a study that was stopped goes on, and one that has grown trains what is new. Trials never read
    the test split.

    Args:
      study: what to compare.
      folder: the study's folder; one that holds a study must hold this one, or a smaller one.
      data_dir: where the problems' data are; see `ProblemConfig.load`.
      executor: what does the work; this machine's devices where None.
      progress: what is told how it goes; by default nothing is shown.
      shard: (i, n): this process is the i-th, from 0, of n that share the work, each started with its own i.
      largest: at most so many runs at once; as many as fit into memory where None.
      devices: how many devices share the work of a population.

    Raises:
      UserError: for a mistake the user can mend, such as data that are missing.
      Interrupted: after SIGINT or SIGTERM, once a checkpoint is written.
    """
    index, count = shard
    if not 0 <= index < count:
        raise UserError(f"the shard {index}/{count} does not exist; accepted: I/N with 0 <= I < N.")
    options = JobOptions(pathlib.Path(folder), None if data_dir is None else pathlib.Path(data_dir), largest, devices)
    judged = _judged(study, options.data_dir)
    progress = progress or Progress()
    for unit in units(study):
        check_optimizer(experiment_of(unit.workload, unit.contender, seed=0, evaluate_test=False), progress.say)
    at = StudyFolder(options.folder)
    whole = at.begin(study)
    judged = judged if whole.workloads == study.workloads else _judged(whole, options.data_dir)
    with _Work(whole, at, progress, shard, judged) as work:
        (executor or Local()).run(work.jobs(), options, work.progress, work.then)
    return at.document


def _judged(study: Study, data_dir: pathlib.Path | None) -> dict[str, Measure]:
    """Loads each different problem once, and returns by workload what its trials are judged by.

    Raises:
      UserError: if data are missing, the study asks for what a problem does not have, or an optimizer cannot train it.
    """
    known: dict[ProblemConfig, Problem] = {}
    for workload in study.workloads:
        if study.refit:
            workload.problem.without_validation()
        if workload.problem not in known:
            problem = workload.problem.load(data_dir)
            known[workload.problem] = problem
            if problem.validation is None:
                study.check_unvalidated(workload.name)
    for unit in units(study):
        experiment = experiment_of(unit.workload, unit.contender, seed=0, evaluate_test=False)
        Task(experiment, known[unit.workload.problem])  # it checks the batch size, and that the optimizer can be used
    metrics = {workload.name: known[workload.problem].measured for workload in study.workloads}
    study.check_metrics({name: [metric.name for metric in own] for name, own in metrics.items()})
    return {name: judged_by(study, name, own) for name, own in metrics.items()}


class _Work:
    """What this process does of a study."""

    def __init__(
        self,
        study: Study,
        at: StudyFolder,
        progress: Progress,
        shard: tuple[int, int],
        judged: Mapping[str, Measure],
    ):
        self.study, self.at, self.progress, self.shard, self.judged = study, at, progress, shard, judged
        self.claims = contextlib.ExitStack()

    def __enter__(self) -> _Work:
        self.progress.start(self.study, self.at, self._own_trials(), self.judged)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.claims.close()
        finally:
            self.progress.stop()  # else its thread would go on drawing

    def jobs(self) -> list[Job]:
        """Returns this process's trials, and what can be confirmed at once."""
        jobs = []
        for unit, runs in self._own_trials():
            left = self._left(runs)
            jobs += [Job("trial", unit, tuple(runs))] if left else self._confirmed(unit)
        return jobs

    def then(self, job: Job, measured: StepTime | None) -> Sequence[Job]:
        """Returns the jobs that a job makes possible, after recording what a timing measured."""
        if job.kind == "trial":
            return self._confirmed(job.unit)
        if measured is not None:
            workload, contender, _ = job.unit.key
            self.at.record(timings=[Timing(workload, contender, measured.seconds_per_step, measured.environment)])
            return []
        return self._timed(job.unit)

    def _own_trials(self) -> list[tuple[Unit, list[Planned]]]:
        """Returns the units, or parts of units where there are more processes than units, that are this process's."""
        index, count = self.shard
        all_units = units(self.study)
        parts = -(-count // len(all_units))
        shares = [(unit, trials(self.study, unit)[part::parts]) for unit in all_units for part in range(parts)]
        return shares[index::count]

    def _confirmed(self, unit: Unit) -> list[Job]:
        """Returns what confirms a unit's winner; nothing while trials are missing or another process does it."""
        planned = trials(self.study, unit)
        if self.at.unfinished(planned):
            return []
        claim = self.at.path / "claims" / f"{unit.workload.name}_{unit.contender.name}" / str(unit.repetition)
        claim.mkdir(parents=True, exist_ok=True)
        try:
            self.claims.enter_context(locked(claim))
        except LockedError:
            return []
        if self.at.document.selection(unit.key) is None:
            discard_checkpoints([self.at.path / run.path for run in planned])  # before: a kill in between repeats it
            self._select(unit, planned)
        found = self.at.document.selection(unit.key)
        if found is None or found.trial is None:
            return []
        runs = confirmations(self.study, unit, found.trial)
        return [Job("confirmation", unit, tuple(runs))] if self._left(runs) else self._timed(unit)

    def _left(self, runs: Sequence[Planned]) -> list[Planned]:
        """Returns the runs that this process has to train. Those of which files are missing are trained again."""
        for path in self.at.set_aside(runs):
            self.progress.say(f"a run was incomplete and is trained again; what there was of it is now in {path}")
        return self.at.unfinished(runs)

    def _timed(self, unit: Unit) -> list[Job]:
        """Returns the timing of a unit where it is wanted and missing."""
        workload, contender, repetition = unit.key
        document = self.at.document
        known = document.seconds_per_step(workload, contender) is not None
        found = document.selection(unit.key)
        if self.study.target(workload) is None or known or repetition or found is None or found.trial is None:
            return []
        return [Job("timing", unit, tuple(confirmations(self.study, unit, found.trial)))]

    def _select(self, unit: Unit, planned: list[Planned]) -> None:
        """Writes down which trial of a unit won."""
        scores = trial_scores(self.study, self.at.results(planned)) if planned else []
        best = select(scores, higher=self.judged[unit.workload.name].higher_is_better)
        drawn = points(self.study, unit)
        trial = best.trial if best else None if planned else 0
        found = Selection(
            *unit.key,
            trial=trial,
            value=best.value if best else None,
            values=None if trial is None else drawn[trial],
            edges=() if trial is None else tuple(edges(unit.contender.searched, drawn[trial])),
            diverged=sum(score.loss is None for score in scores),
            among=tuple(run.experiment.digest for run in planned),
        )
        self.at.record(selections=[found])
        self.progress.selected(unit, found)
