"""Runs that share problems compile each function once, and have the same results."""

from __future__ import annotations

import dataclasses
import re

import jax
import pytest

from jaxopt_bench.optimizers import Adam
from jaxopt_bench.runs import Options, Problems, Reporter, Run, compile_ahead, train_population


@pytest.fixture
def options(tmp_path, digits_dir) -> Options:
    return Options(runs_dir=tmp_path / "runs", data_dir=digits_dir, reporter=Reporter(), problems=Problems())


def compiled(caplog: pytest.LogCaptureFixture) -> set[str]:
    """Returns the names of the functions that JAX has logged as compiled, and clears the log."""
    found = re.findall(r"Finished XLA compilation of jit\((\w+)\)", caplog.text)
    caplog.clear()
    return set(found)


def measured(runs: list[Run]) -> list[list[dict[str, object]]]:
    """Returns the metrics of runs without timings."""
    times = ("seconds", "examples_per_second")
    return [[{name: line[name] for name in line if name not in times} for line in run.metrics] for run in runs]


def test_functions_compiled_ahead_are_not_compiled_again_and_compute_the_same(tiny, tmp_path, options, caplog):
    experiments = [dataclasses.replace(tiny, seed=seed) for seed in (0, 1)]
    with jax.log_compiles():
        compile_ahead(experiments, options)
        assert {"advance", "initial_states"} <= compiled(caplog)
        runs = train_population(experiments, options)
        assert not {"advance", "initial_states"} & compiled(caplog)
    alone = dataclasses.replace(options, runs_dir=tmp_path / "alone", problems=None)
    assert measured(runs) == measured(train_population(experiments, alone))


def test_another_seed_shares_all_programs_and_another_optimizer_the_evaluation(tiny, options, caplog):
    first = dataclasses.replace(tiny, evaluate_test=False)
    with jax.log_compiles():
        train_population([first], options)
        assert {"advance", "add"} <= compiled(caplog)
        train_population([dataclasses.replace(tiny, evaluate_test=True, seed=1)], options)
        assert not {"advance", "add", "initial_states"} & compiled(caplog)
        train_population([dataclasses.replace(first, optimizer=Adam())], options)
        found = compiled(caplog)
    assert "advance" in found
    assert "add" not in found


@pytest.mark.slow
def test_runs_that_do_not_share_problems_load_the_data_each_time(tiny, options, monkeypatch):
    loaded = []
    load = type(tiny.workload.problem).load
    monkeypatch.setattr(type(tiny.workload.problem), "load", lambda *a, **k: loaded.append(1) or load(*a, **k))
    apart = dataclasses.replace(options, problems=None)
    for seed in (0, 1):
        train_population([dataclasses.replace(tiny, seed=seed)], apart)
    assert len(loaded) == 2
    for seed in (2, 3):
        train_population([dataclasses.replace(tiny, seed=seed)], options)
    assert len(loaded) == 3
