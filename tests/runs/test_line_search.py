"""Runs with L-BFGS, which is accepted only if the loss function is the same in all steps."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from jaxopt_bench import Experiment, UserError, Workload, load_run, train, train_population
from jaxopt_bench.data import Augmentation
from jaxopt_bench.models import CNN, MLP
from jaxopt_bench.optimizers import OPTIMIZERS
from jaxopt_bench.problems import (
    Autoencoder,
    Classification,
    DeepLinear,
    NoisyQuadratic,
    Poisson,
    Regression,
    Rosenbrock,
)
from jaxopt_bench.runs import Options, Recording

QUIET = Recording(tensorboard=False, log_every=2)
LBFGS = OPTIMIZERS["lbfgs"]


def test_evaluations_of_the_loss_are_recorded(tmp_path):
    experiment = Experiment(workload=Workload(problem=Rosenbrock(examples=5), epochs=8, batch_size=1), optimizer=LBFGS)
    run = load_run(train(experiment, Options(runs_dir=tmp_path, recording=QUIET)).path)
    assert run.summary["status"] == "completed"
    assert run.summary["final"]["train_clean_gap"] < 1e-9
    lines = [line for line in run.metrics if line["split"] == "train_steps"]
    total = sum(line["evaluations"] * line["steps"] for line in lines)
    assert run.summary["evaluations"] == pytest.approx(total)
    assert 2 * run.summary["steps"] <= run.summary["evaluations"] < 5 * run.summary["steps"] == 200
    adam = dataclasses.replace(experiment, optimizer=OPTIMIZERS["adam"])
    run = load_run(train(adam, Options(runs_dir=tmp_path, recording=QUIET)).path)
    assert run.summary["evaluations"] == run.summary["steps"] == 40
    assert not any("evaluations" in line for line in run.metrics)


@pytest.mark.slow
def test_a_member_of_a_population_is_trained_like_a_single_run(tmp_path):
    experiment = Experiment(
        workload=Workload(problem=DeepLinear(width=4, examples=10), epochs=2, batch_size=1), optimizer=LBFGS
    )
    members = [experiment, dataclasses.replace(experiment, seed=1)]
    together = train_population(members, Options(runs_dir=tmp_path / "together", recording=QUIET))
    alone = train(members[1], Options(runs_dir=tmp_path / "alone", recording=QUIET))
    losses = [run.summary["final"]["train_clean_loss"] for run in (*together, alone)]
    assert losses[1] == pytest.approx(losses[2], rel=0.01, abs=1e-6)
    assert losses[0] != losses[1] < 0.1 * alone.metrics[0]["loss"]


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (
            Regression(),
            r"But batch_size is 64, so each step uses another part of the training split\. "
            r"Expected 7200, the number of training ex",
        ),
        (Poisson(), r"But batch_size is 64, so each step uses another part of the training split\. Expected 1000"),
        (Regression(model=MLP(dropout=0.1)), r"The loss of diamonds_mlp is random, for example by dropout or noise"),
        (NoisyQuadratic(), r"The loss of noisy_quadratic is random"),
        (Classification(model=CNN()), r"The loss of digits_cnn is random"),
        (
            Classification(model=CNN(dropout=0.0), augmentation=Augmentation(flip=True)),
            "The loss of digits_cnn is rand",
        ),
        (
            Classification(model=CNN(dropout=0.0)),
            r"But batch_size is 64, so each step uses another part of the training split\. Expected 1293",
        ),
    ],
)
def test_lbfgs_is_refused_before_any_write_if_the_loss_varies_between_steps(problem, reason, tmp_path, digits_dir):
    experiment = Experiment(workload=Workload(problem=problem, epochs=1, batch_size=64), optimizer=LBFGS)
    with pytest.raises(UserError, match=rf"optimizer lbfgs evaluates the loss several times in a step .*{reason}"):
        train(experiment, Options(runs_dir=tmp_path / "runs", data_dir=digits_dir))
    assert not list(tmp_path.iterdir())


def test_lbfgs_trains_a_network_on_its_complete_training_split(tmp_path, digits_dir):
    problem = Autoencoder(encoder=MLP(widths=()), code=4)
    experiment = Experiment(workload=Workload(problem=problem, epochs=8, batch_size=1293), optimizer=LBFGS)
    run = train(experiment, Options(runs_dir=tmp_path, recording=QUIET, data_dir=digits_dir))
    losses = [line["loss"] for line in run.metrics if line["split"] == "train_steps"]
    assert losses[-1] < 0.7 * losses[0]
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))
