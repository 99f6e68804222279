"""A run that is stopped and resumed many times, or makes many steps, does not use ever more memory and files."""

from __future__ import annotations

import dataclasses
import gc
import os
import pathlib
import threading

import psutil
import pytest

from jaxopt_bench import train
from jaxopt_bench.models import CNN
from jaxopt_bench.runs import Interrupted, Options, Recording, Reporter
from tests.faults.harness import assert_same, single
from tests.runs.test_train import StoppedAt
from tests.tasks import changed

pytestmark = pytest.mark.slow

CYCLES, STEPS = 200, 200_000
MEGABYTES = 64
"""The accepted growth of the process: allocators and caches of compiled programs keep some memory."""


@dataclasses.dataclass(frozen=True)
class Held:
    """The resources of the process.

    Attributes:
      bytes: the resident memory.
      files: the number of open files.
      threads: the number of threads that Python counts.
      left: the number of files of the run.
    """

    bytes: int
    files: int
    threads: int
    left: int


def held(folder: pathlib.Path) -> Held:
    gc.collect()
    process = psutil.Process()
    left = sum(len(files) for _, _, files in os.walk(folder))  # os.walk accepts that folders vanish
    return Held(process.memory_info().rss, process.num_fds(), threading.active_count(), left)


def test_two_hundred_stops_do_not_increase_memory_files_and_threads(tmp_path, digits_dir, tally):
    (experiment,) = single(epochs=30)
    options = {"data_dir": digits_dir, "recording": Recording(tensorboard=False, log_every=5)}
    whole = train(experiment, Options(runs_dir=tmp_path / "whole", reporter=Reporter(), **options))
    assert whole.summary is not None
    early = late = None
    for cycle in range(CYCLES):
        with pytest.raises(Interrupted):
            train(experiment, Options(runs_dir=tmp_path / "runs", reporter=StoppedAt(5 * cycle + 1), **options))
        if cycle == CYCLES // 10:
            early = held(tmp_path / "runs")
        late = held(tmp_path / "runs") if cycle == CYCLES - 1 else late
    assert early is not None
    assert late is not None
    print(f"\nafter {CYCLES // 10} stops {early}, after {CYCLES} {late}")
    assert late.bytes - early.bytes < MEGABYTES * 2**20
    assert late.files <= early.files
    assert late.threads <= early.threads
    assert late.left <= early.left + 20  # the checkpoint of the best epoch may have been added
    assert_same(whole, train(experiment, Options(runs_dir=tmp_path / "runs", reporter=Reporter(), **options)))
    tally.add("stopped and gone on with", CYCLES)


class Watched(Reporter):
    """Records the resources of the process: the minimum in each tenth of the steps, as between two checkpoints."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.seen, self.told = folder, dict[int, Held](), 0

    def advance(self, step: int, *_: object) -> None:
        self.told += 1
        if self.told % 20:
            return
        tenth, now = 10 * step // STEPS, dataclasses.astuple(held(self.folder))
        least = dataclasses.astuple(self.seen[tenth]) if tenth in self.seen else now
        self.seen[tenth] = Held(*map(min, least, now))


def test_two_hundred_thousand_steps_use_no_more_resources_than_twenty_thousand(tmp_path, digits_dir):
    (experiment,) = single()
    model = CNN(channels=(2,), dense=4)
    experiment = changed(experiment, model=model, batch_size=4, epochs=1)
    probe = train(experiment, Options(runs_dir=tmp_path / "probe", data_dir=digits_dir, reporter=Reporter()))
    assert probe.summary is not None
    epochs = -(-STEPS // probe.summary["steps"])
    watched = Watched(tmp_path / "runs")
    run = train(
        changed(experiment, epochs=epochs),
        Options(
            runs_dir=tmp_path / "runs",
            data_dir=digits_dir,
            reporter=watched,
        ),
    )
    assert run.summary is not None
    assert run.summary["steps"] >= STEPS
    early, late = watched.seen[1], watched.seen[9]
    print(f"\nafter {STEPS // 10:,} steps {early}, after {STEPS * 9 // 10:,} {late}; {len(run.metrics):,} lines")
    assert late.bytes - early.bytes < MEGABYTES * 2**20
    assert late.files <= early.files
    assert late.threads <= early.threads
    assert late.left <= early.left + 20
