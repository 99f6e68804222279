"""A study's job on another machine: the job is sent as plain data, and a worker runs it."""

from __future__ import annotations

import dataclasses
import os
import socket
import time
from typing import Any

import jax

from jaxopt_bench.compare.jobs import Job, JobKind, JobOptions, StepTime, perform
from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.runs import Interrupted, LockedError, Reporter
from jaxopt_bench.user_config import UserConfigLoader, loaded_configs

PATIENCE = 300.0  # seconds that a job waits for runs held by another process, such as a disconnected worker
POLL = 0.5  # seconds between two checks

working = False  # whether this process has run a job for another process


@dataclasses.dataclass(frozen=True)
class SerializedJob:
    """A job as plain data, because the configurations of users' code are classes made at run time, which pickle badly.

    Attributes:
      kind: the kind of the job.
      until_epoch: see `Job`.
      experiments: the job's experiments, in JSON.
      digests: their digests.
      users: the kind, the reference, the file and the code of each optimizer, problem and model of the user, for
        `UserConfigLoader.load_again`.
    """

    kind: JobKind
    until_epoch: int | None
    experiments: tuple[dict[str, Any], ...]
    digests: tuple[str, ...]
    users: tuple[tuple[UserConfigLoader[Any], str, str, str], ...]

    @classmethod
    def of(cls, job: Job) -> SerializedJob:
        """Returns a job as plain data."""
        users = {
            (found.users, found.reference, found.code_file, found.code): None
            for experiment in job.experiments
            for found in loaded_configs(experiment)
        }
        return cls(
            job.kind,
            job.until_epoch,
            tuple(experiment.to_json() for experiment in job.experiments),
            tuple(experiment.digest for experiment in job.experiments),
            tuple(users),
        )

    def load(self) -> list[Experiment]:
        """Returns the job's experiments.

        Raises:
          UserError: if they have another meaning on this machine, or the code of a user does not exist here.
        """
        for users, reference, code_file, code in self.users:
            users.load_again(reference, code_file, code)
        experiments = [Experiment.from_json(values) for values in self.experiments]
        if tuple(experiment.digest for experiment in experiments) != self.digests:
            raise UserError(
                "jaxopt_bench is not the version with which the study began. Expected: the same version on all nodes."
            )
        return experiments


@dataclasses.dataclass(frozen=True)
class WorkerSettings:
    """The data that all tasks of a study share.

    Attributes:
      options: the options of the jobs, with absolute paths.
      host: the name of the machine that started the study.
      threads: the number of threads of a task; None for a task that has GPUs.
      on_cpu: whether JAX must use the CPU.
    """

    options: JobOptions
    host: str
    threads: int | None = None
    on_cpu: bool = False


class WorkerStoppedError(Exception):
    """A worker was asked to stop, and stopped after writing a checkpoint."""


def work(task: SerializedJob, settings: WorkerSettings) -> StepTime | None:
    """Runs a job on a worker.

    Returns:
      See `perform`.

    Raises:
      UserError: see `perform`; also if the worker cannot run the job.
      WorkerStoppedError: if the worker is asked to stop.
    """
    global working
    working = True
    if (
        settings.threads is not None
    ):  # before JAX makes its threads; a worker's second job finds the number of its first
        os.environ.setdefault("NPROC", str(settings.threads))
    if settings.on_cpu:
        jax.config.update("jax_platforms", "cpu")
    try:
        experiments, folder = task.load(), settings.options.folder
        if not folder.is_dir():
            raise UserError(f"{folder} does not exist on this node. Expected: a folder that all nodes share.")
        return perform_patiently(task.kind, experiments, settings.options, task.until_epoch)
    except Interrupted as stop:  # a KeyboardInterrupt, which Ray would mistake for a cancelled task
        raise WorkerStoppedError(str(stop)) from stop
    except UserError as error:
        if settings.host == socket.gethostname():
            raise
        raise UserError(f"on {socket.gethostname()}: {error}") from error


def perform_patiently(
    kind: JobKind, experiments: list[Experiment], options: JobOptions, until_epoch: int | None = None
) -> StepTime | None:
    """Runs a job, after waiting for runs that another process holds; see `perform`."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return perform(kind, experiments, options, Reporter(), until_epoch=until_epoch)
        except LockedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL)
