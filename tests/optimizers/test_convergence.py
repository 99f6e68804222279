"""Each optimizer finds the minima of small classic problems in float32, with the settings of the table below."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_bench.optimizers import OPTIMIZERS, SCHEDULES, Optimizer, StepContext
from tests.optimizers import problems
from tests.optimizers.few import slow_but_a_few

STEPS = 2000
OWN = None  # the optimizer's default
LEARNING_RATES: dict[str, tuple[float | None, float | None, float | None]] = {
    # For the quadratic, Rosenbrock and logistic problems, selected from 1, 2 and 5 times the powers of ten. Optimizers
    # that are not listed use their defaults.
    "acprop": (OWN, 0.05, 0.01),
    "adabelief": (OWN, 1, 0.01),
    "adadelta": (0.1, 0.2, OWN),
    "adafactor": (OWN, 0.1, 0.2),
    "adagrad": (0.1, 1, 1),
    "adam": (0.01, 1, 0.05),
    "adamax": (0.02, 1, 0.05),
    "adamaxw": (0.02, 1, 0.1),
    "adamw": (0.01, 0.1, 1),
    "adan": (0.05, 0.1, 0.02),
    "ademamix": (2, 1, 0.5),
    "adopt": (0.05, 5, 0.1),
    "amsgrad": (0.05, 1, 0.1),
    "dog": (OWN, 2, OWN),
    "dowg": (OWN, 0.5, OWN),
    "fromage": (OWN, 0.2, 0.02),
    "galore": (0.2, 0.2, 0.2),
    "lamb": (OWN, 0.2, OWN),
    "lars": (OWN, 10, OWN),
    "lion": (0.002, 0.05, 0.002),
    "mechanic_adam": (OWN, 10, OWN),
    "momentum": (0.005, 0.01, OWN),
    "nadam": (0.01, 0.1, 0.05),
    "nadamw": (0.01, 0.1, 0.2),
    "nesterov": (0.005, 0.01, OWN),
    "noisy_sgd": (0.01, 0.02, 0.5),
    "optimistic_adam": (0.01, 0.05, 0.05),
    "optimistic_gradient_descent": (0.005, 0.005, 0.5),
    "radam": (0.02, 0.02, 0.1),
    "rmsprop": (OWN, 0.01, 10),
    "schedule_free_adamw": (0.2, 0.1, 0.05),
    "schedule_free_sgd": (0.1, 0.02, OWN),
    "sgd": (0.02, 0.02, 10),
    "sign_sgd": (OWN, 1, 0.002),
    "signum": (OWN, 0.005, 0.002),
    "sm3": (OWN, 5, OWN),
    "soap": (0.01, 0.05, OWN),
    "yogi": (OWN, 1, OWN),
}
OTHERS: dict[str, dict[str, Any]] = {
    "galore": {"update_proj_gap": 20},  # it updates two of five directions at a time
}
LEFT = (1e-3, 3e-2, 1e-3)  # allowed final distance to the minimum, as a share of the initial one


def train(optimizer: Optimizer) -> Any:
    """Returns a compiled function from learning rates, problems and starts to final losses.

    The learning rate follows the schedule that the optimizer is intended for.
    """
    schedule = SCHEDULES[optimizer.schedule.name]

    def context(step: Any) -> StepContext:
        progress = step / STEPS
        return StepContext(
            schedule.multiplier(schedule.hyperparameters(), progress, 1, 0.0), progress, False, jax.random.key(0)
        )

    def run(learning_rate: Any, problem: Any, start: Any) -> Any:
        hyperparameters = {**optimizer.hyperparameters(), "learning_rate": learning_rate}

        def step(carry: Any, count: Any) -> Any:
            params, state = carry
            loss = lambda p: problems.loss(problem, p["kernel"])  # noqa: E731
            value, grads = jax.value_and_grad(loss)(params)
            transform = optimizer.transform(hyperparameters, context(count))
            searched = {"grad": grads, "value_fn": loss} if optimizer.line_search else {}
            updates, state = transform.update(grads, state, params, value=value, **searched)
            return (optax.apply_updates(params, updates), state), None

        params = {"kernel": start}
        state = optimizer.transform(hyperparameters, context(jnp.float32(0))).init(params)
        (params, state), _ = jax.lax.scan(step, (params, state), jnp.arange(STEPS, dtype=jnp.float32))
        return problems.loss(problem, optimizer.evaluation_parameters(state, params)["kernel"])

    return jax.jit(jax.vmap(run))


@functools.cache
def minima() -> np.ndarray:
    return np.array([0.0, 0.0, problems.logistic_minimum()])


@pytest.mark.parametrize("name", slow_but_a_few(sorted(OPTIMIZERS)))
def test_every_optimizer_finds_the_minima(name):
    optimizer = dataclasses.replace(OPTIMIZERS[name], **OTHERS.get(name, {}))
    rates = [optimizer.learning_rate if rate is OWN else rate for rate in LEARNING_RATES.get(name, (OWN, OWN, OWN))]
    indices = jnp.arange(len(problems.PROBLEMS))
    starts = np.array([problems.loss(i, problems.STARTS[i]) for i in indices])
    losses = np.asarray(train(optimizer)(jnp.asarray(rates, jnp.float32), indices, problems.STARTS))
    left = (losses - minima()) / (starts - minima())
    assert (left <= LEFT).all(), left
    assert (left >= -1e-6).all(), left  # no loss is below the minimum, except for rounding


def test_the_minima_are_minima():
    known = ((problems.quadratic, np.zeros(problems.SHAPE)), (problems.rosenbrock, np.ones(problems.SHAPE)))
    for problem, point in known:
        assert problem(point) == 0
        assert np.abs(jax.grad(problem)(jnp.asarray(point, jnp.float32))).max() == 0
