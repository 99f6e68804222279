"""Separate measurements of the time of training, with a clock on which every timed interval takes one second."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys

import pytest

from jaxopt_bench.runs import Options, measure_training, seconds_per_step, timing
from jaxopt_bench.runs.splits import Splits
from jaxopt_bench.training import CodePath

MEASURED_TWICE = """
import json, logging, os, pathlib, sys
import jax
from jaxopt_bench import Experiment
from jaxopt_bench.runs import Options, measure_training, seconds_per_step

kept = pathlib.Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
experiment, options = Experiment.from_json(json.loads(os.environ["CONFIG"])), Options(data_dir=sys.argv[1])

def files():
    return len(list(kept.rglob("*advance*")))

measure_training(experiment, options)
found = {"measured": files()}
seconds_per_step([experiment], options)
found["trained"] = (before := files()) > 0
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event) if event.endswith("cache_hits") else None)
measure_training(experiment, options)
found["measured again"] = len(hits) + files() - before
print(json.dumps(found))
"""


@pytest.mark.parametrize(("members", "share"), [("map", 1 / 3), ("vmap", 1.0)])
def test_the_time_of_a_step_is_that_of_one_run_on_any_code_path(tiny, digits_dir, monkeypatch, members, share):
    ticks = itertools.count()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(ticks)))
    seeds = [dataclasses.replace(tiny, seed=seed) for seed in range(3)]
    options = Options(data_dir=digits_dir, code_path=CodePath("pure", "compiled", members))
    assert seconds_per_step(seeds, options) == pytest.approx(share)


@pytest.mark.parametrize("with_averages", [False, True])
def test_evaluation_time_is_extrapolated_and_the_test_split_is_not_read(
    tiny, normed, digits_dir, tmp_path, monkeypatch, with_averages
):
    """Of 1,437 digits for training, 144 are for validation: 6 and 1 batches of at most 256 examples."""
    ticks, read = itertools.count(), []
    named = Splits.named
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(Splits, "named", lambda self, split: read.append(split) or named(self, split))
    monkeypatch.chdir(tmp_path)
    network = normed if with_averages else tiny.workload.problem.model
    problem = dataclasses.replace(tiny.workload.problem, model=network)
    found = measure_training(tiny.replace(problem=problem), Options(data_dir=digits_dir))
    assert found == (1.0, 1.0, 6 + 1 + 20 * with_averages, 20)  # 20 steps of 64 examples, which also give the averages
    assert read == ["train_clean", "validation"]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_measured_program_is_compiled_again_and_not_cached(tiny, tmp_path, digits_dir):
    """This runs in a separate process, whose compiled programs are cached in a folder."""
    variables = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "kept"),
        "CONFIG": json.dumps(tiny.to_json()),
    }
    done = subprocess.run(
        [sys.executable, "-c", MEASURED_TWICE, str(digits_dir)],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"measured": 0, "trained": True, "measured again": 0}
