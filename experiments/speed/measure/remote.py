"""A worker from the side of the benchmark: a contender that makes its steps in its own process; see `worker`.

If both sides were in one process, they would share its allocator and its memory peak.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess
import sys
from typing import Any

from experiments.speed.inputs.workloads import Dtype

ROOT = pathlib.Path(__file__).resolve().parents[3]
"""The folder that contains `experiments` and `jaxopt_bench`."""


@dataclasses.dataclass(frozen=True)
class Request:
    """The description of the contender that a worker makes.

    Attributes:
      side: "jax", or the peer.
      label: the label of the workload.
      dtype: the type of the network's computations.
      examples: number of images in the training split of noise.
      way: for our contenders, the code path or the kind of parameter update; for the peer's contenders, the variant.
      backend: the backend of JAX. The peer runs on the same kind of device.
      members: number of members of a population.
      update: the optimizer for updates alone; if it is empty, the contender makes whole steps.
      python: the interpreter that runs the worker; if it is empty, the interpreter of the benchmark.
      data_dir: the TFDS data directory for a workload of the suite with the name `label`; if it is empty, `label` is
        the label of a line of the benchmark.
    """

    side: str
    label: str
    dtype: Dtype
    examples: int
    way: Any
    backend: str
    members: int = 1
    update: str = ""
    python: str = ""
    data_dir: str = ""


class WorkerError(Exception):
    """A worker failed. The message comes from the worker."""


class Remote:
    """A contender in another process. It can be timed like a local contender."""

    def __init__(self, request: Request):
        """Starts the worker, and returns when it is ready to make steps.

        Raises:
          WorkerError: if the contender cannot be built.
        """
        words = ["-m", "experiments.speed.measure.worker", json.dumps(dataclasses.asdict(request))]
        self.process = subprocess.Popen(
            [request.python or sys.executable, *words],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # compilers print messages; errors come as answers
            text=True,
        )
        self._answer()

    def run(self, steps: int) -> None:
        """Makes the given number of steps, and returns when the device has finished them."""
        self._ask("run", steps)

    def settle(self) -> None:
        """Lets the contender use up its prefetched batches."""
        self._ask("settle")

    def peak(self) -> dict[str, int | str]:
        """Returns its peak memory in bytes, the peak before the network was built, and the kind of memory."""
        return self._ask("peak")

    def state(self) -> dict[str, int]:
        """Returns, for updates alone, the number of parameters and the bytes of the optimizer's state."""
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
