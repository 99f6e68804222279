"""Measures which circumstances change the bits of a run, and by how much. It repeats one run in each circumstance."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxopt_bench import files, kernels, load_run
from jaxopt_bench.errors import unknown_name
from jaxopt_bench.runs import Run
from jaxopt_bench.runs.records import MetricsLine
from jaxopt_bench.training.code_path import LAYERS, UPDATES

ROOT = pathlib.Path(__file__).resolve().parents[3]
USUAL = {files.CACHE: "", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}  # no compilation cache
ON_CPU = {LAYERS: "pure"}  # even if oneDNN's layers are built
TIMINGS = ("seconds", "examples_per_second")


@dataclasses.dataclass(frozen=True)
class Circumstance:
    """A difference between two runs of the same experiment.

    Attributes:
      name: a description in a few words.
      variables: the environment variables that differ.
      order: the fields of the order of its process that differ; see `child`.
      python: the interpreter of an environment with other versions; None for this interpreter.
      backend: the only backend on which it is measured; None for all.
    """

    name: str
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    order: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    python: pathlib.Path | None = None
    backend: str | None = None


FIRST = Circumstance("the first run")
CIRCUMSTANCES = (
    Circumstance("repeated"),
    Circumstance("stopped and resumed", order={"stop_at": 11, "checkpoint_every": 4}),
    Circumstance("logged every 7 steps", order={"log_every": 7}),
    Circumstance("member of a population of 3", order={"members": 3}),
    Circumstance("without huge pages", {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}, backend="cpu"),
    Circumstance("8 devices in sight", {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}, backend="cpu"),
    Circumstance("1 thread", {"NPROC": "1"}, backend="cpu"),
    Circumstance("3 threads", {"NPROC": "3"}, backend="cpu"),
    Circumstance("code for AVX2", {"XLA_FLAGS": "--xla_cpu_max_isa=AVX2"}, backend="cpu"),
    Circumstance("updates `optax`", {UPDATES: "optax"}, backend="cpu"),
    Circumstance("layers `native`", order={"layers": "native", "loop": "python"}, backend="cpu"),
    Circumstance("layers `onednn`", order={"layers": "onednn"}, backend="cpu"),
    Circumstance("layers `plain`", order={"layers": "plain", "loop": "python"}),
    Circumstance("--deterministic", order={"deterministic": True}, backend="gpu"),
    Circumstance("on the CPU", {"JAX_PLATFORMS": "cpu"}, backend="gpu"),
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The comparison of a run in some circumstance with the first run.

    Attributes:
      circumstance: the name of the circumstance.
      environment: the facts about the environment in `config.json` that differ.
      same_state: whether parameters, optimizer state and statistics are equal bit for bit after the last step.
      same_metrics: whether all losses and accuracies of all epochs are equal bit for bit.
      parameters: the norm of the difference between the parameters after the last step, divided by the norm of the
        first run's parameters.
      train_losses: the mean losses over the steps of the first and of the last epoch, each of the first run and of
        this run.
      test_accuracies: the test accuracies of the first run and of this run.
    """

    circumstance: str
    environment: Mapping[str, Any]
    same_state: bool
    same_metrics: bool
    parameters: float
    train_losses: Mapping[str, Sequence[float]]
    test_accuracies: Sequence[float]


@dataclasses.dataclass(frozen=True)
class Bench:
    """The training to repeat, and the folders for it.

    Attributes:
      experiment: the name of the experiment.
      epochs: number of epochs.
      scratch: a folder for the runs.
      data_dir: TFDS data directory.
    """

    experiment: str
    epochs: int
    scratch: pathlib.Path
    data_dir: pathlib.Path

    def run(self, circumstance: Circumstance) -> Run:
        """Trains in a circumstance and returns the run.

        Raises:
          RuntimeError: if the process fails. The message contains the end of its error output.
        """
        folder = self.scratch / f"{len(list(self.scratch.iterdir())):02}"
        order = {
            "experiment": self.experiment,
            "epochs": self.epochs,
            "seed": 0,
            "runs_dir": str(folder / "runs"),
            "data_dir": str(self.data_dir),
            "layers": None,
            "loop": None,
            "members": 1,
            "log_every": 50,
            "checkpoint_every": None,
            "stop_at": None,
            "deterministic": False,
        }
        folder.mkdir()
        file = folder / "order.json"
        file.write_text(json.dumps(order | dict(circumstance.order)), encoding="utf-8")
        command = [
            str(circumstance.python or sys.executable),
            "-m",
            "experiments.numerics.determinism.child",
            str(file),
        ]
        layers = ON_CPU if jax.default_backend() == "cpu" else {}
        environment = {**os.environ, **USUAL, **layers, **circumstance.variables}
        ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise RuntimeError(f"{circumstance.name}: {ended.stderr[-2000:]}")
        runs = [load_run(path.parent) for path in folder.glob("runs/*/*/summary.json")]
        (run,) = [run for run in runs if run.experiment.seed == order["seed"]]
        return run

    def outcomes(self, circumstances: Sequence[Circumstance]) -> Iterator[Outcome]:
        """Yields the comparison of a run in each circumstance with a run in none of the circumstances."""
        first = self.run(FIRST)
        for circumstance in circumstances:
            yield compared(circumstance.name, first, self.run(circumstance))


def applicable(backend: str, pythons: Sequence[pathlib.Path] = (), without: Sequence[str] = ()) -> list[Circumstance]:
    """Returns the circumstances that apply to a backend, and one for each interpreter of another environment.

    The circumstance of oneDNN's layers is included only if they are built.

    Raises:
      UserError: if a name in `without` is unknown.
    """
    known = [c.name for c in CIRCUMSTANCES]
    for name in without:
        if name not in known:
            raise unknown_name("circumstance", name, known)
    usual = [c for c in CIRCUMSTANCES if c.backend in (None, backend)]
    if kernels.onednn_version() is None:
        usual = [c for c in usual if c.order.get("layers") != "onednn"]
    usual = [c for c in usual if c.name not in without]
    return usual + [Circumstance(_version(python), python=python) for python in pythons]


def compared(name: str, first: Run, run: Run) -> Outcome:
    """Returns the comparison of a run with the first run."""
    ours, theirs = _state(run), _state(first)
    same = len(ours) == len(theirs) and all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    parameters, firsts = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(r.parameters())]) for r in (run, first))
    losses = [[line["loss"] for line in r.metrics if line["split"] == "train"] for r in (first, run)]
    environment, firsts_environment = (r.config["environments"][0] for r in (run, first))
    return Outcome(
        name,
        {k: value for k, value in environment.items() if value != firsts_environment.get(k)},
        same,
        _numbers(run) == _numbers(first),
        float(np.linalg.norm(parameters - firsts) / np.linalg.norm(firsts)),
        {"first": [of[0] for of in losses], "last": [of[-1] for of in losses]},
        [r.summary["final"]["test_accuracy"] for r in (first, run) if r.summary is not None],
    )


def _version(python: pathlib.Path) -> str:
    said = "import jax; print('JAX', jax.__version__)"
    return subprocess.run([str(python), "-c", said], capture_output=True, text=True, check=True).stdout.strip()


def _state(run: Run) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(run.state())]


def _numbers(run: Run) -> dict[tuple[int, str], MetricsLine]:
    """Returns the metrics of each epoch without their timings, by step and split."""
    lines = [line for line in run.metrics if line["split"] != "train_steps"]
    return {(line["step"], line["split"]): {k: v for k, v in line.items() if k not in TIMINGS} for line in lines}
