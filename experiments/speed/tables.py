"""Measures the time to read thousands of runs as tables: `python -m experiments.speed.tables [--runs 10000]`.

It trains one small network for a short time, copies its directory with other seeds, learning rates and digests, and
loads the copies with `jaxopt_bench.results.load` in separate processes. For 10,000 runs with 105 lines of metrics each
(353 MB), this took 6.2 s (5.6 to 7.2) with a peak of 0.74 GB of memory, on 2 cores of an Intel Xeon with AVX-512.
Reading line by line with Python's own JSON reader takes three times the time and the memory.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import random
import shutil
import statistics
import tempfile
import time

import tyro

from experiments.speed.measure.memory import host_peak
from experiments.speed.measure.process import in_new_process
from jaxopt_bench import catalog
from jaxopt_bench.experiment import digest_of
from jaxopt_bench.results import load
from jaxopt_bench.runs import Options, Recording, Reporter, train

COPIED = ("config.json", "summary.json", "metrics.jsonl", "lock")


@dataclasses.dataclass(frozen=True)
class Flags:
    """Measure the time to read runs as tables."""

    runs: int = 10_000
    """The number of runs."""
    repeats: int = 3
    """The number of measurements."""
    data_dir: pathlib.Path | None = None
    """TFDS data directory for the digits; a temporary one by default."""


@dataclasses.dataclass(frozen=True)
class Loaded:
    """The time and the memory of loading.

    Attributes:
      runs: the number of rows of the table of runs.
      lines: the number of rows of the table of metrics.
      seconds: elapsed seconds.
      processor_seconds: processor seconds of all cores together.
      peak_bytes: the peak memory of the process, including Python and its imports.
    """

    runs: int
    lines: int
    seconds: float
    processor_seconds: float
    peak_bytes: int


def train_one(folder: pathlib.Path, data_dir: pathlib.Path) -> pathlib.Path:
    """Returns the directory of a run with about a hundred lines of metrics."""
    found = catalog.find("digits_cnn_adamw")
    experiment = found.replace(epochs=2, batch_size=26)
    recording = Recording(log_every=1, tensorboard=False)
    return train(experiment, Options(runs_dir=folder, data_dir=data_dir, recording=recording, reporter=Reporter())).path


def make_copies(run: pathlib.Path, folder: pathlib.Path, count: int) -> None:
    """Copies a run directory. The copies differ in seed, learning rate and digest."""
    config, summary = (json.loads((run / name).read_text()) for name in ("config.json", "summary.json"))
    draws = random.Random(0)
    for seed in range(count):
        config["experiment"]["seed"] = seed
        config["experiment"]["optimizer"]["learning_rate"] = draws.random()
        config["digest"] = summary["digest"] = digest_of(config["experiment"])
        copy = folder / config["experiment"]["name"] / config["digest"]
        copy.mkdir(parents=True)
        for name in COPIED:
            shutil.copyfile(run / name, copy / name)
        (copy / "config.json").write_text(json.dumps(config, indent=2))
        (copy / "summary.json").write_text(json.dumps(summary, indent=2))


def measured(folder: pathlib.Path) -> Loaded:
    """Loads a folder and returns the measurement. The peak memory is that of this process so far."""
    began, processor = time.perf_counter(), time.process_time()
    results = load(folder)
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    return Loaded(len(results.runs), len(results.curves), seconds, processor, host_peak())


def main() -> None:
    """Runs the measurements that the command line requests."""
    flags = tyro.cli(Flags, prog="python -m experiments.speed.tables")
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        run = train_one(folder / "one", flags.data_dir or folder / "data")
        make_copies(run, folder / "runs", flags.runs)
        size = sum(path.stat().st_size for path in (folder / "runs").rglob("*") if path.is_file())
        loaded = [in_new_process(measured, folder / "runs") for _ in range(flags.repeats)]
    print(f"{loaded[0].runs:,} runs, {loaded[0].lines:,} lines, {size / 1e6:,.0f} MB on disk")
    print("seconds:           " + ", ".join(f"{each.seconds:.2f}" for each in loaded))
    print("processor seconds: " + ", ".join(f"{each.processor_seconds:.2f}" for each in loaded))
    print(f"peak memory:       {statistics.median(each.peak_bytes for each in loaded) / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
