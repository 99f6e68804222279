"""Users' models: arguments are flags, batch normalisation and dropout work, and runs can be read without the code."""

from __future__ import annotations

import dataclasses
import importlib
import pathlib
import pickle
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench import Experiment, Workload, load_run, train, train_population
from jaxopt_bench.cli import main
from jaxopt_bench.errors import UserError
from jaxopt_bench.models import MODELS, Layers, load, wrap_model
from jaxopt_bench.models.custom import USERS
from jaxopt_bench.optimizers import SGD
from jaxopt_bench.problems import Classification
from jaxopt_bench.runs import Options
from tests.tasks import changed

SOURCE = '''
import jax
import jax.numpy as jnp
from flax import linen as nn

class Net(nn.Module):
    """A net of mine.

    Args:
      width: units of the hidden layer.
    """

    num_classes: int
    width: int = 8
    rate: float = 0.5
    hidden: tuple[int, ...] = (4,)

    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.Dense(self.width)(x.reshape(len(x), -1))
        x = nn.BatchNorm(use_running_average=not train, momentum=0.5)(x)
        x = nn.Dropout(self.rate, deterministic=not train)(nn.relu(x))
        for width in self.hidden:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.num_classes)(x)

class Plain(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(x.reshape(len(x), -1))

class Typed(nn.Module):
    num_outputs: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, deterministic):
        outputs = nn.Dense(self.num_outputs, dtype=self.dtype)(x.reshape(len(x), -1))
        return outputs if deterministic else outputs + jax.random.normal(self.make_rng("noise"), ())

def modal(num_outputs: int, train: bool, width: int = 3):
    flat = lambda x: x.reshape(len(x), -1)
    return nn.Sequential([flat, nn.Dense(width), nn.Dropout(0.5, deterministic=not train), nn.Dense(num_outputs)])

def wrong():
    return 3

def fails(num_classes: int):
    raise ValueError("no such net")

class Narrow(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(7)(x.reshape(len(x), -1))

class Cached(nn.Module):
    @nn.compact
    def __call__(self, x):
        self.variable("cache", "mean", lambda: x.mean())
        return nn.Dense(10)(x.reshape(len(x), -1))

class Empty(nn.Module):
    def __call__(self, x):
        return x.reshape(len(x), -1)[:, :10]

class Other:
    pass

def unflaggable(base: nn.Module):
    return base

def named(name: str = "x"):
    return Plain()

NUMBER = 3
'''


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "net.py"
    path.write_text(SOURCE)
    return path


def images(count: int = 5) -> jax.Array:
    return jax.random.normal(jax.random.key(1), (count, 8, 8, 1))


def test_an_imported_class_defines_the_same_models_as_its_file(file, monkeypatch):
    monkeypatch.syspath_prepend(file.parent)
    monkeypatch.delitem(sys.modules, "net", raising=False)
    own, ours = wrap_model(importlib.import_module("net").Net)(width=3), load(f"{file}:Net")(width=3)
    assert own.to_json() == ours.to_json()
    assert (type(own).reference, type(ours).reference) == ("net:Net", "net.py:Net")


def test_arguments_are_fields_and_the_docstring_is_their_help(file):
    cls = load(f"{file}:Net")
    assert {field.name: field.default for field in dataclasses.fields(cls)} == {"width": 8, "rate": 0.5, "hidden": (4,)}
    assert cls.__doc__ is not None
    assert "width: units of the hidden layer." in cls.__doc__
    params = cls(width=3, hidden=(2, 2)).module(10).init(jax.random.key(0), images(), train=False)["params"]
    assert [params[f"Dense_{i}"]["kernel"].shape for i in range(4)] == [(64, 3), (3, 2), (2, 2), (2, 10)]


def test_batch_normalisation_and_dropout_follow_the_training_mode(file):
    network = load(f"{file}:Net")().module(10)
    variables = network.init(jax.random.key(0), images(), train=False)
    hidden = images().reshape(5, -1) @ variables["params"]["Dense_0"]["kernel"]
    outputs, changed = network.apply(
        variables, images(), train=True, rngs={"dropout": jax.random.key(3)}, mutable=["batch_stats"]
    )
    mean = changed["batch_stats"]["BatchNorm_0"]["mean"]
    np.testing.assert_allclose(mean, 0.5 * hidden.mean(axis=0), rtol=1e-4, atol=1e-6)
    others, _ = network.apply(
        variables, images(), train=True, rngs={"dropout": jax.random.key(4)}, mutable=["batch_stats"]
    )
    assert not np.array_equal(outputs, others)
    evaluated = [network.apply(variables, images(), train=False) for _ in range(2)]
    np.testing.assert_array_equal(*evaluated)


def test_each_way_to_pass_the_training_mode_works(file):
    for name in ("Plain", "Typed", "modal"):
        network = load(f"{file}:{name}")().module(10)
        variables = network.init(jax.random.key(0), images(), train=False)
        trained, _ = network.apply(variables, images(), train=True, rngs={"dropout": jax.random.key(3)}, mutable=[])
        evaluated = network.apply(variables, images(), train=False)
        assert np.array_equal(trained, evaluated) == (name == "Plain")


def test_the_dtype_is_passed_to_a_module_that_accepts_it(file):
    network = load(f"{file}:Typed")().module(10, Layers("bfloat16"))
    variables = network.init(jax.random.key(0), images(), train=False)
    outputs = network.apply(variables, images(), train=False)
    assert outputs.dtype == jnp.float32
    assert np.array_equal(outputs, outputs.astype(jnp.bfloat16).astype(jnp.float32))
    with pytest.raises(UserError, match=r"dtype is 'bfloat16', but the model net.py:Net has no argument dtype"):
        load(f"{file}:Net")().module(10, Layers("bfloat16"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrong", r"net.py:wrong returned 3\. Expected a linen module class, or a function"),
        ("fails", r"net.py:fails fails for inputs of shape \[5, 8, 8, 1\], float32: net.py, line \d+: ValueError: no"),
        ("Narrow", r"returned an array of shape \[5, 7\] for 5 examples\. Expected \[5, 10\], or \[5, length, 10\]"),
        ("Cached", r"has the variable collections cache\. Expected only params and batch_stats"),
        ("Empty", r"has no parameters\. Expected at least one"),
        ("Other", r"Expected a linen module class"),
        ("NUMBER", r"is 3\. Expected a linen module class"),
        ("unflaggable", r"'base' without a default and without a type that a flag can have"),
        ("named", r"has the argument 'name'.* Expected another name"),
        ("Nett", r"did you mean Net\?"),
    ],
)
def test_an_object_that_is_not_a_network_is_refused_with_a_reason(name, message, file):
    with pytest.raises(UserError, match=message):
        load(f"{file}:{name}")().module(10).init(jax.random.key(0), images(), train=False)


@pytest.mark.parametrize("name", ["reference", "users", "defined", "code_file", "code"])
def test_an_argument_with_the_name_of_an_attribute_is_refused(name, file):
    """Otherwise an attribute of the class, such as `reference`, would become the value of the argument."""
    file.write_text(f"def net(num_outputs: int, {name}: str = 'x'): ...\n")
    with pytest.raises(UserError, match=f"has the argument '{name}', but this name is reserved. Expected another name"):
        load(f"{file}:net")


def experiment(file: pathlib.Path, name: str = "Net", **fields) -> Experiment:
    problem = Classification(dataset="digits", model=load(f"{file}:{name}")(**fields))
    return Experiment(
        name="mine", workload=Workload(problem=problem, epochs=1, batch_size=128), optimizer=SGD(learning_rate=0.1)
    )


def test_the_digest_depends_on_the_source_text_and_not_on_the_folder(file):
    before = experiment(file)
    file.write_text(SOURCE + "# changed\n")
    assert experiment(file).digest != before.digest
    file.write_text(SOURCE)
    moved = file.rename(file.parent.parent / file.name)
    assert experiment(moved).digest == before.digest
    assert experiment(moved, width=9).digest != before.digest
    assert pickle.loads(pickle.dumps(before)) == before


@pytest.mark.slow
def test_a_run_can_be_read_after_the_code_of_its_model_was_deleted(file, digits_dir, tmp_path, monkeypatch, capsys):
    written = experiment(file)
    path = train(written, Options(runs_dir=tmp_path / "runs", data_dir=digits_dir)).path
    file.unlink()
    monkeypatch.setattr(USERS, "loaded", {})
    read = load_run(path).experiment
    assert (read.to_json(), read.digest) == (written.to_json(), written.digest)
    assert MODELS.name_of(read.workload.problem.model) == "net.py:Net"
    assert pickle.loads(pickle.dumps(read)) == read
    for words in (["show", str(path)], ["results", str(path)]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0
        assert "net.py:Net" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"net.py:Net with the code .*, which is not loaded"):
        train(changed(read, epochs=2), Options(runs_dir=tmp_path / "runs", data_dir=digits_dir))


@pytest.mark.slow
def test_show_prints_the_parameters_of_a_users_model_without_its_code(file, call, tmp_path, monkeypatch):
    words = ["run", "digits_cnn_sgd", "--model", f"{file}:Net", "--epochs", "1", "--no-tensorboard", "--overview"]
    code, out, error = call(*words)
    assert (code, error) == (0, "")
    table = out[out.index("+--") : out.index("\n", out.index("Total:"))]
    assert "Dense_0/kernel" in table
    file.unlink()
    monkeypatch.setattr(USERS, "loaded", {})  # as in another process
    code, out, error = call("show", "digits_cnn_sgd", "--overview")
    assert (code, error) == (0, "")
    assert table in out
    shutil.rmtree(next(tmp_path.glob("runs/digits_cnn_sgd/*/checkpoints")))
    code, _, error = call("show", "digits_cnn_sgd", "--overview")
    assert code == 1
    assert "the code of net.py:Net is not run, so the table needs a checkpoint, but" in error


@pytest.mark.slow
def test_a_population_has_the_losses_of_single_runs(file, digits_dir, tmp_path):
    experiments = [dataclasses.replace(experiment(file), seed=seed) for seed in (0, 1)]
    together = train_population(experiments, Options(runs_dir=tmp_path / "together", data_dir=digits_dir))
    alone = train(experiments[1], Options(runs_dir=tmp_path / "alone", data_dir=digits_dir))
    losses = [run.summary["final"]["validation_loss"] for run in (together[1], alone)]
    np.testing.assert_allclose(*losses, rtol=1e-3)
