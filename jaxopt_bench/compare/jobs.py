"""The pieces in which a study is worked off: populations of trials, populations of confirmations, and timings."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.runs import Options, Recording, Reporter, seconds_per_step, train_population
from jaxopt_bench.runs.environment import environment
from jaxopt_bench.runs.processes import found_by_first
from jaxopt_bench.study import FOLDERS, Planned, Unit
from jaxopt_bench.training import choose_code_path

JobKind = Literal["trial", "confirmation", "timing"]


@dataclasses.dataclass(frozen=True)
class Job:
    """Runs of one unit and phase; of a timing, a run to time.

    Attributes:
      kind: what is done with them, trained or timed.
      unit: what they belong to.
      runs: what is trained, or timed.
    """

    kind: JobKind
    unit: Unit
    runs: tuple[Planned, ...]

    @property
    def experiments(self) -> list[Experiment]:
        """What is trained, or timed."""
        return [run.experiment for run in self.runs]


@dataclasses.dataclass(frozen=True)
class JobOptions:
    """How jobs are done, and where.

    Attributes:
      folder: the study's.
      data_dir: where the problems' data are; see `ProblemConfig.load`.
      largest: at most so many runs at once; as many as fit where None.
      devices: how many share the work of a population; a run that is timed has one.
    """

    folder: pathlib.Path
    data_dir: pathlib.Path | None = None
    largest: int | None = None
    devices: int = 1

    def absolute(self) -> JobOptions:
        """Returns the same options with absolute paths."""
        data_dir = None if self.data_dir is None else self.data_dir.absolute()
        return dataclasses.replace(self, folder=self.folder.absolute(), data_dir=data_dir)


@dataclasses.dataclass(frozen=True)
class StepTime:
    """The result of a timing.

    Attributes:
      seconds_per_step: the time of a training step.
      environment: where it was measured, as `runs.environment` describes it.
    """

    seconds_per_step: float
    environment: Mapping[str, object]


def perform(
    kind: JobKind, experiments: Sequence[Experiment], options: JobOptions, reporter: Reporter
) -> StepTime | None:
    """Does a job, or the rest of one that was begun.

    Returns:
      The result of a timing; None of other jobs, whose results are in the study's folder.
    """
    if kind == "timing":
        path = dataclasses.replace(choose_code_path(devices=options.devices), devices=1)
        seconds = found_by_first(
            lambda: seconds_per_step(experiments, Options(data_dir=options.data_dir, code_path=path))
        )
        return StepTime(seconds, environment(path))
    train_population(
        experiments,
        Options(
            runs_dir=options.folder / FOLDERS[kind],
            data_dir=options.data_dir,
            recording=Recording(tensorboard=False, keep_checkpoints=1),
            reporter=reporter,
            code_path=choose_code_path(devices=options.devices),
            largest=options.largest,
        ),
    )
    return None


class Watch(Protocol):
    """Is told how jobs go."""

    def begin(self, job: Job) -> Reporter:
        """A job begins; what is returned is told of its progress, where it is done by this process."""

    def end(self, job: Job) -> None:
        """A job has ended."""


Then = Callable[[Job, StepTime | None], Sequence[Job]]
"""Is told that a job is done, and of a timing its result; returns the jobs that can be done now."""


class Executor(Protocol):
    """Does jobs."""

    def run(self, jobs: Sequence[Job], options: JobOptions, watch: Watch, then: Then) -> None:
        """Does jobs, and those that they make possible."""


class Local:
    """Does jobs on this machine's devices, one after the other, in their order."""

    def run(self, jobs: Sequence[Job], options: JobOptions, watch: Watch, then: Then) -> None:
        """See `Executor.run`."""
        queue = list(jobs)
        while queue:
            job = queue.pop(0)
            result = perform(job.kind, job.experiments, options, watch.begin(job))
            watch.end(job)
            queue += then(job, result)
