"""Optimizers of users in runs and populations: trained, resumed and swept as those of the table."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import optax
import pytest

from jaxopt_bench import train, train_population
from jaxopt_bench.optimizers import Constant, imported
from tests.runs.test_population import PATH, QUIET, Killed, KilledAt
from tests.runs.test_train import Said, assert_same, without_timings


def mine(learning_rate: float = 0.01, b1: float = 0.9) -> optax.GradientTransformation:
    return optax.adam(learning_rate, b1)


def picky(learning_rate: float = 0.01) -> optax.GradientTransformation:
    if learning_rate <= 0:
        raise ValueError("learning_rate must be positive")
    return optax.sgd(learning_rate, 0.9)


@pytest.fixture
def options(digits_dir) -> dict[str, Any]:
    return {"data_dir": digits_dir, "recording": QUIET, "code_path": PATH}


@pytest.mark.slow
def test_runs_resume_and_populations_are_their_single_runs(tiny, tmp_path, options):
    experiments = [dataclasses.replace(tiny, optimizer=imported(mine)(learning_rate=rate)) for rate in (2e-3, 2e-2)]
    together = train_population(experiments, runs_dir=tmp_path / "together", **options)
    for run, experiment in zip(together, experiments, strict=True):
        with pytest.raises(Killed):
            train(experiment, runs_dir=tmp_path / "alone", reporter=KilledAt(25), **options)
        alone = train(experiment, runs_dir=tmp_path / "alone", **options)
        assert_same(run, alone)
    rates = [run.metrics[0]["learning_rate"] for run in together]
    assert rates[1] == pytest.approx(10 * rates[0])


@pytest.mark.parametrize("factory", [mine, picky])
def test_what_is_trained_is_the_users_function(factory, tiny, tmp_path, options):
    """Its state has seen gradients, and its numbers are arrays unless it branches on them."""
    experiment = dataclasses.replace(tiny, optimizer=imported(factory)(learning_rate=0.02), schedule=Constant())
    run = train(experiment, runs_dir=tmp_path, **options)
    state = run.state()
    inner = optax.tree.get(state.opt_state, "trace" if factory is picky else "mu")
    assert any(np.any(leaf) for leaf in jax.tree.leaves(inner))
    assert run.metrics[0]["learning_rate"] == pytest.approx(0.02)
    assert ("learning_rate" in state.hyperparameters) == (factory is mine)


@pytest.mark.slow
def test_settings_of_a_function_that_branches_are_programs_of_their_own_and_the_run_says_so(tiny, tmp_path, options):
    experiments = [
        dataclasses.replace(tiny, optimizer=imported(picky)(learning_rate=rate), seed=seed)
        for rate in (2e-3, 2e-2)
        for seed in (0, 1)
    ]
    said = Said()
    runs = train_population(experiments, runs_dir=tmp_path / "together", reporter=said, **options)
    assert "4 runs are 2 programs, which are compiled and trained in turn" in said.messages
    assert [run.experiment for run in runs] == experiments
    alone = train(experiments[2], runs_dir=tmp_path / "alone", **options)
    assert without_timings(runs[2]) == without_timings(alone)
