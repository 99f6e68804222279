"""`--process`: runs a command in several processes, which may be on several machines."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import pathlib
import re
import signal
import socket
from collections.abc import Iterator
from typing import Annotated, Any

import jax
import tyro
from jax._src.distributed import global_state

from jaxopt_bench.cli.flags import parse_index_and_count
from jaxopt_bench.errors import UserError
from jaxopt_bench.files import read_regular, scratch_folder
from jaxopt_bench.runs import Interrupted
from jaxopt_bench.runs.evaluation import EVALUATION
from jaxopt_bench.runs.processes import run_on_first_process
from jaxopt_bench.training import default_backend

AUTOMATIC = "auto"
RECORDS = (".json", ".jsonl", ".npz")
BIND_ADDRESS = "JAX_COORDINATOR_BIND_ADDRESS"  # read by `jax.distributed.initialize`
HEARTBEAT_SECONDS = 30  # without a sign of life, until a process counts as lost
KEY_SECONDS = 60  # the time for a connected process to tell its --process
LOST = (
    "process {}/{} cannot continue without the others{}. If another process failed, its own output says why. Start the "
    "same command again for all processes: training resumes from the last checkpoint. If a device ran out of memory, "
    "--largest N limits how many runs of a population are trained at once."
)

STATUS = re.compile(
    "(CANCELLED|UNKNOWN|DEADLINE_EXCEEDED|NOT_FOUND|RESOURCE_EXHAUSTED|FAILED_PRECONDITION|ABORTED|INTERNAL"
    "|UNAVAILABLE|DATA_LOSS): "
)
"""The beginning of errors of XLA and its network libraries, which JAX may raise as any type of exception."""


@dataclasses.dataclass(frozen=True)
class Processes:
    """The index of this process among several processes."""

    process: Annotated[str | None, tyro.conf.arg(metavar="I/N|auto")] = None
    """This process is number I, counted from 0, of N processes that train together, each with its own devices; use auto
    if Slurm, MPI or a similar program has started them. Runs are read and written in the folders of process 0; each
    process reads data sets and your own studies, baselines and experiments from its own disk."""
    coordinator: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")] = None
    """The address at which the others reach process 0, with a free port; not needed with auto."""

    def join(self) -> None:
        """Waits for all processes, and then makes the devices of all known to each; does nothing with one process.

        After this, all processes but the first print only errors.

        Raises:
          UserError: if JAX finds no backend, the flags do not name a process, the address of the coordinator cannot be
            used, the processes disagree about their number or have different numbers of devices, or one is lost.
        """
        if self.process is None:
            if self.coordinator is not None:
                raise UserError("--coordinator is only used with several processes. Expected --process I/N with it.")
            default_backend()
            return
        where: dict[str, Any] = {}
        if self.process != AUTOMATIC:
            index, count = parse_index_and_count("--process", self.process, f"or {AUTOMATIC}")
            where = {"process_id": index, "num_processes": count}
            if self.coordinator is None or not re.fullmatch(r".+:\d+", self.coordinator):
                raise UserError(
                    f"--coordinator is {self.coordinator}. Expected HOST:PORT with --process {self.process}: the "
                    "address at which the other processes reach process 0."
                )
            where["coordinator_address"] = self.coordinator
            where["coordinator_bind_address"] = os.environ.get(BIND_ADDRESS, self.coordinator)
            _check_address(where["coordinator_bind_address"], self.coordinator, where["process_id"])
            print(f"process {self.process} waits for the others at {self.coordinator}", flush=True)
        jax.config.update("jax_enable_preemption_service", False)  # it would catch SIGTERM, which stops a run
        _explain_aborts(where.get("process_id", "?"), where.get("num_processes", "?"))
        try:
            jax.distributed.initialize(**where, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
        except (RuntimeError, ValueError) as error:
            advice = (
                "or use --process I/N with --coordinator HOST:PORT"
                if self.process == AUTOMATIC
                else "with the same --coordinator and the same N, and check that they can reach its port"
            )
            raise UserError(
                f"--process is {self.process}, but the processes did not find each other. Start all processes within "
                f"five minutes, {advice}. The error was: {error}"
            ) from error
        with _explain_lost_process():
            _check_count()
            counts = [len(jax.local_devices(process)) for process in range(jax.process_count())]
        if len(set(counts)) > 1:
            raise UserError(f"The processes have {counts} devices. Expected the same number in each.")
        if jax.process_index():
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), 1)  # libraries also print to it


def _check_address(address: str, coordinator: str, process: int) -> None:
    """Checks that process 0 can listen at its address; otherwise JAX would crash."""
    host, _, port = address.rpartition(":")
    try:
        if process == 0:
            found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, *_, at in found:
                socket.create_server(at[:2], family=family).close()
    except (OSError, OverflowError, ValueError) as error:
        raise UserError(
            f"--coordinator is {coordinator}, but process 0 cannot listen at {address}: {error}. Expected an address "
            f"of the machine of process 0 and a free port. If that machine has another address for itself, set "
            f"{BIND_ADDRESS}=HOST:PORT there."
        ) from error


def _check_count() -> None:
    """Checks that all processes were given the same N in I/N, before they wait for each other's devices.

    Raises:
      UserError: in all processes, if the numbers differ.
    """
    client, own = global_state.client, str(global_state.num_processes)
    assert client is not None, "it is connected"
    client.key_value_set(f"jaxopt_bench/processes/{global_state.process_id}", own)
    for process in range(global_state.num_processes):
        told = client.blocking_key_value_get(f"jaxopt_bench/processes/{process}", KEY_SECONDS * 1000)
        if told != own:
            jax.distributed.shutdown()  # after the others have also seen it
            raise UserError(
                f"--process says that there are {own} processes, but --process of process {process} says {told}. "
                "Expected I/N with the same N for all."
            )


def _explain_aborts(process: int | str, count: int | str) -> None:
    """Ends this process with a message in place of JAX's abort, if another process is lost or does not start.

    JAX aborts from its own thread, so no exception can be caught, and Python's signal handlers would never run.
    """

    def explain(_: int) -> None:
        os.write(2, f"error: {LOST.format(process, count, '')}\n".encode())
        os._exit(1)

    _explain_aborts.handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(explain)  # type: ignore[attr-defined]  # kept alive
    ctypes.CDLL(None).signal(int(signal.SIGABRT), _explain_aborts.handler)  # type: ignore[attr-defined]


@contextlib.contextmanager
def _explain_lost_process() -> Iterator[None]:
    """Raises an error that says how to continue, if XLA reports that another process is lost."""
    try:
        yield
    except (UserError, OSError):
        raise
    except Exception as error:
        if not isinstance(error, jax.errors.JaxRuntimeError) and not STATUS.match(str(error)):
            raise
        cause = f" ({str(error).partition(chr(10))[0]})"
        raise UserError(LOST.format(global_state.process_id, global_state.num_processes, cause)) from error


@contextlib.contextmanager
def writer_folder(folder: pathlib.Path, part: str = "") -> Iterator[pathlib.Path]:
    """Yields the folder in which this process reads and writes, after all processes have reached this point.

    Process 0 uses the folder itself. Every other process works in a temporary copy of its records, without checkpoints.
    The copy is removed at the end. If the process is killed, the next process that makes such a copy removes it.

    Args:
      folder: a folder of runs, or of a study.
      part: the part of the folder that is read and written, if it is not the whole folder.
    """
    if jax.process_count() == 1:
        yield folder
        return
    with contextlib.ExitStack() as stack:
        try:
            with _explain_lost_process():
                records = run_on_first_process(lambda: _records(folder, part))
                if jax.process_index():
                    folder = stack.enter_context(scratch_folder())
                    _write_records(records, folder)
                yield folder
        except Interrupted as stop:
            if jax.process_index():
                raise SystemExit(128 + stop.signal) from stop
            raise


def _records(folder: pathlib.Path, part: str) -> dict[str, bytes | None]:
    """Returns the files with the settings and metrics of runs, each after its folder, whose value is None.

    Evaluations are empty files, because only their existence matters.
    """
    found = {path.relative_to(folder): path for path in [folder / part, *sorted((folder / part).rglob("*"))]}
    wanted = {name: path for name, path in found.items() if "checkpoints" not in name.parts and path.exists()}
    records = {name: _content(path) for name, path in wanted.items() if path.is_dir() or path.suffix in RECORDS}
    return {str(name): content for name, content in records.items() if name != pathlib.Path()}


def _content(path: pathlib.Path) -> bytes | None:
    if path.is_dir():
        return None
    return b"" if path.name == EVALUATION else read_regular(path)


def _write_records(records: dict[str, bytes | None], folder: pathlib.Path) -> None:
    for name, content in records.items():
        if content is None:
            (folder / name).mkdir(parents=True)
        else:
            (folder / name).write_bytes(content)
