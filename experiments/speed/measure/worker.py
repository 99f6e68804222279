"""The process that builds one contender and makes its steps: `python -m experiments.speed.measure.worker REQUEST`.

It reads requests as lines of JSON from its input: `run` some steps, `settle`, or return its `peak` memory or its
`state`. It answers each request with a line.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any, TextIO

import jax

from experiments.speed.inputs.suite import suite_task, suite_workloads
from experiments.speed.inputs.workloads import ALL, find, make_task, noise
from experiments.speed.jax_side import training, updates
from experiments.speed.measure.memory import host_peak
from experiments.speed.measure.remote import Request
from experiments.speed.measure.timing import Contender, settle
from jaxopt_bench.training import CodePath


@dataclasses.dataclass(frozen=True)
class Built:
    """A contender that is ready to make steps.

    Attributes:
      contender: makes training steps, or updates alone.
      device_peak: returns the peak memory of the device in bytes; None if the device is the host.
      before: the peak memory of the host in bytes before the network was built.
      state: for updates alone, returns the number of parameters and the bytes of the optimizer's state.
    """

    contender: Contender
    device_peak: Callable[[], int | None]
    before: int
    state: Callable[[], dict[str, int]] | None = None


def serve(request: Request, asked: TextIO, answers: TextIO) -> None:
    """Builds the contender and answers requests until the input ends."""

    def answer(value: Any) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    try:
        built = _build(request)
        answer(None)
        for line in asked:
            what, steps = json.loads(line)
            answer(_do(built, what, steps))
    except Exception as error:  # a compiler may fail in any way
        answer({"error": f"{type(error).__name__}: {error}"[:500]})
        raise


def _build(request: Request) -> Built:
    if request.data_dir:
        return _build_of_suite(request)
    (workload,) = find(ALL, [request.label])
    task = make_task(workload, request.dtype, request.examples)
    if request.side == "jax":
        jax.default_backend()  # starts JAX
        before = host_peak()
        if request.update:
            updater = updates.Updater(task, request.update, **request.way)
            return Built(updater, training.peak_bytes, before, updater.state)
        path = CodePath.from_json(request.way)
        return Built(training.Trainer(task, noise(task), path, request.members), training.peak_bytes, before)
    # Imported only here: a worker of the JAX side must not load PyTorch, and PyTorch may not be installed.
    from experiments.speed.torch_side.peer import TorchPeer

    peer = TorchPeer(request.backend, (request.way,))
    before = host_peak()
    if request.update:
        peers = peer.updater(task, request.update)
        return Built(peers, peer.peak_bytes, before, peers.state)
    return Built(peer.trainer(task, noise(task), request.way), peer.peak_bytes, before)


def _build_of_suite(request: Request) -> Built:
    (workload,) = suite_workloads([request.label])
    path = CodePath.from_json(request.way) if request.side == "jax" else CodePath()
    task = suite_task(workload, pathlib.Path(request.data_dir), path)
    before = host_peak()
    if request.side == "jax":
        return Built(training.Population(task, task.problem.train, request.members), training.peak_bytes, before)
    from experiments.speed.torch_side.peer import TorchPeer

    peer = TorchPeer(request.backend, (request.way,))
    return Built(peer.suite_trainer(task, request.way), peer.peak_bytes, before)


def _do(built: Built, what: str, steps: int) -> Any:
    """Executes a request, and returns the answer as a JSON value."""
    if what == "run":
        built.contender.run(steps)
    elif what == "settle":
        settle(built.contender)
    elif what == "state":
        assert built.state is not None, "only updates have one"
        return built.state()
    elif what == "peak":
        device = built.device_peak()
        if device is not None:
            return {"bytes": device, "of": "device"}
        return {"bytes": host_peak(), "before": built.before, "of": "host"}
    return None


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w") as pipe:
        os.dup2(2, 1)  # the output of a library must not look like an answer
        serve(Request(**json.loads(sys.argv[1])), sys.stdin, pipe)
