"""A worker as the benchmark sees it: a contender that makes its steps in a process of its own; see `worker`.

Sides that share a process would share its allocator, and its memory's peak.
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
"""The folder in which `experiments` and `jaxopt_bench` lie."""


@dataclasses.dataclass(frozen=True)
class Request:
    """Which contender a worker makes.

    Attributes:
      side: "jax", or the peer.
      label: the workload's.
      dtype: what the network computes in.
      examples: images of the training split of noise.
      way: the code path of a contender of ours, or how it updates parameters; the variant of one of the peer's.
      backend: what JAX runs on, and so where the peer is to run.
      members: of a population.
      update: the optimizer whose updates alone are made; if it is empty, whole steps are.
      python: the interpreter that runs the worker; if it is empty, the one that runs the benchmark.
      data_dir: TFDS data directory of a workload of the suite, which `label` names then; if it is empty, `label` is
        that of a line of the benchmark.
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
    """A worker failed; the message is what it said."""


class Remote:
    """A contender in another process, as one that can be timed here."""

    def __init__(self, request: Request):
        """Returns when it is ready to make steps.

        Raises:
          WorkerError: where it cannot be built.
        """
        words = ["-m", "experiments.speed.measure.worker", json.dumps(dataclasses.asdict(request))]
        self.process = subprocess.Popen(
            [request.python or sys.executable, *words],
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

    def peak(self) -> dict[str, int | str]:
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
