"""The jobs of a study: to train trials, finalists or confirmations as a population, or to time a training step."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.runs import (
    Options,
    Problems,
    Recording,
    Reporter,
    compile_ahead,
    seconds_per_step,
    train_population,
)
from jaxopt_bench.runs.environment import environment
from jaxopt_bench.runs.processes import run_on_first_process
from jaxopt_bench.study import FOLDERS, PlannedRun, Unit
from jaxopt_bench.training import choose_code_path

JobKind = Literal["trial", "finalist", "confirmation", "timing"]

RECORDING = Recording(tensorboard=False, keep_checkpoints=1, test_examples=True)
"""The recording options of the runs of studies."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A job on the runs of one unit in one phase.

    Attributes:
      kind: the phase whose runs are trained; "timing" if a training step of the runs is timed.
      unit: the unit.
      runs: the runs.
      until_epoch: the epoch up to which the runs are trained; None if they are trained to the end.
    """

    kind: JobKind
    unit: Unit
    runs: tuple[PlannedRun, ...]
    until_epoch: int | None = None

    @property
    def experiments(self) -> list[Experiment]:
        """The experiments of the runs."""
        return [run.experiment for run in self.runs]

    @property
    def epochs(self) -> int:
        """The number of epochs of its runs after the job."""
        return self.until_epoch or self.unit.workload.epochs


@dataclasses.dataclass(frozen=True)
class JobOptions:
    """Options of jobs.

    Attributes:
      folder: the folder of the study.
      data_dir: the folder of the problems' data; see `ProblemConfig.load`.
      largest: the maximum number of runs that are trained at once; None for as many as fit into memory.
      devices: the number of devices that share the work of a population. A training step is timed on one device.
      recording: the data that the runs write, and how often.
    """

    folder: pathlib.Path
    data_dir: pathlib.Path | None = None
    largest: int | None = None
    devices: int = 1
    recording: Recording = RECORDING

    def absolute(self) -> JobOptions:
        """Returns the same options with absolute paths."""
        data_dir = None if self.data_dir is None else self.data_dir.absolute()
        return dataclasses.replace(self, folder=self.folder.absolute(), data_dir=data_dir)


@dataclasses.dataclass(frozen=True)
class StepTime:
    """The result of a timing.

    Attributes:
      seconds_per_step: the time of a training step.
      environment: the environment of the measurement, see `runs.environment`.
    """

    seconds_per_step: float
    environment: Mapping[str, object]


def perform(
    kind: JobKind,
    experiments: Sequence[Experiment],
    options: JobOptions,
    reporter: Reporter,
    problems: Problems | None = None,
    on_training_start: Callable[[], None] | None = None,
    until_epoch: int | None = None,
) -> StepTime | None:
    """Runs a job, or its remaining part if it was interrupted.

    Args:
      kind: the kind of the job.
      experiments: the experiments of its runs.
      options: the options of all jobs.
      reporter: receives the progress.
      problems: data that several jobs share; see `runs.Options`.
      on_training_start: called when the training starts; see `runs.Options`.
      until_epoch: see `Job`.

    Returns:
      The result of a timing; None for the other jobs, whose results are in the study's folder.

    Raises:
      UserError: for a mistake that the user can correct, such as missing data.
      LockedError: if another process holds one of the runs.
      Interrupted: after SIGINT or SIGTERM, when a checkpoint has been written.
    """
    if kind == "timing":
        path = dataclasses.replace(choose_code_path(devices=options.devices), devices=1)
        own = Options(data_dir=options.data_dir, code_path=path, problems=problems)
        seconds = run_on_first_process(lambda: seconds_per_step(experiments, own))
        return StepTime(seconds, environment(path))
    training = training_options(kind, options, reporter, problems, until_epoch)
    if on_training_start is not None:
        training = dataclasses.replace(training, on_training_start=on_training_start)
    train_population(experiments, training)
    return None


def training_options(
    kind: JobKind, options: JobOptions, reporter: Reporter, problems: Problems | None, until_epoch: int | None = None
) -> Options:
    """Returns the training options of the runs of a job; see `perform`."""
    return Options(
        runs_dir=options.folder / FOLDERS[kind],
        data_dir=options.data_dir,
        recording=options.recording,
        reporter=reporter,
        code_path=choose_code_path(devices=options.devices),
        largest=options.largest,
        until_epoch=until_epoch,
        problems=problems,
    )


class JobListener(Protocol):
    """Receives a message when a job starts or ends."""

    def begin(self, job: Job) -> Reporter:
        """A job starts. The returned reporter receives its progress, if this process runs the job."""

    def end(self, job: Job) -> None:
        """A job has ended."""


NextJobs = Callable[[Job, StepTime | None], Sequence[Job]]
"""A function that is called with each ended job and the result of `perform`. It returns the jobs that can be done
next."""


class Executor(Protocol):
    """Runs jobs."""

    def run(self, jobs: Sequence[Job], options: JobOptions, listener: JobListener, next_jobs: NextJobs) -> None:
        """Runs jobs, and all jobs that follow from them.

        Args:
          jobs: the first jobs.
          options: the options of all jobs.
          listener: receives a message when a job starts or ends.
          next_jobs: returns the jobs that follow from an ended job.
        """


class LocalExecutor:
    """Runs jobs on this machine's devices, one after the other, in their order."""

    def __init__(self, compile_in_background: bool = False, in_turn: bool = False):
        """Makes an executor.

        Args:
          compile_in_background: whether a thread compiles the program of the next job during training. This process
            must then be able to end while the compiler works, as the command line can: see
            `interrupts.install_interrupt_handlers`.
          in_turn: whether all jobs of a unit are done before those of the next unit, so that the unit can be recorded.
        """
        self.compile_in_background, self.in_turn = compile_in_background, in_turn

    def run(self, jobs: Sequence[Job], options: JobOptions, listener: JobListener, next_jobs: NextJobs) -> None:
        """See `Executor.run`."""
        queue, compiling = list(jobs), _Compiling(options)
        while queue:
            job = queue.pop(0)
            compiling.wait()
            compile_next = (
                functools.partial(compiling.start, queue[0]) if self.compile_in_background and queue else None
            )
            reporter = listener.begin(job)
            result = perform(
                job.kind, job.experiments, options, reporter, compiling.problems, compile_next, job.until_epoch
            )
            listener.end(job)
            following = next_jobs(job, result)
            if self.in_turn:
                queue = [*following, *queue]
                continue
            rungs = [each for each in following if each.kind == job.kind]
            others = [each for each in following if each.kind != job.kind]
            queue = [*rungs, *queue, *others]  # so that only one search at a time has checkpoints on the disk


class _Compiling:
    """Compiles the program of a job in a thread that does not stop the process from ending."""

    def __init__(self, options: JobOptions):
        self.options, self.problems = options, Problems()
        self._thread: threading.Thread | None = None
        self._started: list[Job] = []

    def start(self, job: Job) -> None:
        """Starts to compile a job's program, once."""
        if job.kind != "timing" and job not in self._started:
            self.wait()
            self._started.append(job)
            self._thread = threading.Thread(target=self._compile, args=[job], name="compiling", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Waits until the program is compiled."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _compile(self, job: Job) -> None:
        with contextlib.suppress(Exception):  # the job itself will fail in the same way, with a message
            compile_ahead(job.experiments, training_options(job.kind, self.options, Reporter(), self.problems))
