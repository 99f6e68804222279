"""One contender, in a process of its own: sides that share one would share its allocator, and its memory's peak.

`python -m experiments.speed.worker REQUEST` builds it and then does what lines of JSON on its input ask for: `run` some
steps, `settle`, tell its `peak` memory. It answers each with a line.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import resource
import subprocess
import sys
from typing import Any, TextIO

from experiments.speed.timing import settle
from experiments.speed.workloads import ALL, Dtype, make_task, noise
from jaxopt_bench.training import Task

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Request:
    """Which contender.

    Attributes:
      side: "jax", or the peer.
      label: the workload's.
      dtype: what the network computes in.
      examples: images of the training split of noise.
      way: of ours the code path, of the peer's the variant.
      backend: what JAX runs on, and so where the peer is to run.
      members: of a population.
      update: the optimizer whose updates alone are made; else whole steps are.
    """

    side: str
    label: str
    dtype: Dtype
    examples: int
    way: Any
    backend: str
    members: int = 1
    update: str = ""


class WorkerError(Exception):
    """A worker failed; the message is what it said."""


class Remote:
    """A contender in another process, as one that can be timed here."""

    def __init__(self, request: Request):
        """Returns when it is ready to make steps.

        Raises:
          WorkerError: where it cannot be built.
        """
        command = [sys.executable, "-m", "experiments.speed.worker", json.dumps(dataclasses.asdict(request))]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # compilers chatter; what goes wrong comes as an answer
            text=True,
        )
        self._answer()

    def run(self, steps: int) -> None:
        """Makes some steps, and returns when the device has finished them."""
        self._ask("run", steps)

    def settle(self) -> None:
        """Lets it put away what it made ahead."""
        self._ask("settle")

    def peak(self) -> dict[str, Any]:
        """Returns its peak memory in bytes, what it was before the network was built, and whose it is."""
        return self._ask("peak")

    def state(self) -> dict[str, int]:
        """Returns, of updates alone, how many parameters there are and the bytes of the optimizer's state."""
        return self._ask("state")

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.communicate()

    def _ask(self, what: str, steps: int = 0) -> Any:
        assert self.process.stdin is not None, "it is a pipe"
        self.process.stdin.write(json.dumps([what, steps]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None, "it is a pipe"
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"ended with {self.process.wait()}"}
        if isinstance(answer, dict) and "error" in answer:
            self.close()
            raise WorkerError(answer["error"])
        return answer


def serve(request: Request, asked: TextIO, answers: TextIO) -> None:
    """Builds the contender and does what is asked, until nothing more is."""

    def answer(value: Any) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    try:
        contender, peak_of_device, baseline = _build(request)
        answer(None)
        for line in asked:
            what, steps = json.loads(line)
            if what == "run":
                contender.run(steps)
            elif what == "settle":
                settle(contender)
            if what == "state":
                answer(contender.state())
            else:
                answer(_peak(peak_of_device(), baseline) if what == "peak" else None)
    except Exception as error:  # a compiler may fail in any way
        answer({"error": f"{type(error).__name__}: {error}"[:500]})
        raise


def _build(request: Request) -> Any:
    """Returns the contender, what tells the device's peak memory, and the host's before the network was built."""
    workload = next(found for found in ALL if found.label == request.label)
    task = make_task(workload, request.dtype, request.examples)
    if request.update:
        return _updater(request, task), lambda: None, host_peak()
    images = noise(task)
    if request.side == "jax":
        from experiments.speed import jax_side
        from jaxopt_bench.training import CodePath

        jax_side.backend()  # starts it
        baseline = host_peak()
        path = CodePath.from_json(request.way)
        return jax_side.Trainer(task, images, path, request.members), jax_side.peak_bytes, baseline
    from experiments.speed.torch_side import TorchPeer

    peer = TorchPeer(request.backend, (request.way,))
    baseline = host_peak()
    return peer.trainer(task, images, request.way), peer.peak_bytes, baseline


def _updater(request: Request, task: Task) -> Any:
    if request.side == "jax":
        from experiments.speed import jax_side

        return jax_side.Updater(task, request.update)
    from experiments.speed.torch_updates import Updater

    return Updater(task, request.update, request.backend)


def _peak(device: int | None, baseline: int) -> dict[str, Any]:
    if device is not None:
        return {"bytes": device, "of": "device"}
    return {"bytes": host_peak(), "before": baseline, "of": "host"}


def host_peak() -> int:
    """Returns the most memory in bytes that this process had.

    Linux's `ru_maxrss` begins with that of the process that started this one; /proc knows this one's alone. macOS
    counts bytes.
    """
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w") as pipe:
        os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
        serve(Request(**json.loads(sys.argv[1])), sys.stdin, pipe)
