"""Users' optimizers in runs and populations are trained, resumed and swept like those of the catalog."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import pytest

from jaxopt_bench import train, train_population
from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import OPTIMIZERS, Constant, load, wrap_optimizer
from jaxopt_bench.runs import Options
from tests.runs.test_population import PATH, QUIET, Killed, KilledAt
from tests.runs.test_train import MessageRecorder, assert_same, without_timings
from tests.tasks import changed


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
def test_runs_resume_and_members_of_populations_equal_single_runs(tiny, tmp_path, options):
    experiments = [
        dataclasses.replace(tiny, optimizer=wrap_optimizer(mine)(learning_rate=rate)) for rate in (2e-3, 2e-2)
    ]
    together = train_population(experiments, Options(runs_dir=tmp_path / "together", **options))
    for run, experiment in zip(together, experiments, strict=True):
        with pytest.raises(Killed):
            train(experiment, Options(runs_dir=tmp_path / "alone", reporter=KilledAt(25), **options))
        alone = train(experiment, Options(runs_dir=tmp_path / "alone", **options))
        assert_same(run, alone)
    rates = [run.metrics[0]["learning_rate"] for run in together]
    assert rates[1] == pytest.approx(10 * rates[0])


@pytest.mark.parametrize("factory", [mine, picky])
def test_the_users_function_is_trained(factory, tiny, tmp_path, options):
    """Its state has accumulated gradients, and its hyperparameters are arrays unless it branches on them."""
    experiment = dataclasses.replace(tiny, optimizer=wrap_optimizer(factory)(learning_rate=0.02), schedule=Constant())
    run = train(experiment, Options(runs_dir=tmp_path, **options))
    state = run.state()
    inner = optax.tree.get(state.opt_state, "trace" if factory is picky else "mu")
    assert any(np.any(leaf) for leaf in jax.tree.leaves(inner))
    assert run.metrics[0]["learning_rate"] == pytest.approx(0.02)
    assert ("learning_rate" in state.hyperparameters) == (factory is mine)


def local(learning_rate: float = 0.02) -> optax.GradientTransformation:
    """The class of its state is local, and the state has a random key of another implementation."""

    class State(NamedTuple):
        momentum: Any
        key: Any

    def init(params: Any) -> Any:
        return State(jax.tree.map(jax.numpy.zeros_like, params), jax.random.key(0, impl="rbg"))

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        key, own = jax.random.split(state.key)
        noisy = jax.tree.map(lambda g: g * (1 + 0.1 * jax.random.normal(own, ())), grads)
        momentum = jax.tree.map(lambda m, g: 0.9 * m + g, state.momentum, noisy)
        return jax.tree.map(lambda m: -learning_rate * m, momentum), State(momentum, key)

    return optax.GradientTransformation(init, update)


@pytest.mark.slow
def test_a_local_state_class_with_another_key_type_resumes_and_sweeps_exactly(tiny, tmp_path, options):
    experiments = [
        dataclasses.replace(tiny, optimizer=wrap_optimizer(local)(learning_rate=rate)) for rate in (0.02, 0.05)
    ]
    together = train_population(experiments, Options(runs_dir=tmp_path / "together", **options))
    with pytest.raises(Killed):
        train(experiments[1], Options(runs_dir=tmp_path / "alone", reporter=KilledAt(25), **options))
    assert_same(together[1], train(experiments[1], Options(runs_dir=tmp_path / "alone", **options)))


LATE = """
import jax, optax

def mine(learning_rate=0.01):
    return optax.sgd(learning_rate)

evaluated_fails = evaluated_sums = evaluated_nothing = mine
EVALUATED = {
    "evaluated_fails": lambda state, params: state.average,
    "evaluated_sums": lambda state, params: jax.tree.map(lambda leaf: leaf.sum(), params),
    "evaluated_nothing": lambda state, params: None,
}

def of_other_layers(learning_rate=0.01):
    def labels(params):
        return {name: "all" if name[:4] in ("Dens", "Conv", "scal") else "rest" for name in params}
    return optax.partition({"all": optax.sgd(learning_rate)}, labels)
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("evaluated_fails", "evaluated_fails: EVALUATED: it fails for the network's parameters, .* 'average'"),
        ("evaluated_sums", r"the parameters that EVALUATED returns have the shape \(\) at"),
        ("evaluated_nothing", "the parameters that EVALUATED returns have another structure"),
        ("of_other_layers", "of_other_layers: it fails for the network's parameters, .*no corresponding transf"),
    ],
)
def test_optimizers_that_fail_only_for_the_network_are_refused_before_any_write(name, message, tiny, tmp_path, options):
    (tmp_path / "late.py").write_text(LATE)
    optimizer = load(f"{tmp_path / 'late.py'}:{name}")()
    with pytest.raises(UserError, match=message):
        train(dataclasses.replace(tiny, optimizer=optimizer), Options(runs_dir=tmp_path / "runs", **options))
    assert not (tmp_path / "runs").exists()


def test_the_form_of_a_function_is_printed_once_and_recorded(tiny, tmp_path, options, monkeypatch):
    monkeypatch.setattr("jaxopt_bench.runs.forms._said", set())
    said = MessageRecorder()
    for seed in (0, 1):
        experiment = changed(tiny, optimizer=wrap_optimizer(picky)(), epochs=1, seed=seed)
        run = train(experiment, Options(runs_dir=tmp_path, reporter=said, **options))
    words = "picky: each setting is a program of its own"
    assert sum(words in message for message in said.messages) == 1
    assert run.config["optimizer_form"]["plain"] == ["learning_rate"]
    assert words in run.config["optimizer_form"]["words"]


def needy(learning_rate: float = 0.02) -> optax.GradientTransformation:
    return optax.lbfgs(learning_rate)


@pytest.mark.parametrize("together", [False, True])
def test_a_function_that_cannot_be_used_is_refused_before_anything_is_written(together, tiny, tmp_path, options):
    experiments = [dataclasses.replace(tiny, optimizer=wrap_optimizer(needy)(), seed=seed) for seed in (0, 1)]
    begin: Any = (train_population, experiments) if together else (train, experiments[0])
    with pytest.raises(UserError, match="test_own_optimizer:needy: its update needs 'grad' and 'value_fn'"):
        begin[0](begin[1], Options(runs_dir=tmp_path / "runs", **options))
    assert not list(tmp_path.glob("**/*"))


def free(learning_rate: float = 0.5) -> optax.GradientTransformation:
    return optax.chain(optax.clip(10.0), optax.contrib.schedule_free_sgd(learning_rate))


def halved(learning_rate: float = 0.02) -> optax.GradientTransformation:
    return optax.sgd(learning_rate)


EVALUATED = {"halved": lambda state, params: jax.tree.map(lambda p: p / 2, params)}


@pytest.mark.slow
def test_evaluated_parameters_are_those_of_the_function_or_its_file(tiny, tmp_path, options):
    """These are Schedule-Free's average, at any place in the state, or the parameters that EVALUATED returns."""
    constant = changed(tiny, schedule=Constant(), epochs=1)
    table = dataclasses.replace(OPTIMIZERS["schedule_free_sgd"], learning_rate=0.5, clip_norm=None)
    theirs = train(
        dataclasses.replace(constant, optimizer=wrap_optimizer(free)()), Options(runs_dir=tmp_path, **options)
    )
    ours = train(dataclasses.replace(constant, optimizer=table), Options(runs_dir=tmp_path, **options))
    pairs = zip(theirs.metrics, ours.metrics, strict=True)
    for one, other in ((a, b) for a, b in pairs if a["split"] == "validation"):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)
    optimizer = wrap_optimizer(halved)()
    assert optimizer.averages
    assert optimizer.evaluation_parameters(_state(optimizer), {"w": np.ones(3)})["w"].tolist() == [0.5] * 3


def test_a_second_average_with_schedule_free_is_refused_before_any_write(tiny, tmp_path, options):
    optimizer = wrap_optimizer(free)(ema_decay=0.9)
    with pytest.raises(UserError, match=r":free is a Schedule-Free optimizer, .* but ema_decay is 0\.9"):
        train(dataclasses.replace(tiny, optimizer=optimizer), Options(runs_dir=tmp_path / "runs", **options))
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").iterdir())


def test_the_cautious_mask_with_schedule_free_is_refused_before_any_write(tiny, tmp_path, options):
    optimizer = wrap_optimizer(free)(cautious=True)
    with pytest.raises(UserError, match=r":free is a Schedule-Free optimizer, but cautious is True\. Expected False"):
        train(dataclasses.replace(tiny, optimizer=optimizer), Options(runs_dir=tmp_path / "runs", **options))
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").iterdir())


def _state(optimizer: Any) -> Any:
    return optimizer.transform(optimizer.hyperparameters()).init({"w": jax.numpy.ones(3)})


@pytest.mark.slow
def test_a_function_that_branches_needs_a_program_per_setting_and_prints_it(tiny, tmp_path, options):
    experiments = [
        dataclasses.replace(tiny, optimizer=wrap_optimizer(picky)(learning_rate=rate), seed=seed)
        for rate in (2e-3, 2e-2)
        for seed in (0, 1)
    ]
    said = MessageRecorder()
    runs = train_population(experiments, Options(runs_dir=tmp_path / "together", reporter=said, **options))
    assert "the 4 runs need 2 different programs, so they are trained in 2 groups, one after the other" in said.messages
    assert [run.experiment for run in runs] == experiments
    alone = train(experiments[2], Options(runs_dir=tmp_path / "alone", **options))
    assert without_timings(runs[2]) == without_timings(alone)
