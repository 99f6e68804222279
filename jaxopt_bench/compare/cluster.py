"""Runs the jobs of a study on a Ray cluster, each as a task; `worker` contains the code of a task."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from jaxopt_bench.compare import worker
from jaxopt_bench.compare.jobs import Job, JobListener, JobOptions, NextJobs, StepTime
from jaxopt_bench.compare.worker import POLL, SerializedJob, WorkerSettings, WorkerStoppedError, work
from jaxopt_bench.errors import UserError
from jaxopt_bench.formatting import format_count
from jaxopt_bench.runs import Interrupted, finished, handle_stop_signals

RETRIES = 20  # of a job whose worker or node dies; each retry resumes from the last checkpoint
GRACE = 60.0  # seconds for workers to write a checkpoint when the study is stopped
VISIBLE = 90.0  # seconds until a node sees a new file of another node; NFS caches that a file is missing
STORE = 128 * 2**20  # bytes of shared memory for the objects of a new cluster, which are small
NEW = "local"  # the address with which Ray starts a cluster


@dataclasses.dataclass(frozen=True)
class ClusterExecutor:
    """Runs jobs on a Ray cluster, as many at the same time as fit.

    All nodes share the study's folder under the same path, with locks that work across nodes (as NFS has), and have the
    same version of this package, and the problems' data. If a worker or node dies, its job is run again, up to 20
    times, from the last checkpoint, which is the end of an epoch. If another process holds the runs of a job, such as a
    worker that has lost its connection without noticing, the job waits up to five minutes for it.

    A task trains a population, which uses all free memory. So by default, a task has its own GPU if the cluster has
    GPUs, and otherwise a whole node. Tasks with fewer CPUs share a node. Each of these has as many threads as CPUs,
    unless the environment variable `NPROC`, which XLA reads, is set. They need a limit on the number of runs that are
    trained together. The times of training steps are measured on any node, also if other tasks run there.

    Attributes:
      address: "auto" for the cluster of this machine, or HOST:PORT of a cluster's head. None for the address in the
        environment variable RAY_ADDRESS, or otherwise a new cluster on this machine, which ends with the study. If this
        process is already connected to Ray, it uses that connection.
      cpus: the number of CPUs of a task. None means 1 if the task has a GPU, and otherwise the CPUs of the smallest
        node.
      gpus: the number of GPUs of a task. None means one per device if any node has a GPU, and otherwise 0. With 0, JAX
        uses the CPU.

    Raises:
      UserError: if `cpus` is not above 0, or `gpus` is negative.
    """

    address: str | None = None
    cpus: float | None = None
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.cpus is not None and not self.cpus > 0:
            raise UserError(f"cpus is {self.cpus:g}. Expected: a number above 0.")
        if self.gpus is not None and not self.gpus >= 0:
            raise UserError(f"gpus is {self.gpus:g}. Expected: 0 or more.")

    def run(self, jobs: Sequence[Job], options: JobOptions, listener: JobListener, next_jobs: NextJobs) -> None:
        """See `Executor.run`. If it ends early, workers that can be reached write a checkpoint first.

        Raises:
          UserError: if Ray is not installed, there is no such cluster, no node is large enough for a task, or a job
            fails because of a mistake that the user can correct.
          Interrupted: after SIGINT or SIGTERM, when the workers have stopped.
        """
        if worker.working:
            raise UserError(
                "a job of the study loads its optimizer from the file that starts the study, so the study would start "
                "again. Expected: `if __name__ == '__main__':` before the code that starts it."
            )
        ray = _import_ray()
        with _connected(ray, self.address):
            cpus, gpus = self._resources(ray, options.devices)
            threads = None if gpus else max(1, int(cpus))
            settings = WorkerSettings(options.absolute(), socket.gethostname(), threads, on_cpu=self.gpus == 0)
            tasks = _Tasks(ray, cpus, gpus, settings)
            with handle_stop_signals(tasks), contextlib.closing(tasks):
                for job in jobs:
                    tasks.submit(job)
                while tasks.jobs and tasks.signal is None:
                    for job, measured in tasks.wait(listener):
                        listener.end(job)
                        for more in next_jobs(job, measured):
                            tasks.submit(more)
        if tasks.signal is not None:
            raise Interrupted(tasks.signal, options.folder)

    def _resources(self, ray: Any, devices: int) -> tuple[float, float]:
        """Returns the CPUs and GPUs of a task.

        Raises:
          UserError: if no node has this many, or there are fewer GPUs than devices that share the work.
        """
        nodes = [(n["Resources"].get("CPU", 0.0), n["Resources"].get("GPU", 0.0)) for n in ray.nodes() if n["Alive"]]
        gpus = float(devices * any(have >= 1 for _, have in nodes)) if self.gpus is None else self.gpus
        if 0 < gpus < devices:
            raise UserError(
                f"a task has {format_count(gpus, 'GPU')} and --devices is {devices}. Expected: --task-gpus {devices}."
            )
        whole = min((have for have, _ in nodes if have), default=1.0)
        cpus = self.cpus if self.cpus is not None else 1.0 if gpus else whole
        if not any(c >= cpus and g >= gpus for c, g in nodes):
            found = ", ".join(f"{format_count(c, 'CPU')} and {format_count(g, 'GPU')}" for c, g in nodes)
            raise UserError(
                f"no node has the {format_count(cpus, 'CPU')} and {format_count(gpus, 'GPU')} of a task; the nodes "
                f"have {found}. Expected smaller numbers (--task-cpus, --task-gpus), or a larger node."
            )
        return cpus, gpus


class _Tasks:
    """The jobs that were given to Ray and have not ended."""

    def __init__(self, ray: Any, cpus: float, gpus: float, settings: WorkerSettings):
        self.ray, self.settings, self.folder = ray, settings, settings.options.folder
        self.remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, retry_exceptions=False)(work)
        self.jobs: dict[Any, Job] = {}  # by the reference that Ray returns
        self.waiting: dict[int, set[int]] = {}  # lock times of the runs of jobs not known to have started
        self.signal: int | None = None

    def submit(self, job: Job) -> None:
        """Gives a job to Ray."""
        self.waiting[id(job)] = self._held(job)
        self._send(job)

    def _send(self, job: Job) -> None:
        named = self.remote.options(name=f"{job.kind}: {job.unit.label}")
        self.jobs[named.remote(SerializedJob.of(job), self.settings)] = job

    def wait(self, listener: JobListener) -> list[tuple[Job, StepTime | None]]:
        """Waits for a moment, tells the listener which jobs have started, and returns the jobs that have ended."""
        ended = []
        ready = self._ready()
        for job in self.jobs.values():
            self._begin(job, listener)
        for task in ready:
            job = self.jobs.pop(task)
            try:
                measured = self._result(task, job)
            except WorkerStoppedError:  # another process stopped it
                self._send(job)
                continue
            self._await_records(job)
            self._begin(job, listener, certainly=True)
            ended.append((job, measured))
        return ended

    def close(self) -> None:
        """Stops all jobs that have not ended. Workers write a checkpoint, unless this takes longer than `GRACE`."""
        deadline = time.monotonic() + GRACE
        for task in self.jobs:
            self.ray.cancel(task)  # this calls the worker's handler of SIGINT, which writes a checkpoint
        while self.jobs and time.monotonic() < deadline:
            for task in self._ready():
                del self.jobs[task]
        for task in self.jobs:
            self.ray.cancel(task, force=True)

    def _ready(self) -> list[Any]:
        ready, _ = self.ray.wait(list(self.jobs), timeout=POLL)
        return ready

    def _begin(self, job: Job, listener: JobListener, certainly: bool = False) -> None:
        """Tells the listener once that a job has started: when this node sees that a worker locked one of its runs."""
        if id(job) in self.waiting and (certainly or self._held(job) != self.waiting[id(job)]):
            del self.waiting[id(job)]
            listener.begin(job)

    def _held(self, job: Job) -> set[int]:
        """Returns the times at which a job's runs were last locked."""
        times = set()
        for run in job.runs:
            with contextlib.suppress(FileNotFoundError):
                times.add((self.folder / run.path / "lock").stat().st_mtime_ns)
        return times

    def _result(self, task: Any, job: Job) -> StepTime | None:
        """Returns the result of an ended task, see `work`.

        Raises:
          UserError: if it failed because of a mistake that the user can correct, or its workers died repeatedly.
          WorkerStoppedError: if its worker was told to stop.
        """
        errors = self.ray.exceptions
        try:
            return self.ray.get(task)
        except errors.RayTaskError as error:
            if isinstance(error.cause, (UserError, WorkerStoppedError)):
                raise error.cause from None
            raise
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError) as error:
            raise UserError(
                f"{job.unit.label}: the worker of this job has died {RETRIES + 1} times. The last error was: {error}. "
                "Use the same command again: it continues from the last checkpoint. If memory is short, train fewer "
                "runs at once (--largest)."
            ) from error

    def _await_records(self, job: Job) -> None:
        """Waits until this node sees that a job's runs are trained.

        Raises:
          UserError: if it does not see it within `VISIBLE` seconds.
        """
        deadline = time.monotonic() + VISIBLE
        while job.kind != "timing" and not all(finished(self.folder / run.path, job.until_epoch) for run in job.runs):
            if time.monotonic() > deadline:
                raise UserError(
                    f"the runs of {job.unit.label} are trained, but they are not in {self.folder}. Expected: a "
                    "folder that all nodes share."
                )
            time.sleep(POLL)


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise UserError('Ray is not installed. Expected: pip install "jaxopt-bench[ray]".') from error
    return ray


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connects to Ray, unless this process is already connected. At the end, it disconnects, and stops a new cluster.

    Raises:
      UserError: if there is no such cluster.
    """
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or NEW
    _check_address(address)
    own = {"include_dashboard": False, "object_store_memory": STORE} if address == NEW else {}
    before = signal.getsignal(signal.SIGTERM)
    try:
        try:
            with warnings.catch_warnings():  # JAX warns of a fork, but the child becomes another program at once
                warnings.filterwarnings("ignore", message=r"os\.fork", category=RuntimeWarning)
                ray.init(address, log_to_driver=False, logging_level="ERROR", **own)
        except (ConnectionError, ValueError) as error:
            raise _no_cluster(address, error) from error
        yield
    finally:
        ray.shutdown()
        with contextlib.suppress(ValueError, TypeError):  # not the main thread, or the handler is not a Python function
            signal.signal(signal.SIGTERM, before)  # Ray has put its own there


def _check_address(address: str) -> None:
    """Checks within seconds that an address can be reached. Ray would try for minutes."""
    if "://" in address:
        raise _no_cluster(address, "the driver must run on a node of the cluster")
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise _no_cluster(address, error) from error


def _no_cluster(address: str, why: object) -> UserError:
    return UserError(
        f"there is no Ray cluster at the address {address!r} ({why}). Expected: auto, on a node of a cluster; the "
        "HOST:PORT of its head; or none, for a new cluster on this machine."
    )
