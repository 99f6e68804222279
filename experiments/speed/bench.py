"""What every section is given: how long to measure, the peer, where data lies."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from experiments.speed.agreement import Answer, Probe
from experiments.speed.document import Row
from experiments.speed.timing import Contender, Plan
from experiments.speed.workloads import Dtype, Images, Workload
from jaxopt_bench.training import CodePath, Task

ROOT = pathlib.Path(__file__).resolve().parents[2]
CIFAR_EXAMPLES = 50_000


class Peer(Protocol):
    """Another framework, with the same networks.

    Attributes:
      name: what rows call it.
      variants: the ways it has to run a network, all of which are measured.
      extras: more variants for single experiments, by their names.
    """

    name: str
    variants: tuple[str, ...]
    extras: Mapping[str, tuple[str, ...]]

    @property
    def version(self) -> str:
        """Its version."""

    def answer(self, task: Task, probe: Probe) -> Answer:
        """Returns what the network computes from the probe's weights, dropout off."""

    def trainer(self, task: Task, images: Images, variant: str) -> Contender:
        """Returns the network in training, run in one of the variants."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """One call of the benchmark.

    Attributes:
      peer: what the networks are measured beside.
      backend: what JAX runs on.
      plan: how long to measure.
      workloads: the lines of the networks' and the memory's sections.
      layers: the implementations of our layers, each measured in rows of its own.
      dtypes: what networks compute in, each in a row of its own.
      data_dir: TFDS data directory for the sections that run the project whole.
      examples: images of the training split of noise.
      quick: whether only whether it runs matters.
    """

    peer: Peer
    backend: str
    plan: Plan
    workloads: tuple[Workload, ...]
    layers: tuple[str, ...]
    dtypes: tuple[Dtype, ...]
    data_dir: pathlib.Path
    examples: int = CIFAR_EXAMPLES
    quick: bool = False


def describe(section: str, workload: Workload, dtype: Dtype, path: CodePath, bench: Bench) -> Row:
    """Returns the fields that every row begins with."""
    return {
        "section": section,
        "network": workload.network,
        "optimizer": workload.optimizer,
        "batch_size": workload.batch_size,
        "dtype": dtype,
        "backend": bench.backend,
        "path": path.layers,
        "loop": path.loop,
        "experiment": workload.experiment,
    }


def child(module: str, arguments: Sequence[str], variables: dict[str, str] | None = None) -> Any:
    """Runs a module of this folder in a process of its own and returns the JSON value it prints last.

    Raises:
      RuntimeError: where it fails, with the end of what it wrote.
    """
    command = [sys.executable, "-m", f"experiments.speed.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **(variables or {})}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
