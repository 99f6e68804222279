"""The code that a comparison prints creates the trained optimizer with optax alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_bench import Experiment, Workload
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, AdamW, Constant, Cosine, Linear, Optimizer, Schedule
from jaxopt_bench.optimizers.optax_code import optax_code
from jaxopt_bench.problems import Classification
from jaxopt_bench.training.state import make_step_context

EPOCHS, STEPS = 3, 4


def parameters() -> Any:
    keys = jax.random.split(jax.random.key(0), 4)
    return {
        "embed": {"embedding": jax.random.normal(keys[2], (6, 4))},
        "positions": jax.random.normal(keys[3], (5, 4)),
        "conv": {"kernel": jax.random.normal(keys[0], (3, 3, 2, 4)), "bias": jnp.ones(4)},
        "head": {"kernel": jax.random.normal(keys[1], (4, 3))},
    }


def gradient(params: Any, step: int) -> Any:
    return jax.tree.map(lambda leaf: jnp.sin(leaf + step), params)


def ours(optimizer: Optimizer, schedule: Schedule) -> Any:
    experiment = Experiment(
        workload=Workload(problem=Classification(), epochs=EPOCHS), optimizer=optimizer, schedule=schedule
    )
    params, state = parameters(), None
    for step in range(EPOCHS * STEPS):
        now = make_step_context(experiment, STEPS, schedule.hyperparameters(), jnp.uint32(0), jnp.int32(step))
        transform = optimizer.transform(optimizer.hyperparameters(), now)
        state = transform.init(params) if state is None else state
        updates, state = transform.update(gradient(params, step), state, params, value=jnp.float32(1))
        params = optax.apply_updates(params, updates)
    return params


def pasted(code: str) -> Any:
    names: dict[str, Any] = {}
    exec(compile(code, "pasted", "exec"), names)
    params = parameters()
    state = names["optimizer"].init(params)
    for step in range(EPOCHS * STEPS):
        updates, state = names["optimizer"].update(gradient(params, step), state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        (SGD(learning_rate=0.1, momentum=0.9, weight_decay=0.01), Cosine(warmup=0.5)),
        (SGD(learning_rate=0.1, momentum=0.9, nesterov=True), Constant()),
        (OPTIMIZERS["adam"], Constant(warmup=1)),
        (AdamW(learning_rate=0.01, b2=0.95, weight_decay=0.1, clip_norm=0.5), Cosine(final=0.1)),
        (OPTIMIZERS["nadam"], Cosine()),
        (OPTIMIZERS["nadamw"], Cosine(warmup=1)),
        (OPTIMIZERS["lion"], Cosine(warmup=0.25)),
        (OPTIMIZERS["muon"], Cosine(warmup=0.5)),
        (OPTIMIZERS["schedule_free_adamw"], Constant()),
        (OPTIMIZERS["schedule_free_adamw"], Constant(warmup=1)),
        (OPTIMIZERS["novograd"], Cosine()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_code_makes_the_same_steps(optimizer, schedule):
    code = optax_code(optimizer, schedule, EPOCHS, STEPS)
    assert code is not None
    assert "jaxopt_bench" not in code
    for one, other in zip(jax.tree.leaves(ours(optimizer, schedule)), jax.tree.leaves(pasted(code)), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        (SGD(learning_rate=0.1), Linear()),
        (SGD(learning_rate=0.1, ema_decay=0.9), Constant()),
        (SGD(learning_rate=0.1, accumulate=2), Constant()),
        (SGD(learning_rate=0.1, decay_mask="kernels"), Constant()),
        (OPTIMIZERS["padam"], Constant()),
        (OPTIMIZERS["schedule_free_adamw"], Cosine()),
        (OPTIMIZERS["noisy_sgd"], Constant()),
    ],
)
def test_optimizers_without_a_simple_form_in_optax_have_no_code(optimizer, schedule):
    assert optax_code(optimizer, schedule, EPOCHS, STEPS) is None
