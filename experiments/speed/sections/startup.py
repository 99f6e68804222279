"""Seconds from the command line to the end of the first step, with a cold and with a warm compilation cache."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from experiments.speed.inputs.workloads import classification, workload_of
from experiments.speed.measure.remote import ROOT
from experiments.speed.measure.timing import Spread
from experiments.speed.output.document import Row
from experiments.speed.sections.bench import Bench, describe
from jaxopt_bench import catalog, files
from jaxopt_bench.training import choose_code_path

TIMEOUT = 600.0
POLL = 0.005


def rows(bench: Bench, experiment: str, repeats: int) -> Iterator[Row]:
    """Yields a row for the cold cache and a row for the warm cache."""
    found = catalog.find(experiment)
    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    if not bench.quick:
        _both(experiment, bench.data_dir)  # only the first start reads Python's files from the disk
    for _ in range(repeats):
        for cache, measured in _both(experiment, bench.data_dir).items():
            seconds[cache].append(measured)
    for cache, measured_all in seconds.items():
        yield {
            **describe("startup", workload_of(found), classification(found).dtype, choose_code_path(), bench),
            "cache": cache,
            "repeats": repeats,
            **Spread.of(measured_all).fields("seconds_to_first_step"),
        }


def _both(experiment: str, data_dir: pathlib.Path) -> dict[str, float]:
    """Returns the seconds of a start with an empty compilation cache, and of a second start with the filled cache."""
    with tempfile.TemporaryDirectory() as folder:
        cache = pathlib.Path(folder) / "cache"
        return {
            state: seconds_to_first_step(experiment, data_dir, pathlib.Path(folder) / state, cache)
            for state in ("cold", "warm")
        }


def seconds_to_first_step(
    experiment: str, data_dir: pathlib.Path, runs_dir: pathlib.Path, cache: pathlib.Path
) -> float:
    """Starts a run from the command line, waits for its first line of metrics, and ends it.

    Args:
      experiment: the name of the experiment.
      data_dir: TFDS data directory that contains its prepared data set.
      runs_dir: a folder that is empty or does not exist.
      cache: the folder of the compilation cache.

    Raises:
      RuntimeError: if the run ends before its first step, or its first step takes too long.
    """
    command = [sys.executable, "-m", "jaxopt_bench", "run", experiment, "--log-every", "1"]
    command += ["--data-dir", str(data_dir), "--out", str(runs_dir)]
    variables = {**os.environ, files.CACHE: str(cache)}
    variables.pop("JAX_COMPILATION_CACHE_DIR", None)  # JAX would use it instead of the project's own
    began = time.perf_counter()
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(command, cwd=ROOT, env=variables, stdout=output, stderr=output) as process,
    ):
        try:
            while not any(path.stat().st_size for path in runs_dir.glob("*/*/metrics.jsonl")):
                if process.poll() is not None or time.perf_counter() - began > TIMEOUT:
                    output.seek(0)
                    raise RuntimeError(f"{' '.join(command)} made no step: {output.read()[-2000:]}")
                time.sleep(POLL)
            return time.perf_counter() - began
        finally:
            process.kill()
