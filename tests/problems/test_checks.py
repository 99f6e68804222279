"""Mistakes in a user's problem are refused with a message that names them; the built-in problems pass the checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench import Metric, Problem
from jaxopt_bench.errors import UserError
from jaxopt_bench.problems import PROBLEMS
from jaxopt_bench.problems.checks import (
    check_examples,
    check_metrics,
    check_problem,
    check_shapes,
    check_untrained,
    with_untrained,
)

X = np.linspace(-1, 1, 60, dtype=np.float32).reshape(20, 3)
Y = X.sum(axis=1)


def init(key: Any) -> Any:
    return {"w": jnp.ones(3), "b": jnp.zeros(())}


def loss(params: Any, batch: Any, key: Any) -> Any:
    return (batch["x"] @ params["w"] + params["b"] - batch["y"]) ** 2


def problem(**changed: Any) -> Problem:
    return Problem(**{"train": {"x": X, "y": Y}, "init": init, "loss": loss, **changed})


def with_loss(change: Callable[[Any], Any], **more: Any) -> Problem:
    return problem(loss=lambda params, batch, key: change(loss(params, batch, key)), **more)


def mean_of(name: str) -> Metric:
    return Metric(name=name)


@pytest.mark.parametrize(
    "sound",
    [
        problem(),
        with_loss(jnp.mean),
        with_loss(lambda losses: (losses, {"mse": losses}), metrics=[mean_of("mse")]),
        with_loss(lambda losses: (losses.mean(), {"mse": losses.mean()}), metrics=[mean_of("mse")]),
        problem(train=(X, Y), loss=lambda p, batch, key: loss(p, {"x": batch[0], "y": batch[1]}, key)),
        problem(validation={"x": X[:2], "y": Y[:2]}, test=lambda: pytest.fail("the test split was opened")),
        problem(train={"x": X[:1], "y": Y[:1]}),
        problem(evaluate=lambda p, batch: {"loss": loss(p, batch, None), "r": batch["y"]}, metrics=[mean_of("r")]),
        problem(outputs=lambda p, batch: {"x": batch["x"] * 2}),
    ],
)
def test_valid_problems_pass(sound):
    check_problem(sound, "mine")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (problem(train={"x": X, "y": Y[:-1]}), r"different numbers of examples: \['x'\] \[20, 3\], \['y'\] \[19\]"),
        (problem(train={"x": X.T, "y": Y}), r"Perhaps the 20 examples are along another axis of one of them"),
        (problem(validation={"x": X}), r"Expected the same structure of arrays in every split"),
        (
            problem(validation={"x": X[:, :2], "y": Y}),
            r"validation\['x'\] is float32\[20, 2\], and train\['x'\] is float32\[20, 3\]",
        ),
        (problem(validation={"x": X[:0], "y": Y[:0]}), r"validation has no examples"),
        (problem(train={"x": list(range(3)), "y": Y}), r"train\['x'\]\[0\] is 0\. Expected an array"),
        (problem(train={"x": X.astype(str), "y": Y}), r"train\['x'\] is an array of <U"),
        (problem(train={}), r"train is \{\}\. Expected arrays"),
        (
            problem(init=lambda key: {"w": jnp.ones(3, int), "b": 0.0}),
            r"the parameter\['b'\] is 0\.0\. Expected an arr",
        ),
        (
            problem(init=lambda key: {"w": jnp.ones(3, int)}),
            r"the parameter\['w'\] is an array of int32\. Expected a",
        ),
        (
            problem(init=lambda key: {"w": jnp.tanh}),
            r"the parameter\['w'\] is .*\. Remove everything that is not an array",
        ),
        (problem(init=lambda key: {}), r"init returned dict \{\} without arrays"),
        (problem(init=lambda: init(0)), r"init fails: TypeError: <lambda>\(\) takes 0 positional arguments"),
        (problem(stateful=True), r"init returned dict .*Expected a pair \(params, variables\)"),
        (
            with_loss(lambda losses: losses[:, None]),
            r"loss returned an array of shape \[7, 1\] for a batch of 7",
        ),
        (with_loss(lambda losses: losses > 0), r"loss returned an array of bool of shape \[7\]"),
        (with_loss(lambda losses: (losses, losses, losses)), r"loss returned a tuple of 3\. Expected losses, or"),
        (with_loss(lambda losses: None), r"loss returned None\. Expected an array"),
        (
            with_loss(lambda losses: (losses, losses)),
            r"statistics is an array of float32 of shape \[7\]\. Expected a",
        ),
        (
            with_loss(lambda losses: (losses, {"mse": losses.mean()}), metrics=[mean_of("mse")]),
            r"statistics\['mse'\] is an array of shape \[\]\. Expected an array of shape \[7\]",
        ),
        (
            with_loss(lambda losses: (losses, {"mse": losses, "mae": losses}), metrics=[mean_of("mse")]),
            r"returned the statistic 'mae', which no metric needs \(metrics: mse\)",
        ),
        (
            with_loss(lambda losses: (losses, {}), metrics=[mean_of("mse")]),
            r"returned no statistic 'mse', which the metric 'mse' needs \(it returned: none\)",
        ),
        (problem(metrics=[mean_of("a"), mean_of("a")]), r"two metrics with the name 'a'"),
        (problem(metrics=["accuracy"]), r"metrics contains 'accuracy'\. Expected jaxopt_bench\.Metric"),
        (problem(facts={"a": 1j}), r"facts is .* cannot be written as JSON"),
        (
            problem(loss=lambda p, batch, key: loss(p, batch, key) * (1 if key.shape else 2)),
            r"loss fails with the key None \(as in evaluation\): test_checks.py, line \d+: AttributeError",
        ),
        (problem(loss=lambda p, batch, key: 1 / 0), r"loss fails: test_checks.py, line \d+: ZeroDivisionError"),
        (problem(evaluate=lambda p, batch: {"mse": batch["y"]}), r"evaluate returned mse\. Expected 'loss' among them"),
        (
            problem(outputs=lambda p, batch: {"w": p["w"]}),
            r"outputs\['w'\] is an array of shape \[3\]\. Expected .*\[7, ",
        ),
        (problem(prepare=lambda batch, draw: 1 / 0), r"prepare fails: test_checks.py, line \d+: ZeroDivisionError"),
        (
            with_loss(lambda losses: losses * jnp.nan),
            r"loss is nan for the initial parameters and the first 7 ",
        ),
        (problem(train={"x": X * np.nan, "y": Y}), r"\(train\['x'\] contains numbers that are not finite\)"),
        (
            problem(init=lambda key: {**init(key), "b": jnp.float32(jnp.inf)}),
            r"parameter\['b'\] is not finite",
        ),
        (
            problem(
                init=lambda key: {**init(key), "w": jnp.zeros(3)}, loss=lambda p, batch, key: jnp.linalg.norm(p["w"])
            ),
            r"its gradient for the parameter\['w'\] is not finite",
        ),
    ],
)
def test_mistakes_are_refused_with_a_message_that_names_them(wrong, message):
    with pytest.raises(UserError, match=f"^mine: .*{message}"):
        check_problem(wrong, "mine")


def test_the_value_of_an_untrained_model_is_measured_on_all_validation_examples():
    """A metric's own untrained value is kept. 1,500 examples are more than one batch of the measurement."""
    random = np.random.default_rng(0)
    x = random.normal(size=(1500, 3)).astype(np.float32)
    y = random.normal(size=1500).astype(np.float32)
    errors = (x.astype(np.float64).sum(axis=1) - y) ** 2
    rmse = Metric(name="rmse", of=lambda means: means["mse"] ** 0.5, needs=("mse",), resampling="ratio")
    given = with_loss(
        lambda losses: (losses, {"mse": losses}),
        metrics=[rmse, Metric(name="mse", untrained=5.0)],
        validation={"x": x, "y": y},
    )
    found = {metric.name: metric.untrained for metric in with_untrained(given).all_metrics}
    assert found.keys() == {"rmse", "mse", "loss"}
    assert found["mse"] == 5.0
    np.testing.assert_allclose(found["rmse"], np.sqrt(errors.mean()), rtol=1e-5)
    np.testing.assert_allclose(found["loss"], errors.mean(), rtol=1e-5)
    bad = Metric(name="bad", of=lambda means: means["loss"] * np.nan, needs=("loss",))
    with pytest.raises(
        UserError, match=r"the metric bad is not finite for the initial parameters on the train examples"
    ):
        check_untrained(with_untrained(problem(metrics=[bad])), "mine")


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_each_built_in_problem_passes_the_checks(name, digits_dir):
    """The functions of the problem are only traced, not computed."""
    loaded = PROBLEMS[name].load(digits_dir)
    check_metrics(loaded, name)
    check_examples(loaded, name)
    check_shapes(loaded, name)
