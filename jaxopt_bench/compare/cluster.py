"""A study's jobs on a Ray cluster, one task each; see `worker` for what a task does."""

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
from jaxopt_bench.compare.worker import POLL, Shared, Task, WorkerStoppedError, work
from jaxopt_bench.errors import UserError
from jaxopt_bench.runs import Interrupted, finished, stopped_by_signals

RETRIES = 20  # of a job whose worker or node dies: each goes on from the last checkpoint
GRACE = 60.0  # seconds that workers have to write a checkpoint when the study is stopped
VISIBLE = 90.0  # seconds until a file that one node has written is seen by another; NFS remembers what was absent
STORE = 128 * 2**20  # bytes of shared memory for the objects of a cluster of our own, which are small
NEW = "local"  # what Ray calls a cluster that it is to start


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Does jobs on a Ray cluster, as many at once as it has room for.

    All nodes share the study's folder under the same path, with locks that hold across nodes (as NFS has), and have
    this package in one version, and the problems' data. A job whose worker or node dies is done again, up to 20 times,
    and goes on from its last checkpoint, the end of an epoch. Runs that another process holds, such as a worker that
    has lost contact and does not know it yet, are waited for, up to five minutes.

    A task is a population, which takes the memory that it finds free: by default it has a GPU to itself where the
    cluster has any, else a whole node. Tasks with fewer CPUs share a node, each with as many threads as it has CPUs
    (where `NPROC`, which XLA heeds, does not say another number), and want a limit on the runs at once. The times that
    a study asks for are measured on any node, beside whatever runs there.

    Attributes:
      address: the cluster: "auto" for one that this machine is a node of, or the HOST:PORT of its head. None for that
        of the environment variable RAY_ADDRESS, or a new one on this machine, which ends with the study. Ray is left as
        it is where this process is connected to it already.
      cpus: CPUs of a task. None for 1 where it has a GPU, else for as many as the smallest node has.
      gpus: GPUs of a task. None for 1 where any node has one, else 0. Where 0 is asked for, JAX uses the CPU.

    Raises:
      UserError: where a task would have no CPUs, or fewer than no GPUs.
    """

    address: str | None = None
    cpus: float | None = None
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.cpus is not None and not self.cpus > 0:
            raise UserError(f"cpus is {self.cpus:g}; accepted: a number above 0.")
        if self.gpus is not None and not self.gpus >= 0:
            raise UserError(f"gpus is {self.gpus:g}; accepted: 0 or more.")

    def run(self, jobs: Sequence[Job], options: JobOptions, listener: JobListener, next_jobs: NextJobs) -> None:
        """See `Executor.run`. Where it ends early, workers that can be reached write a checkpoint first.

        Raises:
          UserError: where Ray is not installed, there is no such cluster, no node is large enough for a task, or a job
            fails for a mistake the user can mend.
          Interrupted: after SIGINT or SIGTERM, once the workers have stopped.
        """
        if worker.working:
            raise UserError(
                "a study begins anew where a job of it loads its optimizer from the same file; accepted: "
                "`if __name__ == '__main__':` before what begins it."
            )
        ray = _import_ray()
        with _connected(ray, self.address):
            cpus, gpus = self._resources(ray, options.devices)
            threads = None if gpus else max(1, int(cpus))
            shared = Shared(options.absolute(), socket.gethostname(), threads, on_cpu=self.gpus == 0)
            tasks = _Tasks(ray, cpus, gpus, shared)
            with stopped_by_signals(tasks), contextlib.closing(tasks):
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
          UserError: where no node has them, or they are fewer than the devices that are to share the work.
        """
        nodes = [(n["Resources"].get("CPU", 0.0), n["Resources"].get("GPU", 0.0)) for n in ray.nodes() if n["Alive"]]
        gpus = float(devices * any(have >= 1 for _, have in nodes)) if self.gpus is None else self.gpus
        if 0 < gpus < devices:
            raise UserError(f"a task has {gpus:g} GPUs and --devices is {devices}; accepted: --task-gpus {devices}.")
        whole = min((have for have, _ in nodes if have), default=1.0)
        cpus = self.cpus if self.cpus is not None else 1.0 if gpus else whole
        if not any(c >= cpus and g >= gpus for c, g in nodes):
            found = ", ".join(f"{c:g} CPUs and {g:g} GPUs" for c, g in nodes)
            raise UserError(f"no node has the {cpus:g} CPUs and {gpus:g} GPUs of a task; the nodes have {found}.")
        return cpus, gpus


class _Tasks:
    """The jobs that Ray has and that have not ended."""

    def __init__(self, ray: Any, cpus: float, gpus: float, shared: Shared):
        self.ray, self.shared, self.folder = ray, shared, shared.options.folder
        self.remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, retry_exceptions=False)(work)
        self.jobs: dict[Any, Job] = {}  # by what Ray returns of each
        self.waiting: dict[int, set[int]] = {}  # those that no worker is known to have taken: when their runs were held
        self.signal: int | None = None

    def submit(self, job: Job) -> None:
        """Gives a job to Ray."""
        self.waiting[id(job)] = self._held(job)
        self._send(job)

    def _send(self, job: Job) -> None:
        named = self.remote.options(name=f"{job.kind}: {job.unit.label}")
        self.jobs[named.remote(Task.of(job), self.shared)] = job

    def wait(self, listener: JobListener) -> list[tuple[Job, StepTime | None]]:
        """Waits a moment, and returns what has ended meanwhile, after telling of what has begun."""
        ended = []
        ready = self._ready()
        for job in self.jobs.values():
            self._begin(job, listener)
        for task in ready:
            job = self.jobs.pop(task)
            try:
                measured = self._result(task, job)
            except WorkerStoppedError:  # which was not our doing
                self._send(job)
                continue
            self._await_records(job)
            self._begin(job, listener, certainly=True)
            ended.append((job, measured))
        return ended

    def close(self) -> None:
        """Stops what has not ended: workers write a checkpoint, those that take too long for it end without."""
        deadline = time.monotonic() + GRACE
        for task in self.jobs:
            self.ray.cancel(task)  # which calls the worker's handler of SIGINT: a session's own writes a checkpoint
        while self.jobs and time.monotonic() < deadline:
            for task in self._ready():
                del self.jobs[task]
        for task in self.jobs:
            self.ray.cancel(task, force=True)

    def _ready(self) -> list[Any]:
        ready, _ = self.ray.wait(list(self.jobs), timeout=POLL)
        return ready

    def _begin(self, job: Job, listener: JobListener, certainly: bool = False) -> None:
        """Tells once that a job has begun: where a worker holds a run of it, as far as this node sees."""
        if id(job) in self.waiting and (certainly or self._held(job) != self.waiting[id(job)]):
            del self.waiting[id(job)]
            listener.begin(job)

    def _held(self, job: Job) -> set[int]:
        """Returns when a job's runs were taken hold of last."""
        times = set()
        for run in job.runs:
            with contextlib.suppress(FileNotFoundError):
                times.add((self.folder / run.path / "lock").stat().st_mtime_ns)
        return times

    def _result(self, task: Any, job: Job) -> StepTime | None:
        """Returns the result of an ended task, see `work`.

        Raises:
          UserError: where it failed for a mistake the user can mend, or died again and again.
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
                f"{job.unit.label}: its worker has died {RETRIES + 1} times, the last time because: {error}; what it "
                "has trained stays, and the same command goes on from there. Accepted where memory is short: fewer "
                "runs at once."
            ) from error

    def _await_records(self, job: Job) -> None:
        """Waits until this node sees that a job's runs have finished.

        Raises:
          UserError: where it does not come to see it.
        """
        deadline = time.monotonic() + VISIBLE
        while job.kind != "timing" and not all(finished(self.folder / run.path) for run in job.runs):
            if time.monotonic() > deadline:
                raise UserError(
                    f"{job.unit.label} is trained, and {self.folder} does not hold it; accepted: a "
                    "folder that all nodes share."
                )
            time.sleep(POLL)


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise UserError('Ray is not installed; accepted: pip install "jaxopt-bench[ray]".') from error
    return ray


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connects to Ray, unless this process is connected already; afterwards a cluster that was there runs on.

    Raises:
      UserError: where there is no such cluster.
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
            with warnings.catch_warnings():  # JAX's, of a fork, after which the child becomes another program at once
                warnings.filterwarnings("ignore", message=r"os\.fork", category=RuntimeWarning)
                ray.init(address, log_to_driver=False, logging_level="ERROR", **own)
        except (ConnectionError, ValueError) as error:
            raise _no_cluster(address, error) from error
        yield
    finally:
        ray.shutdown()
        with contextlib.suppress(ValueError, TypeError):  # not the main thread, or the handler is none of Python's
            signal.signal(signal.SIGTERM, before)  # Ray has put its own there


def _check_address(address: str) -> None:
    """Checks in seconds what Ray would try for minutes."""
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
        f"there is no Ray cluster at the address {address!r} ({why}); accepted: auto, on a node of one; the HOST:PORT "
        "of its head; or none, for a new one on this machine."
    )
