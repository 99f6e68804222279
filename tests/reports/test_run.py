"""The command in the report of a run repeats the run."""

from __future__ import annotations

import functools
import json
import pathlib
import shlex

import pytest

from jaxopt_bench import Experiment, Run, catalog
from jaxopt_bench.cli import parse
from jaxopt_bench.experiment import Workload
from jaxopt_bench.models import CNN, MODELS
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, Cosine
from jaxopt_bench.problems import Classification, Language, NoisyQuadratic
from jaxopt_bench.reports.run import command


def mine(problem, **fields) -> Experiment:
    """Returns an experiment of a user's file, which the catalog does not have."""
    workload = Workload(name="mine", problem=problem, epochs=3, batch_size=32)
    return Experiment(**{"name": "mine", "workload": workload, "optimizer": SGD(learning_rate=0.123), **fields})


def recorded(experiment: Experiment) -> Run:
    return Run(pathlib.Path("run"), {"experiment": json.loads(json.dumps(experiment.to_json()))}, [], None)


@pytest.mark.parametrize(
    "experiment",
    [
        mine(Classification(dataset="digits", model=CNN(channels=(), dense=8), label_smoothing=0.1)),
        mine(Classification(dataset="cifar10", model=MODELS["resnet20"]), evaluate_test=False, seed=5),
        mine(NoisyQuadratic(dimensions=20, examples=40), optimizer=OPTIMIZERS["muon"], schedule=Cosine(warmup=1)),
        mine(Language(), optimizer=OPTIMIZERS["lion"], track_test=True),
        catalog.find("digits_cnn_adamw").replace(epochs=2, seed=1, optimizer=SGD(learning_rate=0.5)),
    ],
    ids=["empty tuple", "network", "problem", "language", "catalog"],
)
def test_the_command_of_a_run_repeats_it_in_the_same_folder(experiment: Experiment):
    program, name, *words = shlex.split(command(recorded(experiment)))
    assert (program, name) == ("jaxopt-bench", "run")
    parsed = parse(["run", *words])
    assert isinstance(parsed, functools.partial)
    repeated = parsed.args[0].experiment
    assert (repeated.name, repeated.digest) == (experiment.name, experiment.digest)


def test_the_command_of_an_experiment_in_the_catalog_has_its_name_and_its_changes():
    experiment = catalog.find("digits_cnn_adamw")
    assert command(recorded(experiment)) == "jaxopt-bench run digits_cnn_adamw"
    assert command(recorded(experiment.replace(epochs=2))) == "jaxopt-bench run digits_cnn_adamw --epochs 2"
