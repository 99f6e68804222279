"""Updates compared with PyTorch's in float64: they are equal, or differ in a way that a test states.

The tests need PyTorch (the extra `peers`).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench.optimizers import OPTIMIZERS, SGD, Adam, AdamW, AMSGrad, Nadam, Optimizer, Padam, StepContext
from tests.optimizers import references

torch: Any = pytest.importorskip("torch")

STEPS, SIZE = 100, 40
ADAPTIVE = {"learning_rate": 0.01, "b1": 0.8, "b2": 0.98, "eps": 1e-6}
BETAS = {"lr": 0.01, "betas": (0.8, 0.98), "eps": 1e-6}
EXACT_EPS = {**ADAPTIVE, "eps": 0.0}, {**BETAS, "eps": 0.0}


def table(name: str, **settings: Any) -> Optimizer:
    return dataclasses.replace(OPTIMIZERS[name], **settings)


SAME = {
    "sgd": (SGD(learning_rate=0.01, weight_decay=0.1), "SGD", {"lr": 0.01, "weight_decay": 0.1}),
    "momentum": (SGD(learning_rate=0.01, momentum=0.8), "SGD", {"lr": 0.01, "momentum": 0.8}),
    "nesterov": (
        SGD(learning_rate=0.01, momentum=0.8, nesterov=True, weight_decay=0.1),
        "SGD",
        {"lr": 0.01, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ),
    "adam": (Adam(**ADAPTIVE), "Adam", BETAS),
    "adam with L2": (Adam(weight_decay=0.1, **ADAPTIVE), "Adam", {**BETAS, "weight_decay": 0.1}),
    "adamw": (AdamW(weight_decay=0.1, **ADAPTIVE), "AdamW", {**BETAS, "weight_decay": 0.1}),
    # at p = 1/2, the code of Padam's authors equals PyTorch's AMSGrad
    "padam at one half": (
        Padam(partial=0.5, bias_correction=True, **EXACT_EPS[0]),
        "Adam",
        {**EXACT_EPS[1], "amsgrad": True},
    ),
    # optax adds eps inside the root, so both are equal only without eps
    "adagrad": (
        table("adagrad", learning_rate=0.01, eps=0.0, initial_accumulator_value=0.1),
        "Adagrad",
        {"lr": 0.01, "eps": 0.0, "initial_accumulator_value": 0.1},
    ),
    "rmsprop": (
        table("rmsprop", learning_rate=0.01, decay=0.9, eps=1e-6, eps_in_sqrt=False, momentum=0.5),
        "RMSprop",
        {"lr": 0.01, "alpha": 0.9, "eps": 1e-6, "momentum": 0.5},
    ),
    "rmsprop, centred": (
        table("rmsprop", learning_rate=0.01, decay=0.9, eps=1e-3, eps_in_sqrt=False, centered=True),
        "RMSprop",
        {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "centered": True},
    ),
    # PyTorch adds eps to the uncorrected root
    "radam": (table("radam", **EXACT_EPS[0]), "RAdam", EXACT_EPS[1]),
    "adamax": (table("adamax", **ADAPTIVE), "Adamax", BETAS),
    "rprop": (table("rprop", learning_rate=0.01), "Rprop", {"lr": 0.01}),
    "adadelta": (
        table("adadelta", learning_rate=0.5, rho=0.8, eps=1e-5),
        "Adadelta",
        {"lr": 0.5, "rho": 0.8, "eps": 1e-5},
    ),
}


@functools.cache
def gradients() -> np.ndarray:
    """Returns the gradients of all steps. Their magnitudes are from 1e-4 to 1e3, and none is zero."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(STEPS, SIZE)) * 10.0 ** rng.uniform(-4, 3, SIZE)


START = np.linspace(-1, 1, SIZE)


def ours(optimizer: Optimizer) -> np.ndarray:
    """Returns our updates of all steps."""
    with jax.enable_x64(True):
        transform = optimizer.transform(optimizer.hyperparameters(jnp.float64), StepContext())

        def step(carry: Any, grad: Any) -> Any:
            params, state = carry
            updates, state = transform.update(grad, state, params)
            return (params + updates, state), updates

        start = jnp.asarray(START)
        return np.asarray(jax.lax.scan(step, (start, transform.init(start)), jnp.asarray(gradients()))[1])


def theirs(name: str, **settings: Any) -> np.ndarray:
    """Returns the updates of PyTorch's optimizer."""
    parameter = torch.nn.Parameter(torch.tensor(START))
    optimizer = getattr(torch.optim, name)([parameter], **settings)
    path = [parameter.detach().clone().numpy()]
    for grad in gradients():
        parameter.grad = torch.tensor(grad)
        optimizer.step()
        path.append(parameter.detach().clone().numpy())
    return np.diff(path, axis=0)


def largest_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Returns the largest difference, as a share of the largest update of the same element."""
    return float((np.abs(found - expected).max(0) / np.abs(expected).max(0)).max())


@pytest.mark.parametrize("name", SAME)
def test_updates_match_pytorch(name):
    optimizer, theirs_name, settings = SAME[name]
    assert largest_error(ours(optimizer), theirs(theirs_name, **settings)) <= 1e-9  # of differences of parameters


def test_pytorchs_nadam_equals_ours_with_a_constant_momentum():
    """The tolerance is larger, because PyTorch keeps the product of the momenta in float32."""
    assert largest_error(ours(Nadam(**ADAPTIVE)), theirs("NAdam", **BETAS, momentum_decay=1e9)) <= 1e-6


def test_pytorchs_amsgrad_corrects_the_bias_after_the_maximum_and_ours_before():
    b1, b2, eps = (ADAPTIVE[name] for name in ("b1", "b2", "eps"))
    raw = references.Moments(b1, b2)
    v_max: Any = 0.0

    def direction(g: np.ndarray, t: int) -> np.ndarray:
        nonlocal v_max
        raw.update(g)
        v_max = np.maximum(v_max, raw.v)
        return raw.m / (1 - b1**t) / (np.sqrt(v_max / (1 - b2**t)) + eps)

    expected = updates(direction)
    found = theirs("Adam", **BETAS, amsgrad=True)
    assert largest_error(found, expected) <= 1e-9
    mine = ours(AMSGrad(**ADAPTIVE))
    assert largest_error(mine, updates(references.amsgrad(b1, b2, eps, bias_correction=True))) <= 1e-9
    assert largest_error(mine, found) > 0.1


def test_pytorchs_nadam_has_dozats_momentum_schedule_and_ours_does_not():
    b1, b2, eps = (ADAPTIVE[name] for name in ("b1", "b2", "eps"))
    moments, product = references.Moments(b1, b2), 1.0

    def momentum(t: int) -> float:
        return b1 * (1 - 0.5 * 0.96 ** (t * 4e-3))

    def direction(g: np.ndarray, t: int) -> np.ndarray:
        nonlocal product
        moments.update(g)
        product *= momentum(t)
        following = momentum(t + 1)
        look_ahead = (1 - momentum(t)) * g / (1 - product) + following * moments.m / (1 - product * following)
        return look_ahead / (np.sqrt(moments.v / (1 - b2**t)) + eps)

    found = theirs("NAdam", **BETAS)
    assert largest_error(found, updates(direction)) <= 1e-6  # PyTorch keeps the product in float32
    assert largest_error(ours(Nadam(**ADAPTIVE)), found) > 0.1


def updates(direction: references.Direction) -> np.ndarray:
    """Returns the updates of a direction, without weight decay."""
    rates, parameters = [ADAPTIVE["learning_rate"]] * STEPS, [START] * STEPS
    return np.stack(list(references.updates(direction, parameters, gradients(), rates)))
