"""SOAP compared with its paper's algorithm in NumPy float64 and with Adam in special cases, and its compilation."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_bench.optimizers import OPTIMIZERS, SOAP, ScaleBySoapState, StepContext, scale_by_soap
from jaxopt_bench.optimizers.wrappers import find_state
from tests.optimizers import references

STEPS = 60
SHAPES: dict[str, tuple[int, ...]] = {"scalar": (), "vector": (7,), "matrix": (5, 5), "kernel": (3, 3, 2, 4)}
"""All products of the gradient with itself have full rank, so that the first eigenvectors are unique."""


def random_tree(rng: np.random.Generator, leading: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
    return {name: rng.normal(size=leading + shape) for name, shape in SHAPES.items()}


@functools.cache
def compiled(static: SOAP) -> Any:
    """Returns a compiled function that returns the parameters before each step, and our updates."""

    def run(hyperparameters: Any, params: Any, gradients: Any, multipliers: Any) -> Any:
        def step(carry: Any, inputs: Any) -> Any:
            (params, state), (gradient, multiplier) = carry, inputs
            updates, state = static.transform(hyperparameters, StepContext(multiplier)).update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), (params, updates)

        start = static.transform(hyperparameters).init(params)
        return jax.lax.scan(step, (params, start), (gradients, multipliers))[1]

    return jax.jit(run)


def largest_error(optimizer: SOAP, seed: int, dtype: Any = np.float64) -> float:
    """Returns the largest difference of our updates from the reference's, as a share of the array's largest update."""
    rng = np.random.default_rng(seed)
    params, gradients = random_tree(rng), random_tree(rng, (STEPS,))
    gradients = {name: leaf * np.exp(rng.normal(size=leaf.shape)) for name, leaf in gradients.items()}
    multipliers = np.cumprod(rng.uniform(0.9, 1.0, STEPS))
    numbers = optimizer.hyperparameters(dtype)
    static = dataclasses.replace(
        SOAP(), **{f: getattr(optimizer, f) for f in ("precondition_frequency", "shampoo_beta")}
    )
    if static.shampoo_beta is not None:
        static = dataclasses.replace(static, shampoo_beta=0.5)  # one program for all values
    before, found = compiled(static)(
        numbers, *jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (params, gradients, multipliers))
    )
    worst = 0.0
    for name in SHAPES:
        soap = references.Soap(
            optimizer.b1, optimizer.b2, optimizer.shampoo_beta, optimizer.eps, optimizer.precondition_frequency
        )
        rates = np.concatenate([[0], optimizer.learning_rate * multipliers[1:]])  # the first step changes nothing
        expected = np.stack(
            list(
                references.updates(
                    soap,
                    np.asarray(before[name], float),
                    gradients[name],
                    rates,
                    optimizer.weight_decay,
                    decoupled=True,
                )
            )
        )
        worst = max(worst, np.abs(found[name] - expected).max() / np.abs(expected).max())
    return worst


@hypothesis.settings(max_examples=40)
@hypothesis.given(
    numbers=st.fixed_dictionaries(
        {
            "learning_rate": st.floats(1e-5, 1.0),
            "b1": st.floats(0.0, 0.99),
            "b2": st.floats(0.5, 0.999),
            "shampoo_beta": st.none() | st.floats(0.5, 0.999),
            "eps": st.sampled_from([1e-10, 1e-8, 1e-3]),
            "weight_decay": st.just(0.0) | st.floats(1e-6, 0.1),
        }
    ),
    frequency=st.sampled_from([1, 3, 10]),
    seed=st.integers(0, 2**32 - 1),
)
def test_updates_follow_the_paper_in_float64(numbers: dict[str, Any], frequency: int, seed: int) -> None:
    with jax.enable_x64(True):
        assert largest_error(SOAP(**numbers, precondition_frequency=frequency), seed) <= 1e-9


@pytest.mark.parametrize("frequency", [1, 10])
def test_updates_follow_the_paper_in_float32(frequency: int) -> None:
    """QR decompositions of nearly singular matrices amplify rounding errors, so only the defaults are tested."""
    assert largest_error(SOAP(precondition_frequency=frequency), 0, np.float32) <= 2e-4


@pytest.mark.parametrize("largest", [10_000, 4])
def test_long_axes_have_no_basis_and_eigenvectors_of_zero_are_arbitrary(largest: int) -> None:
    """The first gradient of a 6 × 4 matrix does not determine two of the eigenvectors, so the reference uses ours."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        transform = scale_by_soap(0.9, 0.95, precondition_frequency=2, max_precond_dim=largest)
        update = jax.jit(transform.update)
        state, reference = transform.init(jnp.zeros((6, 4))), references.Soap(0.9, 0.95, None, 1e-8, 2, largest)
        for step in range(STEPS):
            gradient = rng.normal(size=(6, 4))
            updates, state = update(jnp.asarray(gradient), state)
            expected = reference(gradient, step + 1)
            if step == 0:
                ours = dict(zip(reference.bases, map(np.asarray, state.bases), strict=True))
                for axis, basis in ours.items():
                    spectrum = basis.T @ reference.grams[axis] @ basis
                    np.testing.assert_allclose(spectrum, np.diag(np.diag(spectrum)), atol=1e-12)
                    np.testing.assert_allclose(basis.T @ basis, np.eye(len(basis)), atol=1e-12)
                reference.bases = ours
            np.testing.assert_allclose(updates, expected, rtol=1e-9, atol=1e-9)
        assert list(reference.bases) == ([0, 1] if largest > 4 else [1])


def all_updates(transform: optax.GradientTransformation, gradients: np.ndarray) -> np.ndarray:
    """Returns the updates of all steps."""
    state, made, update = transform.init(jnp.zeros(gradients.shape[1:])), [], jax.jit(transform.update)
    for gradient in gradients:
        updates, state = update(jnp.asarray(gradient), state)
        made.append(np.asarray(updates))
    return np.stack(made)


def test_without_bases_soap_is_adam_one_step_later() -> None:
    """eps is 0, because SOAP adds eps before the bias correction and Adam adds eps after it."""
    gradients = np.random.default_rng(0).normal(size=(STEPS, 5, 4))
    with jax.enable_x64(True):
        ours = all_updates(scale_by_soap(0.9, 0.99, eps=0.0, max_precond_dim=0), gradients)
        adam = all_updates(optax.scale_by_adam(0.9, 0.99, eps=0.0), gradients[1:])
    np.testing.assert_array_equal(ours[0], 0)
    np.testing.assert_allclose(ours[1:], adam, rtol=1e-12)


def test_soap_is_adam_if_the_eigenvectors_are_the_coordinate_axes() -> None:
    """For diagonal gradients, both products are diagonal and the bases are permutations, except for rounding.

    eps hides the rounding errors. Its different position causes a relative difference of 1e-8.
    """
    rng = np.random.default_rng(0)
    diagonals = rng.uniform(0.5, 1.5, size=(STEPS, 5)) * rng.choice([-1, 1], size=(STEPS, 5))
    gradients = np.stack([np.diag(diagonal) for diagonal in diagonals])
    with jax.enable_x64(True):
        ours = all_updates(scale_by_soap(0.9, 0.99, precondition_frequency=3), gradients)
        adam = all_updates(optax.scale_by_adam(0.9, 0.99), gradients[1:])
    np.testing.assert_allclose(ours[1:], adam, rtol=1e-6, atol=1e-6)


def test_rotated_gradients_give_rotated_updates() -> None:
    """The eigenbases of SOAP rotate with the gradients. Adam depends on the coordinates."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(5, 5)))[0] for _ in "12")
    gradients = rng.normal(size=(STEPS, 5, 5))
    with jax.enable_x64(True):
        one, other = (all_updates(scale_by_soap(), g) for g in (gradients, left @ gradients @ right))
        np.testing.assert_allclose(left @ one @ right, other, rtol=1e-8, atol=1e-8)
        one, other = (all_updates(optax.scale_by_adam(), g) for g in (gradients, left @ gradients @ right))
        assert not np.allclose(left @ one @ right, other, rtol=0.1, atol=0.1)


def test_bases_change_only_when_a_refresh_is_due_and_stay_orthogonal() -> None:
    rng, transform = np.random.default_rng(0), scale_by_soap(precondition_frequency=4)
    state, changed, update = transform.init(jnp.zeros((5, 3))), [], jax.jit(transform.update)
    for call in range(1, 22):
        before = state
        _, state = update(jnp.asarray(rng.normal(size=(5, 3)), jnp.float32), state)
        if any(not np.array_equal(a, b) for a, b in zip(before.bases, state.bases, strict=True)):
            changed.append(call)
        for basis in state.bases:
            np.testing.assert_allclose(basis.T @ basis, np.eye(len(basis)), atol=1e-6)
    assert changed == [1, 5, 9, 13, 17, 21]  # call 1 sets the bases; call 5 makes Adam's fourth step


def primitives(jaxpr: Any, into_branches: bool) -> set[str]:
    """Returns the names of a program's operations, with or without those in conditional branches."""
    found = set()
    for equation in jaxpr.eqns:
        found.add(equation.primitive.name)
        if equation.primitive.name != "cond" or into_branches:
            for inner in jax.extend.core.jaxprs_in_params(equation.params):
                found |= primitives(inner, into_branches)
    return found


@pytest.mark.parametrize("stacked", [False, True])
def test_decompositions_are_conditional_except_for_stacked_states(stacked: bool) -> None:
    transform, params = scale_by_soap(), jnp.zeros((2, 6, 4) if stacked else (6, 4))
    update, init = (jax.vmap(f) if stacked else f for f in (transform.update, transform.init))
    jaxpr = jax.make_jaxpr(update)(params, init(params)).jaxpr
    decompositions = {"eigh", "qr"}
    assert decompositions <= primitives(jaxpr, into_branches=True)
    assert (decompositions & primitives(jaxpr, into_branches=False) != set()) == stacked


def test_a_population_trains_each_setting_like_a_single_run() -> None:
    """One program trains them, under `vmap` and under `lax.map`. All float fields may differ between members."""
    rng, optimizer = np.random.default_rng(0), SOAP(shampoo_beta=0.9, precondition_frequency=3)
    settings = [
        SOAP(1e-3, b1=0.9, b2=0.9, shampoo_beta=0.5, eps=1e-6, weight_decay=0.1, precondition_frequency=3),
        SOAP(1e-2, b1=0.5, b2=0.99, shampoo_beta=0.9, eps=1e-3, weight_decay=0.0, precondition_frequency=3),
        SOAP(1e-1, b1=0.0, b2=0.95, shampoo_beta=0.99, eps=1e-8, weight_decay=0.01, precondition_frequency=3),
    ]
    assert len({setting.static_fields for setting in settings}) == 1
    with jax.enable_x64(True):
        params, gradients = random_tree(rng), random_tree(rng, (20,))

        def train(hyperparameters: Any) -> Any:
            return compiled(optimizer)(hyperparameters, params, gradients, jnp.ones(20))[0]

        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(s.hyperparameters(np.float64) for s in settings))
        alone = jax.tree.map(
            lambda *leaves: jnp.stack(leaves), *(train(s.hyperparameters(np.float64)) for s in settings)
        )
        for together in (jax.vmap(train)(stacked), jax.lax.map(train, stacked)):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10), together, alone)


def test_the_first_step_changes_nothing_and_the_decay_begins_in_the_second() -> None:
    optimizer = SOAP(learning_rate=0.1, weight_decay=0.5)
    transform, params = (
        optimizer.transform(optimizer.hyperparameters()),
        {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)},
    )
    state, zero = transform.init(params), jax.tree.map(jnp.zeros_like, params)
    first, state = transform.update(jax.tree.map(jnp.ones_like, params), state, params)
    jax.tree.map(lambda u: np.testing.assert_array_equal(u, 0), first)
    second, state = transform.update(zero, state, params)
    jax.tree.map(lambda u: np.testing.assert_allclose(u, -0.05, rtol=1e-6), second)
    assert find_state(state, ScaleBySoapState).count == 2


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e15])
def test_gradients_of_extreme_scales_make_finite_updates(scale: float) -> None:
    gradients = np.float32(scale) * np.random.default_rng(0).normal(size=(25, 6, 4)).astype(np.float32)
    updates = all_updates(scale_by_soap(precondition_frequency=2), gradients)
    assert np.isfinite(updates).all()
    assert np.abs(updates).max() < 20  # numbers of Adam's updates are at most 1 / sqrt(1 - b2)


def test_updates_of_bfloat16_parameters_keep_the_type_and_bases_are_float32() -> None:
    transform, params = scale_by_soap(precondition_frequency=2), jnp.zeros((6, 4), jnp.bfloat16)
    state = transform.init(params)
    types = jax.tree.map(lambda leaf: leaf.dtype, state)
    for seed in range(5):
        gradient = jax.random.normal(jax.random.key(seed), (6, 4), jnp.bfloat16)
        updates, state = transform.update(gradient, state)
        assert updates.dtype == jnp.bfloat16
        assert jax.tree.map(lambda leaf: leaf.dtype, state) == types
        assert np.isfinite(updates.astype(np.float32)).all()
    assert {basis.dtype for basis in state.bases} == {jnp.dtype(jnp.float32)}


def test_json_restores_soap() -> None:
    optimizer = SOAP(shampoo_beta=0.9, precondition_frequency=3, max_precond_dim=64, cautious=True, mars_gamma=0.1)
    assert OPTIMIZERS.name_of(optimizer) == "soap"
    assert OPTIMIZERS.from_json({"name": "soap", **optimizer.to_json()}) == optimizer
