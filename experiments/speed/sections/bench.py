"""The common input of all sections: the durations of the measurements, the peer, and the data directory."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Protocol

from experiments.speed.inputs.probes import Answer, Probe
from experiments.speed.inputs.suite import FirstSteps
from experiments.speed.inputs.workloads import Dtype, Workload
from experiments.speed.measure.remote import Request
from experiments.speed.measure.timing import Contender, Plan
from experiments.speed.output.document import Row
from jaxopt_bench.training import CodePath, Task

CIFAR_EXAMPLES = 50_000


class Peer(Protocol):
    """Another framework with the same networks.

    Attributes:
      name: its name in rows.
      variants: its ways to run a network. All of them are measured.
      extras: further variants for single experiments, by name of the experiment.
    """

    name: str
    variants: tuple[str, ...]
    extras: Mapping[str, tuple[str, ...]]

    @property
    def version(self) -> str:
        """Its version."""

    def answer(self, task: Task, probe: Probe, exactly: bool = False) -> Answer:
        """Returns the answer of the network with the weights of the probe, without dropout; `exactly` uses float64."""

    @property
    def suite_variants(self) -> tuple[str, ...]:
        """Its ways to train the workloads of the suite. All of them are measured."""

    def first_losses(self, task: Task, first: FirstSteps) -> list[float]:
        """Returns the losses of the steps that `first` describes."""

    def update_form(self, optimizer: str) -> str | None:
        """Returns the form of its version of our optimizer, given our name; None if it has no such optimizer."""


class Worker(Contender, Protocol):
    """A contender that also reports its memory and its state."""

    def peak(self) -> dict[str, int | str]:
        """Returns its peak memory."""

    def state(self) -> dict[str, int]:
        """Returns, for updates alone, the number of parameters and the bytes of the optimizer's state."""

    def close(self) -> None:
        """Ends the worker and frees its resources."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """One call of the benchmark.

    Attributes:
      peer: the framework to which the networks are compared.
      start: makes a contender, in its own process except in tests.
      backend: the backend of JAX.
      plan: the durations of the measurements.
      workloads: the lines of the networks' section.
      layers: the implementations of our layers. Each has its own rows.
      dtypes: the types of the networks' computations. Each has its own row.
      pythons: further interpreters with other versions of JAX. Each has its own rows.
      data_dir: the TFDS data directory for the sections with complete runs.
      examples: number of images in the training split of noise.
      quick: whether to check only that the benchmark runs.
    """

    peer: Peer
    start: Callable[[Request], Worker]
    backend: str
    plan: Plan
    workloads: tuple[Workload, ...]
    layers: tuple[str, ...]
    dtypes: tuple[Dtype, ...]
    data_dir: pathlib.Path
    pythons: tuple[str, ...] = ()
    examples: int = CIFAR_EXAMPLES
    quick: bool = False


def describe(section: str, workload: Workload, dtype: Dtype, path: CodePath, bench: Bench) -> Row:
    """Returns the first fields of each row."""
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


def request_of(
    bench: Bench, workload: Workload, dtype: Dtype, path: CodePath, members: int = 1, python: str = ""
) -> Request:
    """Returns the request for a contender of ours."""
    return Request("jax", workload.label, dtype, bench.examples, path.to_json(), bench.backend, members, python=python)
