"""Users' problems in plain JAX and NNX: arguments as flags, training, resuming, and reading runs without the code."""

from __future__ import annotations

import importlib
import pathlib
import pickle
import sys

import jax
import numpy as np
import pytest

from jaxopt_bench import Experiment, Workload, load_run, train, train_population
from jaxopt_bench.cli import parse
from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import flat_fields
from jaxopt_bench.optimizers import SGD
from jaxopt_bench.problems import PROBLEMS, custom, load, wrap_problem
from jaxopt_bench.problems.custom import USERS
from jaxopt_bench.runs import Options
from tests.tasks import changed

SOURCE = '''
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxopt_bench import Metric, Problem

def data(examples):
    random = np.random.default_rng(0)
    x = random.normal(size=(examples + 64, 3)).astype(np.float32)
    y = x @ np.array([1.0, -2.0, 0.5], np.float32) + 1
    cut = lambda first, last: {"x": x[first:last], "y": y[first:last]}
    return cut(0, examples), cut(examples, examples + 32), cut(examples + 32, None)

def line(scale: float, examples: int = 128, refine: bool = False):
    """A line through points.

    Args:
      scale: of the initial weights.
    """
    train, validation, test = data(examples)

    def init(key):
        return {"w": scale * jax.random.normal(key, (3,)), "b": jnp.zeros(())}

    def loss(params, batch, key):
        errors = batch["x"] @ params["w"] + params["b"] - batch["y"]
        return errors**2, {"absolute": jnp.abs(errors)}

    metrics = [Metric(name="absolute", words="absolute error", least=0.0)]
    return Problem(train=train, validation=validation, test=test, init=init, loss=loss, metrics=metrics)

def with_nnx(width: int = 4, rate: float = 0.5):
    """The same with a network of NNX, whose batch normalisation has variables and whose dropout draws."""
    train, validation, _ = data(128)

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first, self.norm = nnx.Linear(3, width, rngs=rngs), nnx.BatchNorm(width, momentum=0.5, rngs=rngs)
            self.dropout, self.last = nnx.Dropout(rate), nnx.Linear(width, 1, rngs=rngs)

        def __call__(self, x, rngs=None):
            return self.last(self.dropout(nnx.relu(self.norm(self.first(x))), rngs=rngs))[:, 0]

    definition = nnx.graphdef(Net(nnx.Rngs(0)))

    def init(key):
        params, stats, _ = nnx.state(Net(nnx.Rngs(key)), nnx.Param, nnx.BatchStat, ...)
        return params.to_pure_dict(), stats.to_pure_dict()

    def loss(params, batch, key, variables):
        net = Net(nnx.Rngs(0))
        nnx.update(net, nnx.State(params))
        nnx.update(net, nnx.State(variables))
        net.train() if key is not None else net.eval()
        predictions = net(batch["x"], None if key is None else nnx.Rngs(dropout=key))
        stats = nnx.state(net, nnx.BatchStat).to_pure_dict()
        return (predictions - batch["y"]) ** 2, {}, stats

    return Problem(train=train, validation=validation, init=init, loss=loss, stateful=True, running_averages=True)
'''


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def experiment(problem, **fields) -> Experiment:
    workload = Workload(problem=problem, epochs=2, batch_size=32)
    return changed(Experiment(name="mine", workload=workload, optimizer=SGD(learning_rate=0.1)), **fields)


def test_arguments_are_flags_and_columns(file):
    words = ["run", "digits_cnn_adamw", "--problem", f"{file}:line", "--problem.scale", "0.5"]
    made = parse([*words, "--problem.examples=64", "--problem.refine", "--optimizer", "sgd"]).args[0].experiment
    problem = made.workload.problem
    assert (problem.scale, problem.examples, problem.refine) == (0.5, 64, True)
    assert made.name == "line"
    written = flat_fields(made.to_json())
    assert (written["problem.name"], written["problem.scale"]) == ("mine.py:line", 0.5)
    assert type(problem).__doc__.startswith("A line through points.")
    with pytest.raises(UserError, match=r"mine.py:line has the argument 'scale' without a default\. Expected --prob"):
        parse(words[:4])


def test_an_imported_function_defines_the_same_problems_as_its_file(file, monkeypatch):
    monkeypatch.syspath_prepend(file.parent)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    own, ours = wrap_problem(importlib.import_module("mine").line)(scale=0.5), load(f"{file}:line")(scale=0.5)
    assert own.to_json() == ours.to_json()
    assert (type(own).reference, type(ours).reference) == ("mine:line", "mine.py:line")


def test_a_run_minimises_the_loss_and_measures_the_metrics(file, tmp_path):
    """The errors are computed again in NumPy, from the final parameters and from the initial parameters of seed 0."""
    problem = load(f"{file}:line")(scale=0.5)
    run = train(experiment(problem, epochs=20), Options(runs_dir=tmp_path / "runs"))
    examples = problem.load().validation

    def error(params) -> float:
        w, b = np.asarray(params["w"], np.float64), np.asarray(params["b"], np.float64)
        return float(np.abs(examples["x"] @ w + b - examples["y"]).mean())

    assert run.summary["final"]["validation_absolute"] < 0.01
    np.testing.assert_allclose(
        run.summary["final"]["validation_absolute"], error(run.parameters()), rtol=1e-3, atol=1e-6
    )
    headline = run.problem_metrics[0]
    assert (headline.name, headline.words, run.problem_metrics[-1].name) == ("absolute", "absolute error", "loss")
    initial = problem.load().init(jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 0), 0))
    np.testing.assert_allclose(headline.untrained, error(initial), rtol=1e-5)


def test_a_network_of_nnx_trains_with_batch_normalisation_and_dropout(file, tmp_path):
    problem = load(f"{file}:with_nnx")()
    run = train(experiment(problem, epochs=5, optimizer=SGD(learning_rate=0.05)), Options(runs_dir=tmp_path / "runs"))
    assert run.summary["final"]["validation_loss"] < 0.7 * run.problem_metrics[0].untrained
    state = run.state()
    mean = state.variables["norm"]["mean"]
    assert mean.shape == (4,)
    assert np.abs(mean).max() > 0


def test_settings_of_a_population_share_one_problem(file, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(custom, "digest_of_examples", lambda problem: calls.append(problem) or "0" * 12)
    problem = load(f"{file}:line")(scale=0.25)
    experiments = [experiment(problem, optimizer=SGD(learning_rate=rate)) for rate in (0.01, 0.1)]
    runs = train_population(experiments, Options(runs_dir=tmp_path / "together"))
    alone = train(experiments[1], Options(runs_dir=tmp_path / "alone"))
    assert len(calls) == 1
    final = [run.summary["final"]["validation_absolute"] for run in (*runs, alone)]
    np.testing.assert_allclose(final[1], final[2], rtol=1e-4)
    assert final[0] > final[1]


def test_a_run_resumes_with_the_same_data_and_refuses_other_data(file, tmp_path, monkeypatch):
    """Only the contents of the arrays matter. The file of the problem may have moved."""
    data = tmp_path / "numbers.npy"
    np.save(data, np.arange(64, dtype=np.float32))
    source = f"""
import numpy as np
from jaxopt_bench import Problem

def stored():
    x = np.load({str(data)!r})
    return Problem(train=x, init=lambda key: np.ones(1, np.float32), loss=lambda p, x, key: (p[0] - x / 64) ** 2)
"""
    file.write_text(source)
    first = train(experiment(load(f"{file}:stored")()), Options(runs_dir=tmp_path / "runs"))
    file = file.rename(tmp_path.parent / "mine.py")
    monkeypatch.setattr(USERS, "loaded", {})
    custom._load.cache_clear()
    again = train(experiment(load(f"{file}:stored")()), Options(runs_dir=tmp_path / "runs"))
    assert again.path == first.path
    (first.path / "summary.json").unlink()  # as in an interrupted run
    np.save(data, np.arange(64, dtype=np.float32) + 1)
    custom._load.cache_clear()
    with pytest.raises(
        UserError, match=r"belongs to a run on other data: task\.digest was [0-9a-f]{12} and is.*another folder \(--out"
    ):
        train(experiment(load(f"{file}:stored")()), Options(runs_dir=tmp_path / "runs"))


def test_a_run_can_be_read_without_the_code_of_its_problem(file, tmp_path, monkeypatch):
    written = experiment(load(f"{file}:line")(scale=0.5), epochs=1)
    assert pickle.loads(pickle.dumps(written)) == written
    path = train(written, Options(runs_dir=tmp_path / "runs")).path
    file.unlink()
    monkeypatch.setattr(USERS, "loaded", {})
    run = load_run(path)
    assert (run.experiment.to_json(), run.experiment.digest) == (written.to_json(), written.digest)
    assert PROBLEMS.name_of(run.experiment.workload.problem) == "mine.py:line"
    assert run.experiment.workload.problem.scale == 0.5
    assert run.parameters()["w"].shape == (3,)
    with pytest.raises(UserError, match=r"the problem mine.py:line with the code .*, which is not loaded"):
        train(changed(run.experiment, epochs=2), Options(runs_dir=tmp_path / "runs"))


@pytest.mark.parametrize("name", ["reference", "users", "defined", "code_file", "code", "name"])
def test_an_argument_with_the_name_of_an_attribute_is_refused(name, file):
    """Otherwise an attribute of the class, such as `reference`, would become the value of the argument."""
    file.write_text(f"def line({name}: str = 'x'): ...\n")
    with pytest.raises(UserError, match=f"has the argument '{name}', but this name is reserved. Expected another name"):
        load(f"{file}:line")


def test_an_object_that_is_not_a_problem_is_refused_with_a_reason(file):
    file.write_text(
        "from jaxopt_bench import Problem\nNUMBER = 3\n"
        "def three():\n    return 3\n"
        "def fails(x: float = 1.0):\n    raise ValueError('no data here')\n"
        "def titled(title: str = 'x'): ...\n"
        "def odd(data): ...\n"
    )
    for name, message in [
        ("NUMBER", r"mine.py:NUMBER is 3\. Expected a function that returns a jaxopt_bench\.Problem"),
        ("three", r"mine.py:three returned 3\. Expected a function"),
        ("fails", r"mine.py:fails fails: mine.py, line 6: ValueError: no data here"),
        ("titled", r"has the argument 'title', but this name is reserved"),
        ("odd", r"'data' without a default and without a type that a flag can have"),
        ("threee", r"did you mean three\?"),
    ]:
        with pytest.raises(UserError, match=message):
            load(f"{file}:{name}")().load()
