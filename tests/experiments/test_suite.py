"""The suite: its workloads train and can be judged, and its study tunes all optimizers by the same rule."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench import catalog
from jaxopt_bench.compare import make_newcomer
from jaxopt_bench.measures import split_of
from jaxopt_bench.optimizers import Constant, Cosine
from jaxopt_bench.problems import count_examples, take_examples
from jaxopt_bench.study import STUDIES
from jaxopt_bench.training import Task, initial_state, make_evaluation_step, make_train_step

SUITE = STUDIES.find("suite")
OWN = catalog.EXPERIMENTS.load_folder(catalog.experiments_dir() / "suite")
WORKLOADS = [workload.name for workload in SUITE.workloads]
QUICK = ("digits_cnn_mini", "diamonds_mlp_mini", "mnist1d_cnn_mini", "noisy_quadratic_mini")
"""Workloads whose programs compile in a few seconds."""


def test_every_workload_of_the_suite_has_an_experiment_that_the_catalog_finds():
    assert {f"{name}_adamw" for name in WORKLOADS} == set(OWN)
    for name in WORKLOADS:
        assert catalog.find(f"{name}_adamw").workload == SUITE.workload(name)


def test_workloads_are_of_at_least_six_kinds():
    kinds = {(type(w.problem), type(getattr(w.problem, "model", None))) for w in SUITE.workloads}
    assert len(kinds) >= 6
    assert len({type(w.problem) for w in SUITE.workloads}) >= 6


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in WORKLOADS])
def test_a_step_trains_and_the_untrained_model_is_measured_and_misses_the_target(name, digits_dir):
    experiment = catalog.find(f"{name}_adamw")
    problem = experiment.workload.problem.load(digits_dir)
    task = Task(experiment, problem)
    assert 20 <= task.steps_per_epoch * experiment.workload.epochs <= 2500
    state = initial_state(task)

    target = SUITE.target(name)
    split, metric = split_of(target.measure)
    examples = problem.split(split)
    batch = jax.tree.map(jnp.asarray, take_examples(examples, slice(64)))
    metrics, _ = jax.jit(make_evaluation_step(task))(
        state.params, state.variables, batch, jnp.ones(count_examples(batch), bool)
    )
    values = {own: float(value) for own, value in metrics.compute(problem.all_metrics).items()}
    assert all(math.isfinite(value) for value in values.values())
    headline = next(own for own in problem.all_metrics if own.name == metric)
    assert metric == problem.headline.name
    assert values[metric] < target.value if headline.higher_is_better else values[metric] > target.value

    batch = jax.tree.map(jnp.asarray, take_examples(problem.train, slice(experiment.workload.batch_size)))
    before = jax.tree.map(np.array, state.params)
    after, measured = jax.jit(make_train_step(task))(state, batch)
    assert all(np.isfinite(value).all() for value in measured.compute(task.step_metrics).values())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.params))
    assert any((new != old).any() for new, old in zip(*map(jax.tree.leaves, (after.params, before)), strict=True))


def test_every_workload_has_enough_epochs_to_measure_the_time_to_a_target():
    """Targets are checked after every epoch, so the number of epochs limits the precision of the time to a target."""
    assert all(workload.epochs >= 10 for workload in SUITE.workloads)


def test_all_workloads_have_the_same_epochs_and_share_of_warmup():
    assert len({workload.epochs for workload in SUITE.workloads}) == 1
    assert {contender.schedule.warmup for contender in SUITE.contenders} == {1.0}


def test_at_least_24_optimizers_are_tuned_in_spaces_of_their_default_rule():
    assert len(SUITE.contenders) >= 24
    for contender in SUITE.contenders:
        rule = {f"optimizer.{field}": axis for field, axis in contender.optimizer.search_space().items()}
        assert dict(contender.searched) == rule
        constant = contender.optimizer.schedule.is_constant
        assert type(contender.schedule) is (Constant if constant else Cosine)


def test_trials_and_confirmations_are_populations_of_the_same_size():
    """One compiled program trains all populations of the same size."""
    assert SUITE.trials == SUITE.finalists * SUITE.finalist_seeds == SUITE.seeds
    assert SUITE.trial_seeds == SUITE.repetitions == 1


def test_a_newcomer_is_tuned_and_trained_like_the_others():
    new = make_newcomer(dataclasses.replace(SUITE, contenders=SUITE.contenders[1:]), SUITE.contenders[0].name)
    assert new == SUITE.contenders[0]
    other = make_newcomer(SUITE, "novograd")
    assert set(other.searched) == {"optimizer.learning_rate", "optimizer.weight_decay"}
    assert other.schedule == Cosine(warmup=1.0)


def test_every_workload_has_a_target():
    assert [target.workload for target in SUITE.targets] == WORKLOADS
