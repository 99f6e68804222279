"""Trains runs in a process that is killed or fails at a given point: `python -m tests.faults.child ORDER.json`.

The file contains a JSON object:
  experiments: the experiments to train; several form a population.
  runs_dir, data_dir: as in `train`.
  recording: the fields of `Recording`.
  die_at_write: N; kills this process just before its Nth change of the file system below `runs_dir`, counted from 1.
  die_in: ["Class.method", N]; kills it when this method is called for the Nth time, counted from 1. The class is
    Evaluator, Recorder, Member or Checkpoints.
  largest_file: bytes; writing more into a file fails, as on a full disk.
  remove_at: a step; removes `runs_dir` when the run has reached it.
  say: a file to which it appends its changes of the file system, one per line.
"""

from __future__ import annotations

import json
import os
import pathlib
import resource
import shutil
import signal
import sys
import threading
from typing import Any

from jaxopt_bench import Experiment, UserError, train
from jaxopt_bench.runs import Options, Recording, Reporter, train_population
from jaxopt_bench.runs.checkpoints import Checkpoints
from jaxopt_bench.runs.member import Member
from jaxopt_bench.runs.recorder import Recorder
from jaxopt_bench.training.evaluator import Evaluator

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Writes:
    """An audit hook that counts changes of the file system below a folder."""

    def __init__(self, folder: str, last: int | None, said: Any):
        self.folder, self.last, self.said = folder, last, said
        self.count, self.lock = 0, threading.RLock()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & WRITING:
                return
        elif event in CHANGES:
            path = arguments[0]
        else:
            return
        name = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
        if not name.startswith(self.folder):
            return
        if event == "os.remove" and "/d/" in name:
            return  # arrays of an old checkpoint: their number of files differs from run to run
        with self.lock:
            self.count += 1
            if self.said is not None:
                target = f" to {os.fsdecode(arguments[1])}" if event == "os.rename" else ""
                os.write(self.said, f"{event} {name}{target}\n".replace(self.folder, "").encode())
            if self.count == self.last:
                die()


class RemovedAt(Reporter):
    """Removes a folder when the run has reached a step."""

    def __init__(self, folder: str, step: int):
        self.folder, self.step = folder, step

    def advance(self, step: int, *_: Any) -> None:
        if step >= self.step:
            # Renamed first, so that it is gone at once. If files are removed one by one, all files of a checkpoint that
            # is being written may remain.
            gone = os.path.join(os.path.dirname(self.folder), "gone")
            os.rename(self.folder, gone)
            shutil.rmtree(gone)


def die_in(called: str, time: int) -> None:
    """Kills the process when a method is called for the Nth time."""
    name, _, method = called.partition(".")
    cls = {"Evaluator": Evaluator, "Recorder": Recorder, "Member": Member, "Checkpoints": Checkpoints}[name]
    original, calls = getattr(cls, method), []

    def counted(*arguments: Any, **named: Any) -> Any:
        calls.append(None)
        if len(calls) == time:
            die()
        return original(*arguments, **named)

    setattr(cls, method, counted)


def main() -> int:
    order = json.loads(pathlib.Path(sys.argv[1]).read_text())
    experiments = [Experiment.from_json(values) for values in order["experiments"]]
    if order.get("largest_file") is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file"], resource.RLIM_INFINITY))
    if order.get("die_in") is not None:
        die_in(*order["die_in"])
    said = order.get("say")
    output = None if said is None else os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.addaudithook(Writes(order["runs_dir"], order.get("die_at_write"), output))
    removed = order.get("remove_at")
    options: dict[str, Any] = {
        "runs_dir": order["runs_dir"],
        "data_dir": order["data_dir"],
        "recording": Recording(**order["recording"]),
        "reporter": Reporter() if removed is None else RemovedAt(order["runs_dir"], removed),
    }
    try:
        if len(experiments) == 1:
            train(experiments[0], Options(**options))
        else:
            train_population(experiments, Options(**options))
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
