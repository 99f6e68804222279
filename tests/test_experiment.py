"""Experiments as data: their fields are checked, and a digest identifies their computation."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxopt_bench import Experiment, UserError, Workload, models, optimizers, problems
from jaxopt_bench.data import Augmentation
from jaxopt_bench.experiment import flat_fields
from jaxopt_bench.models import CNN, GRU, MODELS, ResNet
from jaxopt_bench.optimizers import OPTIMIZERS, SCHEDULES, SGD, Adam, AdamW, Cosine, MultiStep
from jaxopt_bench.problems import Classification, Language, Rosenbrock
from tests.tasks import changed

BASE = Experiment(workload=Workload(problem=Classification(dataset="digits", model=CNN())), optimizer=OPTIMIZERS["sgd"])
experiments = st.builds(
    Experiment,
    workload=st.builds(
        Workload,
        problem=st.builds(
            Classification,
            dataset=st.sampled_from(["digits", "cifar10", "cifar100"]),
            model=st.sampled_from([model for model in MODELS.values() if "images" in model.inputs]),
            label_smoothing=st.floats(0, 0.99),
        ),
        epochs=st.integers(1, 1000),
    ),
    optimizer=st.sampled_from(list(OPTIMIZERS.values())),
    schedule=st.sampled_from(list(SCHEDULES.values())),
    seed=st.integers(0, 2**32 - 1),
)


@given(experiments)
def test_json_round_trips_and_keeps_the_digest(experiment):
    again = Experiment.from_json(experiment.to_json())
    assert again == experiment
    assert again.digest == experiment.digest


@settings(max_examples=50)
@given(experiments, experiments)
def test_digests_differ_exactly_if_experiments_do(one, other):
    assert (one.digest == other.digest) == (one == other)


def test_everything_but_names_is_in_the_digest():
    for change in (
        {"seed": 1}, {"epochs": 11}, {"dtype": "bfloat16"}, {"track_test": True}, {"evaluate_test": False},
        {"validation_fraction": 0.2}, {"optimizer": dataclasses.replace(BASE.optimizer, learning_rate=0.2)},
    ):  # fmt: skip
        assert changed(BASE, **change).digest != BASE.digest


def test_names_are_not_in_the_digest():
    renamed = dataclasses.replace(BASE, name="other", workload=dataclasses.replace(BASE.workload, name="another"))
    assert renamed.digest == BASE.digest
    assert renamed.program() == BASE.program()


MINE = """
import numpy as np
import optax
from flax import linen as nn

from jaxopt_bench import Problem


def heavy_ball(learning_rate: float, momentum: float = 0.9):
    return optax.sgd(learning_rate, momentum)


class Net(nn.Module):
    width: int = 8

    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(nn.Dense(self.width)(x.reshape(len(x), -1)))


def parabola(scale: float, examples: int = 64):
    x = np.ones((examples, 1), np.float32)
    init = lambda key: scale * x[0]
    return Problem(train={"x": x}, init=init, loss=lambda params, batch, key: (params - batch["x"]) ** 2)
"""


def test_digests_are_stable(tmp_path):
    """A change here means that users' runs are no longer found: do not update it lightly."""
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    images = Classification(
        dataset="cifar10",
        model=ResNet(depth=18),
        augmentation=Augmentation(crop_padding=4, flip=True),
        dtype="bfloat16",
        validation_fraction=0.0,
    )
    parabola, heavy_ball = problems.load(f"{file}:parabola"), optimizers.load(f"{file}:heavy_ball")
    net = models.load(f"{file}:Net")
    assert BASE.digest == "ff86f42df987"
    for experiment, digest in (
        (
            Experiment(
                name="one",
                workload=Workload(name="two", problem=images, epochs=300, batch_size=4),
                optimizer=AdamW(learning_rate=0.01, weight_decay=5e-4),
                schedule=MultiStep(boundaries=(150, 200), factor=0.1),
                track_test=True,
                seed=7,
            ),
            "9a5bdcd72d63",
        ),
        (
            Experiment(
                workload=Workload(problem=Rosenbrock(examples=10), batch_size=1),
                optimizer=OPTIMIZERS["lbfgs"],
                evaluate_test=False,
            ),
            "05a1be251ee8",
        ),
        (
            Experiment(
                workload=Workload(problem=Language(dataset="words", model=GRU()), epochs=5),
                optimizer=Adam(learning_rate=5e-3),
                schedule=Cosine(warmup=0.5),
            ),
            "de5efeb70b81",
        ),
        (
            Experiment(
                workload=Workload(problem=parabola(scale=0.5), epochs=2, batch_size=16),
                optimizer=heavy_ball(learning_rate=0.1),
            ),
            "5fbc89a0207d",
        ),
        (
            Experiment(
                workload=Workload(problem=Classification(dataset="digits", model=net(width=4))),
                optimizer=SGD(learning_rate=0.1),
            ),
            "d3ff45efddb0",
        ),
    ):
        assert experiment.digest == digest


def test_the_workload_is_an_object_in_json_but_its_fields_are_plain_flags():
    written = BASE.to_json()
    assert [*written] == ["name", "workload", "optimizer", "schedule", "evaluate_test", "track_test", "seed"]
    assert [*written["workload"]] == ["name", "problem", "epochs", "batch_size"]
    flat = flat_fields(written)
    assert (flat["problem.name"], flat["dataset"], flat["model.name"]) == ("classification", "digits", "cnn")
    assert (flat["name"], flat["epochs"], flat["batch_size"], flat["optimizer.name"]) == ("unnamed", 10, 128, "sgd")
    assert not [name for name in flat if name.startswith("workload")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "cifar11"}, "unknown dataset 'cifar11'; did you mean cifar10"),
        ({"epochs": 0}, r"Workload\.epochs is 0. Expected: an integer >= 1"),
        ({"epochs": 1.5}, r"Workload\.epochs is 1\.5"),
        ({"batch_size": True}, r"Workload\.batch_size is True"),
        ({"label_smoothing": 1.0}, r"label_smoothing is 1\.0. Expected: a finite number >= 0 and < 1"),
        ({"dtype": "float16"}, r"dtype is 'float16'. Expected: 'float32', 'bfloat16'"),
        ({"seed": -1}, r"seed is -1"),
        ({"seed": 2**32}, r"seed is 4294967296"),
        ({"name": "../escape"}, r"Experiment\.name is '\.\./escape'"),
        ({"optimizer": "sgd"}, r"optimizer is 'sgd'"),
        ({"track_test": True, "evaluate_test": False}, "track_test is True, but evaluate_test is False"),
    ],
)
def test_invalid_values_are_refused_with_the_name_of_the_field(change, message):
    with pytest.raises(UserError, match=message):
        changed(BASE, **change)


def test_fields_of_the_experiment_and_of_its_workload_are_replaced_together(tiny):
    other = tiny.replace(epochs=7, seed=3, name="other")
    assert other.workload == dataclasses.replace(tiny.workload, epochs=7)
    assert other == dataclasses.replace(tiny, workload=other.workload, seed=3, name="other")
    with pytest.raises(UserError, match="unknown field of the experiment 'epoch'; did you mean epochs"):
        tiny.replace(epoch=7)
    with pytest.raises(UserError, match=r"Workload\.epochs is 0. Expected: an integer >= 1"):
        tiny.replace(epochs=0)
