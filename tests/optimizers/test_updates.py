"""Hand-written optimizers match their papers' equations for random gradients, hyperparameters and schedules."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import SGD, Adam, AdamW, AMSGrad, Nadam, NAdamW, Optimizer, Padam, StepContext
from tests.optimizers import references

STEPS = 100
SHAPES: dict[str, tuple[int, ...]] = {"scalar": (), "vector": (7,), "kernel": (3, 3, 2, 4)}
FORMS: dict[str, tuple[Optimizer, Any, tuple[str, ...]]] = {  # ours, the reference, the fields that both take
    "sgd": (SGD(), references.sgd, ()),
    "momentum": (SGD(momentum=0.9), references.sgd, ("momentum",)),
    "nesterov": (SGD(momentum=0.9, nesterov=True), references.sgd, ("momentum", "nesterov")),
    "adam": (Adam(), references.adam, ("b1", "b2", "eps")),
    "adamw": (AdamW(), references.adam, ("b1", "b2", "eps")),
    "nadam": (Nadam(), references.nadam, ("b1", "b2", "eps")),
    "nadamw": (NAdamW(), references.nadam, ("b1", "b2", "eps")),
    "amsgrad": (AMSGrad(), references.amsgrad, ("b1", "b2", "eps", "bias_correction")),
    "amsgrad_paper": (
        AMSGrad(bias_correction=False, eps=0),
        references.amsgrad,
        ("b1", "b2", "eps", "bias_correction"),
    ),
    "padam": (Padam(), references.padam, ("b1", "b2", "partial", "eps", "bias_correction")),
    "padam_code": (
        Padam(bias_correction=True, eps=1e-8),
        references.padam,
        ("b1", "b2", "partial", "eps", "bias_correction"),
    ),
}
RANGES = {
    "learning_rate": st.floats(1e-5, 1.0),
    "weight_decay": st.just(0.0) | st.floats(1e-6, 0.1),
    "momentum": st.floats(0.0, 0.99),
    "b1": st.floats(0.0, 0.99),
    "eps": st.sampled_from([1e-10, 1e-8, 1e-6, 1e-3]),
    "partial": st.floats(0.0, 0.5),
}


@functools.cache
def compiled(static: Optimizer) -> Any:
    """Returns a compiled function that returns, for one optimizer, the parameters before each step and our updates."""

    def run(hyperparameters, params, gradients, multipliers):
        def step(carry, inputs):
            params, state = carry
            grads, multiplier = inputs
            transform = static.transform(hyperparameters, StepContext(multiplier))
            updates, state = transform.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), (params, updates)

        start = static.transform(hyperparameters).init(params)
        return jax.lax.scan(step, (params, start), (gradients, multipliers))[1]

    return jax.jit(run)


def ours(optimizer: Optimizer, static: Optimizer, params: Any, gradients: Any, multipliers: Any, dtype: Any) -> Any:
    cast = functools.partial(jax.tree.map, lambda leaf: jnp.asarray(leaf, dtype))
    made = compiled(static)(optimizer.hyperparameters(dtype), *map(cast, (params, gradients, multipliers)))
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(made))
    return jax.tree.map(np.asarray, made)


def largest_error(form: str, settings: dict[str, float], seed: int, dtype: Any, rounded: bool = True) -> float:
    """Returns the largest error of our updates against the equations, as a share of the leaf's largest update.

    In each step, the equations get the same gradients and, for the decay, the same parameters as our code. They use the
    hyperparameters rounded to `dtype` or, if `rounded` is False, the exact hyperparameters.
    """
    static, reference, taken = FORMS[form]
    rng = np.random.default_rng(seed)
    params = {name: rng.normal(size=shape).astype(dtype).astype(float) for name, shape in SHAPES.items()}
    gradients = {name: random_gradients(rng, shape).astype(dtype).astype(float) for name, shape in SHAPES.items()}
    multipliers = np.cumprod(rng.uniform(0.9, 1.0, STEPS)).astype(dtype).astype(float)
    given = {k: v for k, v in settings.items() if getattr(static, k, None) is not None}
    optimizer = dataclasses.replace(static, **given)
    exact = dataclasses.replace(static, **{k: float(dtype(v)) for k, v in given.items()}) if rounded else optimizer
    arguments = {name: getattr(exact, name) for name in taken}
    found_params, found = ours(optimizer, static, params, gradients, multipliers, dtype)
    expected = references.updates(
        reference(**arguments),
        side_by_side(found_params),
        side_by_side(gradients),
        exact.learning_rate * multipliers,
        exact.weight_decay,
        decoupled=form in ("adamw", "nadamw"),
    )
    expected_updates = np.stack(list(expected))
    errors = np.abs(side_by_side(found) - expected_updates)
    return largest_share(errors, expected_updates, np.finfo(dtype).tiny)


def side_by_side(tree: dict[str, np.ndarray]) -> np.ndarray:
    """Returns the numbers of all leaves as one array of steps and numbers.

    The equations treat each number by itself, so that one call of a reference computes all leaves.
    """
    return np.concatenate([np.asarray(tree[name], float).reshape(STEPS, -1) for name in SHAPES], axis=1)


def largest_share(errors: np.ndarray, expected: np.ndarray, least: float) -> float:
    """Returns the largest error as a share of the leaf's largest expected update, which counts at least `least`."""
    ends = np.cumsum([math.prod(shape) for shape in SHAPES.values()])
    leaves = zip(np.split(errors, ends[:-1], axis=1), np.split(expected, ends[:-1], axis=1), strict=True)
    return float(np.max([error.max() / max(np.abs(updates).max(), least) for error, updates in leaves]))


def random_gradients(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the gradients of all steps. Each element has its own magnitude, from 1e-8 to 1e4, and some are zero."""
    values = rng.normal(size=(STEPS, *shape)) * 10.0 ** rng.uniform(-8, 4, size=shape)
    values *= rng.random(shape) > 0.1  # elements that never have a gradient
    return np.where(rng.random(values.shape) < 0.2, 0.0, values)


def settings(b2: st.SearchStrategy[float]) -> st.SearchStrategy[dict[str, float]]:
    return st.fixed_dictionaries({**RANGES, "b2": b2})


@pytest.mark.parametrize("form", FORMS)
@hypothesis.settings(max_examples=50)
@hypothesis.given(settings=settings(st.floats(0.5, 0.9999)), seed=st.integers(0, 2**32 - 1))
def test_updates_follow_the_paper_in_float64(form, settings, seed):
    with jax.enable_x64(True):
        assert largest_error(form, settings, seed, np.float64) <= 1e-12


@pytest.mark.parametrize("form", FORMS)
@hypothesis.settings(max_examples=50)
@hypothesis.given(settings=settings(st.floats(0.5, 0.999)), seed=st.integers(0, 2**32 - 1))
def test_updates_follow_the_paper_in_float32(form, settings, seed):
    assert largest_error(form, settings, seed, np.float32) <= 1e-5


@pytest.mark.parametrize("form", [form for form in FORMS if "b2" in FORMS[form][2]])
@hypothesis.settings(max_examples=50)
@hypothesis.given(settings=settings(st.floats(0.999, 0.9999)), seed=st.integers(0, 2**32 - 1))
def test_updates_follow_the_paper_in_float32_with_a_long_second_moment(form, settings, seed):
    """In float32, 1 − b2 has only a few significant digits."""
    assert largest_error(form, settings, seed, np.float32) <= 1e-4


@pytest.mark.parametrize("form", [form for form in FORMS if "b2" in FORMS[form][2]])
@pytest.mark.parametrize(("b2", "bound"), [(0.99, 1e-5), (0.999, 1e-5), (0.9999, 1e-4)])
def test_common_decays_may_be_rounded_to_float32(form, b2, bound):
    settings = {"learning_rate": 1e-3, "weight_decay": 1e-4, "b1": 0.9, "b2": b2, "eps": 1e-8, "partial": 1 / 8}
    assert largest_error(form, settings, 0, np.float32, rounded=False) <= bound


@hypothesis.settings(max_examples=10)
@hypothesis.given(
    start=st.floats(0.0, 0.5),
    end=st.floats(0.0, 0.5),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_exponent_of_padam_may_change_during_training(start, end, seed):
    """Each step equals the step of a Padam that has the exponent of this step and the same moments."""
    grads = random_gradients(np.random.default_rng(seed), (7,))
    moving = Padam(partial=start, final_partial=end)

    def updates(optimizer, progress):
        state, made = optimizer.transform(optimizer.hyperparameters(jnp.float64)).init(jnp.zeros(7)), []
        for grad, now in zip(grads[:5], progress, strict=True):
            transform = optimizer.transform(optimizer.hyperparameters(jnp.float64), StepContext(progress=now))
            update, state = transform.update(jnp.asarray(grad), state, jnp.zeros(7))
            made.append(np.asarray(update))
        return np.stack(made)

    with jax.enable_x64(True):
        progress = np.linspace(0, 1, 5)
        ours = updates(moving, progress)
        for i, now in enumerate(progress):
            fixed = updates(Padam(partial=start + now * (end - start)), progress)
            np.testing.assert_allclose(ours[i], fixed[i], rtol=1e-9)


def test_decoupled_decay_does_not_enter_the_moments():
    for optimizer in (AdamW(weight_decay=0.1), NAdamW(weight_decay=0.1)):
        params = {"kernel": jnp.full((2, 2), 3.0)}
        zero = jax.tree.map(jnp.zeros_like, params)
        transform = optimizer.transform(optimizer.hyperparameters())
        updates, state = transform.update(zero, transform.init(params), params)
        np.testing.assert_allclose(updates["kernel"], -1e-3 * 0.1 * 3.0, rtol=1e-6)
        moments = optax.tree.get(state, "mu"), optax.tree.get(state, "nu")
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(moments))


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(UserError, match="momentum"):
        SGD(nesterov=True)


@pytest.mark.parametrize(("field", "value"), [("b1", 1.0), ("b2", -0.1), ("eps", -1.0), ("learning_rate", -1e-3)])
def test_values_out_of_bounds_are_refused_by_name(field, value):
    with pytest.raises(UserError, match=rf"Adam\.{field} is {value}"):
        Adam(**{field: value})
