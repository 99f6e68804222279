"""`--process`: a command that several processes, as of several machines, work off together."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import socket
from collections.abc import Iterator
from typing import Annotated, Any

import jax
import tyro

from jaxopt_bench.errors import UserError
from jaxopt_bench.files import read_regular, scratch_folder
from jaxopt_bench.runs import Interrupted
from jaxopt_bench.runs.evaluation import EVALUATION
from jaxopt_bench.runs.processes import check_count, found_by_first

AUTOMATIC = "auto"
RECORDS = (".json", ".jsonl", ".npz")


@dataclasses.dataclass(frozen=True)
class Processes:
    """Which of several processes this one is."""

    process: Annotated[str | None, tyro.conf.arg(metavar="I/N|auto")] = None
    """This process is the I-th, from 0, of N that train together, each with its own devices; auto where Slurm, MPI or
    the like has started them. Runs are read and written in the first one's folders; the data, and studies, baselines
    and experiments of your own, each reads from its disk."""
    coordinator: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")] = None
    """Where the others reach process 0, which needs that port free; not needed with auto."""

    def join(self) -> None:
        """Makes the devices of all processes known to each, once all have come. Does nothing if there is one process.

        From then on only the first process prints results; the others print errors. If the others do not come within 5
        minutes, JAX ends this process with a message of its own, which nothing can catch.

        Process 0 listens at the coordinator's address alone. The group does not authenticate its members: the network
        must be trusted.

        Raises:
          UserError: if the flags name no process, process 0 cannot listen at the coordinator's address, or the
            processes were told different numbers of processes or have different numbers of devices.
        """
        if self.process is None:
            if self.coordinator is not None:
                raise UserError("--coordinator is of several processes; accepted: with --process I/N.")
            return
        where: dict[str, Any] = {}
        if self.process != AUTOMATIC:
            where = dict(zip(("process_id", "num_processes"), self._place(), strict=True))
            if self.coordinator is None or not re.fullmatch(r".+:\d+", self.coordinator):
                raise UserError(
                    f"--coordinator is {self.coordinator}; accepted with --process {self.process}: HOST:PORT, at which "
                    "the others reach process 0."
                )
            where["coordinator_address"] = self.coordinator
            if where["process_id"] == 0:
                where["coordinator_bind_address"] = self.coordinator
                _check_port(self.coordinator)
            print(f"process {self.process} meets the others at {self.coordinator}", flush=True)
        jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM, which stops a run
        try:
            jax.distributed.initialize(**where)
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"--process is {self.process}, but the processes did not find each other: {error}"
            ) from error
        counts = [len(jax.local_devices(process)) for process in range(jax.process_count())]
        if len(set(counts)) > 1:
            raise UserError(f"the processes have {counts} devices; accepted: as many in each.")
        if jax.process_index():
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), 1)  # which libraries print to as well
        if "num_processes" in where:
            with _lost_processes():
                check_count(where["num_processes"])

    def _place(self) -> tuple[int, int]:
        match = re.fullmatch(r"(\d+)/(\d+)", self.process or "")
        if match is None or not int(match[1]) < int(match[2]):
            raise UserError(f"--process is {self.process!r}; accepted: I/N with 0 <= I < N, or {AUTOMATIC}.")
        return int(match[1]), int(match[2])


def _check_port(coordinator: str) -> None:
    """Checks that process 0 can listen where the others come: JAX would crash."""
    host, _, port = coordinator.rpartition(":")
    try:
        for family, _, _, _, address in socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM):
            socket.create_server(address[:2], family=family).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--coordinator is {coordinator}, but process 0 cannot listen there: {error}. Expected an address of the "
            "machine of process 0, and a free port."
        ) from error


_LOST = re.compile(r"Gloo|[Cc]oordination|^(UNKNOWN|UNAVAILABLE|ABORTED|CANCELLED|INTERNAL|DEADLINE_EXCEEDED):")
"""What JAX says, in errors of several types, when another process is gone."""


@contextlib.contextmanager
def one_writes(folder: pathlib.Path, part: str = "") -> Iterator[pathlib.Path]:
    """Yields the folder in which this process reads and writes, once all have come here.

    Process 0 uses the folder itself. Every other process works in a temporary copy of its records (no checkpoints),
    which is removed at the end; one that a killed process left is removed by the next.

    Args:
      folder: of runs, or of a study.
      part: the part of it that is read and written, if that is not all.

    Raises:
      UserError: if another process ended.
    """
    if jax.process_count() == 1:
        yield folder
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(_lost_processes())
        try:
            records = found_by_first(lambda: _records(folder, part))
            if jax.process_index():
                folder = stack.enter_context(scratch_folder())
                _lay_down(records, folder)
            yield folder
        except Interrupted as stop:
            if jax.process_index():
                raise SystemExit(128 + stop.signal) from stop
            raise


@contextlib.contextmanager
def _lost_processes() -> Iterator[None]:
    """Says what to do if JAX cannot reach another process any more, whatever type of error it raises then."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        said = str(error).partition("\n")[0]
        if not isinstance(error, jax.errors.JaxRuntimeError) and not _LOST.search(said):
            raise
        raise UserError(
            f"process {jax.process_index()} of {jax.process_count()} cannot continue ({said}). If another process "
            "ended, it says why. Run the same command in all processes to resume from the last checkpoint. If memory "
            "is short, --largest N trains N runs of a population at once."
        ) from error


def _records(folder: pathlib.Path, part: str) -> dict[str, bytes | None]:
    """Returns the files that say which runs there are and what they measured, each after its folder, which has None.

    Of evaluations it is only asked whether they are there.
    """
    found = {path.relative_to(folder): path for path in [folder / part, *sorted((folder / part).rglob("*"))]}
    wanted = {name: path for name, path in found.items() if "checkpoints" not in name.parts and path.exists()}
    records = {name: _content(path) for name, path in wanted.items() if path.is_dir() or path.suffix in RECORDS}
    return {str(name): content for name, content in records.items() if name != pathlib.Path()}


def _content(path: pathlib.Path) -> bytes | None:
    if path.is_dir():
        return None
    return b"" if path.name == EVALUATION else read_regular(path)


def _lay_down(records: dict[str, bytes | None], folder: pathlib.Path) -> None:
    for name, content in records.items():
        if content is None:
            (folder / name).mkdir(parents=True)
        else:
            (folder / name).write_bytes(content)
