"""Runs a study, from its first trial to its last confirmation: tune, re-run the finalists, select, confirm, test."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Mapping, Sequence

from jaxopt_bench.compare.folder import StudyFolder
from jaxopt_bench.compare.jobs import RECORDING, Executor, Job, JobOptions, LocalExecutor, StepTime
from jaxopt_bench.compare.progress import Progress
from jaxopt_bench.compare.record import StudyRecord
from jaxopt_bench.compare.rungs import current_rung
from jaxopt_bench.errors import UserError
from jaxopt_bench.measures import Measure
from jaxopt_bench.problems import Problem, ProblemConfig
from jaxopt_bench.results.atomic_files import lock_folder
from jaxopt_bench.runs import LockedError, Recording, check_optimizer, discard_checkpoints, lock_directory
from jaxopt_bench.study import (
    HALVING,
    Document,
    PlannedRun,
    Selection,
    Study,
    Timing,
    Unit,
    experiment_of,
    plan_confirmations,
    plan_finalists,
    plan_trials,
    points,
    units,
)
from jaxopt_bench.training import Task
from jaxopt_bench.verdict import TrialScore, find_edges, judging_measure, rank_trials, trial_scores


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
    recording: Recording = RECORDING,
    record: str | pathlib.Path | None = None,
    compact: bool = False,
    only: Sequence[str] = (),
) -> Document:
    """Trains all unfinished runs of a study, and returns the study's document.

    An interrupted study is continued. If a study has grown, only its new runs are trained. Trials never read the test
    split.

    Args:
      study: the study.
      folder: the study's folder. If it already holds a study, both studies are merged, see `study.merge_studies`.
      data_dir: the folder of the problems' data; see `ProblemConfig.load`.
      executor: runs the jobs; None for this machine's devices.
      progress: receives the progress of the study; by default nothing is displayed.
      shard: (i, n): this process is the i-th, from 0, of n processes that share the work.
      largest: the maximum number of runs that are trained at once; None for as many as fit into memory.
      devices: the number of devices that share the work of a population.
      recording: the data that the runs write, and how often.
      record: a folder in the format of `Results.save`, or a new one. Runs in it are not trained again. Each contender
        on each workload is added to it when all its runs have finished. Then `folder` can be another one each time.
      compact: whether the record is compact; see `Results.save`.
      only: the names of the contenders to train now; the others are left for later. By default all.

    Raises:
      UserError: for a mistake that the user can correct, such as missing data, or a record of other runs.
      Interrupted: after SIGINT or SIGTERM, when a checkpoint has been written.
    """
    index, count = shard
    if not 0 <= index < count:
        raise UserError(f"the shard {index}/{count} does not exist. Expected: I/N with 0 <= I < N.")
    data_path = None if data_dir is None else pathlib.Path(data_dir)
    options = JobOptions(pathlib.Path(folder), data_path, largest, devices, recording)
    if record is not None and (study.search == HALVING or shard != (0, 1)):
        raise UserError(
            "a record is continued by one process, and it has no checkpoints with which a trial of halving could "
            f"continue. Expected no shard and another search than {HALVING!r}."
        )
    chosen = study.only(contenders=only)
    judged = _measures(chosen, options.data_dir)
    progress = progress or Progress()
    for unit in units(chosen):
        check_optimizer(experiment_of(unit.workload, unit.contender, seed=0, evaluate_test=False), progress.say)
    with contextlib.ExitStack() as stack:
        recorded = None
        if record is not None:
            pathlib.Path(record).mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock_folder(pathlib.Path(record), wait=False))
            recorded = StudyRecord(pathlib.Path(record), compact=compact)
            recorded.check_unchanged()
        study_folder = StudyFolder(options.folder, recorded)
        whole = study_folder.begin(study)
        judged = judged if whole.workloads == study.workloads else _measures(whole, options.data_dir)
        mine = whole.only(contenders=only)
        study_folder.add_to_record(units(mine))
        work = stack.enter_context(_StudyRunner(mine, study_folder, progress, shard, judged))
        (executor or LocalExecutor(in_turn=record is not None)).run(work.jobs(), options, work.progress, work.next_jobs)
        if recorded is not None:
            recorded.compress()
    return study_folder.document


def _measures(study: Study, data_dir: pathlib.Path | None) -> dict[str, Measure]:
    """Loads each problem once, checks that the study can be trained, and returns its measures.

    Returns:
      The measure that judges the trials, by workload.

    Raises:
      UserError: if data are missing, a problem lacks something that the study needs, or an optimizer cannot train it.
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
        Task(experiment, known[unit.workload.problem])  # checks the batch size, and that the optimizer can be used
    metrics = {workload.name: known[workload.problem].all_metrics for workload in study.workloads}
    study.check_metrics({name: [metric.name for metric in own] for name, own in metrics.items()})
    return {name: judging_measure(study, name, own) for name, own in metrics.items()}


class _StudyRunner:
    """The part of a study that this process runs."""

    def __init__(
        self,
        study: Study,
        folder: StudyFolder,
        progress: Progress,
        shard: tuple[int, int],
        judged: Mapping[str, Measure],
    ):
        self.study, self.folder, self.progress, self.shard, self.judged = study, folder, progress, shard, judged
        self.claims = contextlib.ExitStack()

    def __enter__(self) -> _StudyRunner:
        self.progress.start(self.study, self.folder, self._own_trials(), self.judged)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.claims.close()
        finally:
            self.progress.stop()  # otherwise its thread would continue to draw

    def jobs(self) -> list[Job]:
        """Returns the first jobs: this process's trials, and the next jobs of units whose trials have ended."""
        jobs = []
        for unit, runs in self._own_trials():
            jobs += self._training(unit, runs) or self._after_trials(unit)
        return jobs

    def next_jobs(self, job: Job, measured: StepTime | None) -> Sequence[Job]:
        """Records the result of a timing, and returns the jobs that follow from a job."""
        following = self._following(job, measured)
        if not following:
            self.folder.add_to_record([job.unit])
        return following

    def _following(self, job: Job, measured: StepTime | None) -> Sequence[Job]:
        if job.kind == "trial":
            rung = self._training(job.unit, plan_trials(self.study, job.unit)) if self.study.search == HALVING else []
            return rung or self._after_trials(job.unit)
        if job.kind == "finalist":
            return self._after_finalists(job.unit)
        if measured is not None:
            workload, contender, _ = job.unit.key
            self.folder.record(timings=[Timing(workload, contender, measured.seconds_per_step, measured.environment)])
            return []
        return self._timing(job.unit)

    def _own_trials(self) -> list[tuple[Unit, list[PlannedRun]]]:
        """Returns this process's units with their trials.

        If there are more processes than units, units are divided; but not with halving, which compares a unit's trials.
        """
        index, count = self.shard
        all_units = units(self.study)
        parts = 1 if self.study.search == HALVING else -(-count // len(all_units))
        shares = [(unit, plan_trials(self.study, unit)[part::parts]) for unit in all_units for part in range(parts)]
        return shares[index::count]

    def _training(self, unit: Unit, runs: Sequence[PlannedRun]) -> list[Job]:
        """Returns the job that continues the training of a unit's trials; none if all are trained."""
        left, epochs = self._rung(unit, runs)
        whole = epochs == unit.workload.epochs
        own = self.folder.unrecorded(left)
        return [Job("trial", unit, tuple(own), None if whole else epochs)] if self._unfinished(left, epochs) else []

    def _rung(self, unit: Unit, runs: Sequence[PlannedRun]) -> tuple[list[PlannedRun], int]:
        """Returns the trials of a unit that are still trained, and up to which epoch; see `current_rung`."""
        return current_rung(self.study, self.folder, unit, runs, self.judged[unit.workload.name])

    def _after_trials(self, unit: Unit) -> list[Job]:
        """Returns the next job of a unit whose trials have ended: that of its finalists, or the job after it.

        There is no such job while trials are missing (another process may have added some), or if another process runs
        the job.
        """
        planned = plan_trials(self.study, unit)
        left, epochs = self._rung(unit, planned)
        known = self.folder.document.trials(unit.key)
        if self.folder.unfinished(left, epochs) or known != [run.entry for run in planned]:
            return []
        claim = self.folder.path / "claims" / f"{unit.workload.name}_{unit.contender.name}" / str(unit.repetition)
        claim.mkdir(parents=True, exist_ok=True)
        try:
            self.claims.enter_context(lock_directory(claim))
        except LockedError:
            return []
        document = self.folder.document
        if self.study.finalists and not document.finalists(unit.key) and document.selection(unit.key) is None:
            self._choose_finalists(unit, left)
        again = self._finalists(unit)
        own = self.folder.unrecorded(again)
        return [Job("finalist", unit, tuple(own))] if self._unfinished(again) else self._after_finalists(unit)

    def _after_finalists(self, unit: Unit) -> list[Job]:
        """Returns the job that confirms a unit's winner, after selecting it; if the winner is confirmed, its timing."""
        if self.folder.document.selection(unit.key) is None:
            self._select(unit)
        found = self.folder.document.selection(unit.key)
        if found is None or found.trial is None:
            return []
        runs = plan_confirmations(self.study, unit, found.trial)
        own = self.folder.unrecorded(runs)
        return [Job("confirmation", unit, tuple(own))] if self._unfinished(runs) else self._timing(unit)

    def _unfinished(self, runs: Sequence[PlannedRun], until_epoch: int | None = None) -> list[PlannedRun]:
        """Returns the runs that have to be trained. Runs with missing files are trained again."""
        for path in self.folder.set_aside(runs):
            self.progress.say(f"a run was incomplete and is trained again; its incomplete files are now in {path}")
        return self.folder.unfinished(runs, until_epoch)

    def _timing(self, unit: Unit) -> list[Job]:
        """Returns the timing of a unit, if the study needs it and does not have it."""
        workload, contender, repetition = unit.key
        document = self.folder.document
        known = document.seconds_per_step(workload, contender) is not None
        found = document.selection(unit.key)
        if self.study.target(workload) is None or known or repetition or found is None or found.trial is None:
            return []
        return [Job("timing", unit, tuple(plan_confirmations(self.study, unit, found.trial)))]

    def _finalists(self, unit: Unit) -> list[PlannedRun]:
        """Returns the runs of a unit's finalists; none if these are not chosen yet, or no trial is trained again."""
        return plan_finalists(self.study, unit, self.folder.document.finalists(unit.key))

    def _scores(self, runs: Sequence[PlannedRun]) -> list[TrialScore]:
        return trial_scores(self.study, self.folder.results(runs)) if runs else []

    def _ranked(self, unit: Unit, scores: Sequence[TrialScore]) -> list[TrialScore]:
        return rank_trials(scores, higher=self.judged[unit.workload.name].higher_is_better)

    def _choose_finalists(self, unit: Unit, left: Sequence[PlannedRun]) -> None:
        """Chooses the trials that are trained again, and records them; none if there is nothing to select."""
        best = self._ranked(unit, self._scores(left))
        chosen = [score.trial for score in best[: self.study.finalists_among(len(best))]]
        if chosen:
            self.folder.record(finalists=plan_finalists(self.study, unit, chosen), among=plan_trials(self.study, unit))

    def _select(self, unit: Unit) -> None:
        """Selects the winner among a unit's finalists, or its trials if there are no finalists, and records it.

        Only their new results judge finalists. If all of them diverge, the winner is the one that was the best trial.
        With halving, the trials are those that are trained to the end.
        """
        planned, again = plan_trials(self.study, unit), self._finalists(unit)
        left, _ = self._rung(unit, planned)
        # first, so that it is done again if the process is killed before it has recorded the selection
        discard_checkpoints([self.folder.path / run.path for run in (*planned, *again)])
        new_scores = {score.trial: score for score in self._scores(again)}
        chosen = dict.fromkeys(run.trial for run in again)
        best = next(iter(self._ranked(unit, [*new_scores.values()] or self._scores(left))), None)
        trial = best.trial if best else next(iter(chosen), None if planned else 0)
        drawn = points(self.study, unit)
        found = Selection(
            *unit.key,
            trial=trial,
            value=best.value if best else None,
            values=None if trial is None else drawn[trial],
            edges=() if trial is None else tuple(find_edges(unit.contender.reach, drawn[trial])),
            diverged=len({run.trial for run in self.folder.diverged(planned)}),
            among=tuple(run.experiment.digest for run in planned),
            finalists={index: new_scores[index].value for index in chosen},
        )
        self.folder.record(selections=[found])
        self.progress.report_selection(unit, found)
