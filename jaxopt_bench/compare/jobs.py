"""The pieces in which a study is worked off: populations of trials, populations of confirmations, and timings."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.runs import Options, Recording, Reporter, seconds_per_step, train_population
from jaxopt_bench.runs.environment import environment
from jaxopt_bench.runs.processes import found_by_first
from jaxopt_bench.study import FOLDERS, Planned, Unit
from jaxopt_bench.training import choose_code_path

Kind = Literal["trial", "confirmation", "timing"]


@dataclasses.dataclass(frozen=True)
class Job:
    """Runs of one unit and phase; of a timing, a run to time.

    Attributes:
      kind: what is done with them, trained or timed.
      unit: what they belong to.
      runs: what is trained, or timed.
    """

    kind: Kind
    unit: Unit
    runs: tuple[Planned, ...]

    @property
    def experiments(self) -> list[Experiment]:
        """What is trained, or timed."""
        return [run.experiment for run in self.runs]


@dataclasses.dataclass(frozen=True)
class Place:
    """Where jobs are done.

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


Outcome = dict[str, Any] | None
"""Of a timing, the seconds a step and where they were measured."""


def perform(kind: Kind, experiments: Sequence[Experiment], place: Place, reporter: Reporter) -> Outcome:
    """Does a job, or the rest of one that was begun."""
    if kind == "timing":
        path = dataclasses.replace(choose_code_path(devices=place.devices), devices=1)
        options = Options(data_dir=place.data_dir, code_path=path)
        seconds = found_by_first(lambda: seconds_per_step(experiments, options))
        return {"seconds_per_step": seconds, "environment": environment(path)}
    train_population(
        experiments,
        Options(
            runs_dir=place.folder / FOLDERS[kind],
            data_dir=place.data_dir,
            recording=Recording(tensorboard=False, keep_checkpoints=1),
            reporter=reporter,
            code_path=choose_code_path(devices=place.devices),
            largest=place.largest,
        ),
    )
    return None


class Watch(Protocol):
    """Is told how jobs go."""

    def begin(self, job: Job) -> Reporter:
        """A job begins; what is returned is told of its progress, where it is done by this process."""

    def end(self, job: Job) -> None:
        """A job has ended."""


Then = Callable[[Job, Outcome], Sequence[Job]]
"""Told that a job is done; returns what can be done now."""


class Executor(Protocol):
    """Does jobs."""

    def run(self, jobs: Sequence[Job], place: Place, watch: Watch, then: Then) -> None:
        """Does jobs, and those that they make possible."""


class Local:
    """Does jobs on this machine's devices, one after the other, in their order."""

    def run(self, jobs: Sequence[Job], place: Place, watch: Watch, then: Then) -> None:
        """See `Executor.run`."""
        queue = list(jobs)
        while queue:
            job = queue.pop(0)
            outcome = perform(job.kind, job.experiments, place, watch.begin(job))
            watch.end(job)
            queue += then(job, outcome)
