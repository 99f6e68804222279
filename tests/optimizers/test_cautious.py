"""The cautious mask around any optimizer, compared with its paper's algorithm in NumPy float64, and its limits."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_bench import UserError, kernels
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, SOAP, Adam, AdamW, Constant, Optimizer, StepContext, wrap_optimizer
from jaxopt_bench.optimizers.cautious import cautious
from jaxopt_bench.optimizers.fused import has_fused_form
from jaxopt_bench.optimizers.optax_code import optax_code
from jaxopt_bench.training.update import update_parameters
from tests.optimizers import references
from tests.optimizers.few import slow_but_a_few
from tests.optimizers.test_soap import SHAPES, random_tree

STEPS = 50
KEY = jax.random.key(0)
FORMS: dict[str, tuple[Optimizer, Any, tuple[str, ...]]] = {  # ours, the reference, the fields that both take
    "sgd": (SGD(), references.sgd, ()),
    "momentum": (SGD(momentum=0.9), references.sgd, ("momentum",)),
    "adam": (Adam(), references.adam, ("b1", "b2", "eps")),
    "adamw": (AdamW(), references.adam, ("b1", "b2", "eps")),
    "lion": (OPTIMIZERS["lion"], references.lion, ("b1", "b2")),
    "soap": (SOAP(precondition_frequency=4), references.Soap, ("b1", "b2", "shampoo_beta", "eps")),
}
MASKABLE = sorted(n for n, own in OPTIMIZERS.items() if not own.line_search and not own.own_average)


def masked(optimizer: Optimizer) -> Any:
    return dataclasses.replace(optimizer, cautious=True)


@functools.cache
def compiled(static: Optimizer) -> Any:
    """Returns a compiled function that returns the parameters before each step, and our updates."""

    def run(hyperparameters: Any, params: Any, gradients: Any) -> Any:
        transform = static.transform(hyperparameters, StepContext(key=KEY))

        def step(carry: Any, gradient: Any) -> Any:
            params, state = carry
            updates, state = transform.update(
                gradient, state, params, value=jnp.ones((), jax.tree.leaves(params)[0].dtype)
            )
            return (optax.apply_updates(params, updates), state), (params, updates)

        return jax.lax.scan(step, (params, transform.init(params)), gradients)[1]

    return jax.jit(run)


@pytest.mark.parametrize("form", FORMS)
@hypothesis.settings(max_examples=20)
@hypothesis.given(
    numbers=st.fixed_dictionaries(
        {
            "learning_rate": st.floats(1e-4, 1.0),
            "momentum": st.floats(0.0, 0.99),
            "b1": st.floats(0.0, 0.99),
            "b2": st.floats(0.5, 0.999),
            "weight_decay": st.just(0.0) | st.floats(1e-3, 0.5),
        }
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_updates_follow_the_paper(form: str, numbers: dict[str, float], seed: int) -> None:
    """A decoupled decay is added outside the mask. A coupled decay is a part of the gradient."""
    static, reference, taken = FORMS[form]
    optimizer = dataclasses.replace(
        static, **{n: v for n, v in numbers.items() if getattr(static, n, None) is not None}
    )
    rng = np.random.default_rng(seed)
    params, gradients = random_tree(rng), random_tree(rng, (STEPS,))
    with jax.enable_x64(True):
        before, found = compiled(masked(static))(optimizer.hyperparameters(np.float64), params, gradients)
    for name in SHAPES:
        more = (optimizer.precondition_frequency,) if isinstance(optimizer, SOAP) else ()
        direction = references.cautious(reference(*(getattr(optimizer, field) for field in taken), *more))
        rates = np.full(STEPS, optimizer.learning_rate)
        rates[0] *= form != "soap"  # the first step of SOAP changes nothing
        decoupled = optimizer.decay_form == "decoupled"
        expected = np.stack(
            list(
                references.updates(
                    direction, np.asarray(before[name]), gradients[name], rates, optimizer.weight_decay, decoupled
                )
            )
        )
        np.testing.assert_allclose(found[name], expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("name", slow_but_a_few(MASKABLE))
def test_no_update_goes_against_the_gradient(name: str) -> None:
    rng = np.random.default_rng(0)
    optimizer = masked(dataclasses.replace(OPTIMIZERS[name], weight_decay=0.0))
    # SM3 does not support scalars.
    params, gradients = (
        {name: jnp.asarray(leaf, jnp.float32) for name, leaf in tree.items() if name != "scalar"}
        for tree in (random_tree(rng), random_tree(rng, (12,)))
    )
    _, updates = compiled(optimizer)(optimizer.hyperparameters(), params, gradients)
    for leaf, gradient in zip(jax.tree.leaves(updates), jax.tree.leaves(gradients), strict=True):
        assert not np.any(np.sign(leaf) == np.sign(gradient) * (gradient != 0))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(updates))


@pytest.mark.parametrize("name", ["momentum", "adamw", "lion", "muon", "soap"])
def test_the_mask_has_no_state_and_does_not_change_the_optimizers_state(name: str) -> None:
    """At fixed parameters, the state depends only on the gradients, and the mask comes after them."""
    params, states = {"kernel": jnp.ones((6, 4))}, []
    for optimizer in (OPTIMIZERS[name], masked(OPTIMIZERS[name])):
        transform = optimizer.transform(optimizer.hyperparameters())
        state = transform.init(params)
        for seed in range(5):
            gradient = {"kernel": jnp.asarray(np.random.default_rng(seed).normal(size=(6, 4)), jnp.float32)}
            _, state = transform.update(gradient, state, params)
        states.append(state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), *states)


def test_an_update_is_enlarged_at_most_a_thousandfold() -> None:
    """If only one of 10,000 signs agrees, the bound of the authors' code applies. If all agree, nothing changes."""
    gradient = jnp.ones(10_000).at[3].set(-1.0)
    transform = cautious(optax.stateless(lambda updates, _: jnp.full(10_000, -2.0)), sign=1)
    made, _ = transform.update(gradient, transform.init(gradient))
    expected = np.zeros(10_000)
    expected[3] = -2000
    np.testing.assert_allclose(made, expected, rtol=1e-6)
    transform = cautious(optax.scale(-0.5), sign=-1)
    np.testing.assert_array_equal(transform.update(gradient, transform.init(gradient))[0], -0.5 * gradient)


def test_signs_are_compared_even_if_the_product_underflows() -> None:
    gradient = jnp.asarray([1e-30, -1e-30], jnp.float32)
    transform = cautious(optax.stateless(lambda updates, _: jnp.full(2, 1e-20)), sign=1)
    np.testing.assert_allclose(transform.update(gradient, transform.init(gradient))[0], [2e-20, 0], rtol=1e-6)


def test_the_mask_does_not_change_plain_gradient_descent() -> None:
    rng = np.random.default_rng(0)
    params, gradients = random_tree(rng), random_tree(rng, (STEPS,))
    optimizer = SGD(learning_rate=0.1, weight_decay=0.1)
    one, other = (
        compiled(own)(optimizer.hyperparameters(), params, gradients)[1] for own in (optimizer, masked(optimizer))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), one, other)


def decayed(learning_rate: float = 1e-3, weight_decay: float = 0.01):
    return optax.adamw(learning_rate, weight_decay=weight_decay)


def branching(learning_rate: float = 1e-3, weight_decay: float = 0.01):
    parts = [optax.add_decayed_weights(weight_decay)] if weight_decay > 0 else []
    return optax.chain(optax.scale_by_adam(), *parts, optax.scale_by_learning_rate(learning_rate))


@pytest.mark.parametrize("function", [decayed, branching])
@pytest.mark.slow
def test_the_decay_of_a_users_function_is_not_masked(function: Any) -> None:
    """This also holds if the structure of its state depends on the decay. The reference is AdamW."""
    rng, optimizer = np.random.default_rng(0), masked(wrap_optimizer(function)(weight_decay=0.1))
    assert optimizer.decay_form == "decoupled"
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), random_tree(rng))
    gradients = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), random_tree(rng, (STEPS,)))
    table = masked(AdamW(weight_decay=0.1))
    (_, ours), (_, expected) = (compiled(o)(o.hyperparameters(), params, gradients) for o in (optimizer, table))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), ours, expected)


@pytest.mark.parametrize("form", ["sgd", "momentum", "nesterov", "adam", "adamw", "nadam", "nadamw", "amsgrad"])
@pytest.mark.parametrize("field", [{"cautious": True}, {"mars_gamma": 0.025}])
def test_the_mask_and_the_correction_also_apply_if_updates_are_fused(form: str, field: Any) -> None:
    """Both code paths make the same updates, which differ from those without the field (except masked plain SGD)."""
    if kernels.library() is None:
        pytest.skip("the CPU kernels are not built (make kernels)")
    rng, ends = np.random.default_rng(0), []
    start = {n: jnp.asarray(leaf, jnp.float32) for n, leaf in random_tree(rng).items() if n != "scalar"}
    gradients = [{n: jnp.asarray(g, jnp.float32) for n, g in random_tree(rng).items() if n in start} for _ in range(6)]
    plain = OPTIMIZERS[form]
    around = dataclasses.replace(plain, **field)
    assert has_fused_form(plain, start)
    assert not has_fused_form(around, start)
    for optimizer, fused in ((around, True), (around, False), (plain, True), (plain, False)):
        numbers, params = optimizer.hyperparameters(), start
        state = optimizer.transform(numbers).init(params)
        for gradient in gradients:
            made = update_parameters(
                optimizer, numbers, StepContext(), gradient, state, params, jnp.float32(1), fused=fused
            )
            params, state = made.params, made.opt_state
        ends.append(params)
    jax.tree.map(np.testing.assert_array_equal, ends[0], ends[1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), ends[2], ends[3])
    if form != "sgd" or "mars_gamma" in field:
        assert not np.allclose(ends[0]["kernel"], ends[2]["kernel"], rtol=1e-3)


def test_the_mask_is_refused_for_averaging_optimizers_and_line_searches() -> None:
    with pytest.raises(
        UserError, match=r"ScheduleFreeAdamw\.cautious is True\. Expected False: the optimizer averages"
    ):
        masked(OPTIMIZERS["schedule_free_adamw"])
    with pytest.raises(UserError, match=r"Lbfgs\.cautious is True\. Expected False: the line search needs"):
        masked(OPTIMIZERS["lbfgs"])


def test_the_mask_and_the_correction_have_no_simple_form_in_optax() -> None:
    assert optax_code(AdamW(), Constant(), 2, 10) is not None
    assert optax_code(masked(AdamW()), Constant(), 2, 10) is None
    assert optax_code(dataclasses.replace(AdamW(), mars_gamma=0.025), Constant(), 2, 10) is None
