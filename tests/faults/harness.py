"""Runs on the digits in child processes, faults in these processes, and checks that the runs lost nothing."""

from __future__ import annotations

import collections
import dataclasses
import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxopt_bench import Experiment, catalog, load_run, train
from jaxopt_bench.runs import Options, Recording, Reporter, Run, load_evaluation, train_population
from jaxopt_bench.runs.checkpoints import checkpoint_steps
from tests.tasks import changed

ROOT = pathlib.Path(__file__).parents[2]
RECORDING: Mapping[str, Any] = {"log_every": 5, "checkpoint_every": 7, "tensorboard": False, "evaluation": True}
TIMINGS = ("seconds", "examples_per_second")
PLACES = ("before anything", "in a line of metrics", "in a checkpoint", "in an evaluation", "after the last step")


def single(epochs: int = 3) -> list[Experiment]:
    """Returns one experiment: a short run on the digits."""
    return [changed(catalog.find("digits_cnn_adamw"), epochs=epochs)]


def population(epochs: int = 3) -> list[Experiment]:
    """Returns three experiments that one program trains together."""
    one = changed(catalog.find("digits_cnn_padam"), epochs=epochs)
    return [dataclasses.replace(one, seed=seed) for seed in range(3)]


@dataclasses.dataclass
class Bench:
    """Runs to disturb, and the same runs undisturbed.

    Attributes:
      experiments: the experiments of the runs.
      folder: the folder of the disturbed runs.
      data_dir: the data directory of the digits.
      whole: the undisturbed runs.
    """

    experiments: Sequence[Experiment]
    folder: pathlib.Path
    data_dir: pathlib.Path
    whole: Sequence[Run]

    @property
    def runs_dir(self) -> pathlib.Path:
        """The directory of all disturbed runs."""
        return self.folder / "runs"

    @property
    def run_dirs(self) -> list[pathlib.Path]:
        """The directory of each disturbed run."""
        return [self.runs_dir / e.name / e.digest for e in self.experiments]

    @property
    def checkpoints(self) -> pathlib.Path:
        """The folder of their checkpoints."""
        home = self.run_dirs[0]
        if len(self.experiments) > 1:
            home = next(self.runs_dir.glob("*/population-*"))
        return home / "checkpoints"

    def write_order(self, **faults: Any) -> pathlib.Path:
        """Writes the instructions for a child, and returns their path."""
        path = self.folder / "order.json"
        order = {
            "experiments": [e.to_json() for e in self.experiments],
            "runs_dir": str(self.runs_dir),
            "data_dir": str(self.data_dir),
            "recording": RECORDING,
        }
        path.write_text(json.dumps(order | faults))
        return path

    def command(self, **faults: Any) -> list[str]:
        """Returns the command of a child."""
        return [sys.executable, "-m", "tests.faults.child", str(self.write_order(**faults))]

    def child(self, **faults: Any) -> subprocess.Popen[str]:
        """Starts a child."""
        pipe = subprocess.PIPE
        return subprocess.Popen(self.command(**faults), cwd=ROOT, stdout=pipe, stderr=pipe, text=True)

    def run_child(self, **faults: Any) -> tuple[int, str]:
        """Runs a child to its end, and returns its exit code and its standard error."""
        child = self.child(**faults)
        _, errors = child.communicate(timeout=300)
        return child.returncode, errors

    def kill_after(self, seconds: float) -> bool:
        """Kills a child some seconds after its first metrics, and returns whether it was still alive."""
        child = self.child()
        before = _written(self.runs_dir)
        deadline = time.monotonic() + 120
        while child.poll() is None and _written(self.runs_dir) == before and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(seconds)
        alive = child.poll() is None
        child.send_signal(signal.SIGKILL)
        _, errors = child.communicate()
        assert child.returncode in (0, -signal.SIGKILL), errors
        return alive

    def resume_and_compare(self) -> list[Run]:
        """Trains the disturbed runs to their end in this process, and asserts that they lost nothing."""
        options = {"data_dir": self.data_dir, "recording": Recording(**RECORDING), "reporter": Reporter()}
        if len(self.experiments) == 1:
            runs = [train(self.experiments[0], Options(runs_dir=self.runs_dir, **options))]
        else:
            runs = train_population(self.experiments, Options(runs_dir=self.runs_dir, **options))
        for whole, run in zip(self.whole, runs, strict=True):
            assert_same(whole, run)
        left = [str(path) for path in self.runs_dir.rglob(".*")]
        assert not left, f"half-written files: {left}"
        return runs


def train_undisturbed(experiments: Sequence[Experiment], folder: pathlib.Path, data_dir: pathlib.Path) -> list[Run]:
    """Returns the undisturbed runs, trained in a child like the disturbed ones."""
    folder.mkdir()
    bench = Bench(experiments, folder, data_dir, ())
    code, errors = bench.run_child(say=str(folder / "writes.txt"))
    assert code == 0, errors
    return [load_run(path) for path in bench.run_dirs]


def writes(whole: Sequence[Run]) -> list[str]:
    """Returns the changes that the undisturbed runs made in the file system, in order."""
    return (whole[0].path.parents[2] / "writes.txt").read_text().splitlines()


def assert_same(whole: Run, run: Run) -> None:
    """Asserts that two runs are equal to the bit in states, metrics, results and evaluations, except for timings."""
    assert _untimed(run.summary) == _untimed(whole.summary)
    assert [_untimed(line) for line in run.metrics] == [_untimed(line) for line in whole.metrics]
    jax.tree.map(np.testing.assert_array_equal, run.state(), whole.state())
    assert checkpoint_steps(run.checkpoints.folder) == checkpoint_steps(whole.checkpoints.folder)
    ours, theirs = load_evaluation(run.path), load_evaluation(whole.path)
    jax.tree.map(np.testing.assert_array_equal, _plain(ours), _plain(theirs))


def classify_write(write: str, before: Sequence[str]) -> str:
    """Returns the phase of a run, one of `PLACES`, in which a change of the file system happens."""
    if "summary.json" in write or "evaluation.npz" in write:
        return "after the last step"
    if "checkpoints/" in write:
        return "in a checkpoint"
    if "metrics.jsonl" in write and any("checkpoints/" in earlier for earlier in before):
        return "in a line of metrics"
    return "before anything" if not any("metrics.jsonl" in earlier for earlier in before) else "in a line of metrics"


class Tally:
    """Counts the injected faults by kind."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()

    def add(self, fault: str, times: int = 1) -> None:
        """Counts a fault."""
        self.counts[fault] += times

    def __str__(self) -> str:
        return "\n".join(f"{count:6,}  {fault}" for fault, count in sorted(self.counts.items()))


def flip(path: pathlib.Path, dice: random.Random) -> None:
    """Flips one random bit of a file."""
    content = bytearray(path.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def truncate(path: pathlib.Path, dice: random.Random) -> None:
    """Truncates a file at a random position."""
    path.write_bytes(path.read_bytes()[: dice.randrange(path.stat().st_size)])


def remove(path: pathlib.Path, dice: random.Random) -> None:
    """Removes a file."""
    path.unlink()


def copy_bench(bench: Bench, folder: pathlib.Path) -> Bench:
    """Returns a copy of the runs in their present state, in another folder."""
    shutil.copytree(bench.folder, folder)
    return dataclasses.replace(bench, folder=folder)


def _written(folder: pathlib.Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*/*/metrics.jsonl"))


def _untimed(values: Any) -> Any:
    return {name: value for name, value in values.items() if name not in TIMINGS}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
