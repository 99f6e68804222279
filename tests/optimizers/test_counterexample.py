"""The losses for which Adam converges to the worst point and AMSGrad to the best (Reddi et al. 2018, Theorem 1)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench.optimizers import Adam, AMSGrad, Nadam, Optimizer, Padam, StepContext

C = 3.0  # the theorem requires C > 2
SETTING = {"learning_rate": 0.3, "b1": 0.0, "b2": 1 / (1 + C**2), "eps": 0.0}  # rate < sqrt(1 - b2), eq. 7


def final_point(optimizer: Optimizer, steps: int = 3000) -> float:
    """Minimizes f_t(x) = C x if t mod 3 is 1, else −x, on [−1, 1], with the learning rate divided by √t."""
    hyperparameters = optimizer.hyperparameters()

    def step(carry, t):
        x, state = carry
        gradient = jnp.where(t % 3 == 1, C, -1.0)
        update, state = optimizer.transform(hyperparameters, StepContext(1 / jnp.sqrt(t))).update(gradient, state, x)
        return (jnp.clip(x + update, -1, 1), state), None

    start = jnp.float32(0.0)
    state = optimizer.transform(hyperparameters).init(start)
    (x, _), _ = jax.lax.scan(step, (start, state), jnp.arange(1, steps + 1))
    return float(x)


@pytest.mark.parametrize("optimizer", [Adam(**SETTING), Nadam(**SETTING)], ids=["adam", "nadam"])
def test_adam_goes_to_the_worst_point(optimizer):
    assert final_point(optimizer) > 0.9


@pytest.mark.parametrize(
    "optimizer",
    [
        AMSGrad(**SETTING),
        AMSGrad(bias_correction=False, **SETTING),
        Padam(partial=0.5, **SETTING),
        Padam(partial=0.125, **{**SETTING, "learning_rate": 0.1}),
    ],
    ids=["amsgrad", "as in the paper", "padam at one half", "padam"],
)
def test_amsgrad_goes_to_the_best_point(optimizer):
    assert final_point(optimizer) < -0.9


def test_the_sum_of_three_losses_is_smallest_at_minus_one():
    x = np.linspace(-1, 1, 101)
    assert x[np.argmin(C * x - x - x)] == -1
