"""What every section is given: how long to measure, the peer, where data lies."""

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

    def answer(self, task: Task, probe: Probe, exactly: bool = False) -> Answer:
        """Returns what the network computes from the probe's weights, dropout off; exactly is in float64."""

    @property
    def suite_variants(self) -> tuple[str, ...]:
        """The ways that it has to train the suite's workloads, all of which are measured."""

    def first_losses(self, task: Task, first: FirstSteps) -> list[float]:
        """Returns the losses of the steps that `first` describes."""

    def update_form(self, optimizer: str) -> str | None:
        """Returns in which form it has an optimizer of ours, by our name; None where it has none."""


class Worker(Contender, Protocol):
    """A contender that can be measured otherwise, too."""

    def peak(self) -> dict[str, int | str]:
        """Returns its peak memory."""

    def state(self) -> dict[str, int]:
        """Returns, of updates alone, how many parameters there are and the bytes of the optimizer's state."""

    def close(self) -> None:
        """Ends it, and frees what it holds."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """One call of the benchmark.

    Attributes:
      peer: what the networks are measured beside.
      start: makes a contender, in a process of its own but in tests.
      backend: what JAX runs on.
      plan: how long to measure.
      workloads: the lines of the networks' section.
      layers: the implementations of our layers, each measured in rows of its own.
      dtypes: what networks compute in, each in a row of its own.
      pythons: interpreters whose JAX trains networks in rows of its own, besides the one that runs the benchmark.
      data_dir: TFDS data directory for the sections that run the project whole.
      examples: images of the training split of noise.
      quick: whether only whether it runs matters.
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


def request_of(
    bench: Bench, workload: Workload, dtype: Dtype, path: CodePath, members: int = 1, python: str = ""
) -> Request:
    """Returns the request for a contender of ours."""
    return Request("jax", workload.label, dtype, bench.examples, path.to_json(), bench.backend, members, python=python)
