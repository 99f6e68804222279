"""MARS's correction of gradients, compared with its paper's equations in NumPy float64. If off, it has no state."""

from __future__ import annotations

import dataclasses
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, SOAP, Adam, AdamW, Optimizer, StepContext, wrap_optimizer
from jaxopt_bench.optimizers.mars import FALLBACK, ReduceVarianceState, first_moment_decay, reduce_variance
from jaxopt_bench.optimizers.wrappers import find_states
from tests.optimizers import references
from tests.optimizers.few import slow_but_a_few
from tests.optimizers.test_cautious import compiled
from tests.optimizers.test_soap import SHAPES, random_tree

STEPS = 60
FORMS: dict[str, tuple[Optimizer, Any, tuple[str, ...], str | None]] = {  # and the field of the first moment's decay
    "sgd": (SGD(), references.sgd, (), None),
    "momentum": (SGD(momentum=0.9), references.sgd, ("momentum",), "momentum"),
    "adam": (Adam(), references.adam, ("b1", "b2", "eps"), "b1"),
    "adamw": (AdamW(), references.adam, ("b1", "b2", "eps"), "b1"),
    "lion": (OPTIMIZERS["lion"], references.lion, ("b1", "b2"), "b1"),
    "soap": (SOAP(precondition_frequency=4), references.Soap, ("b1", "b2", "shampoo_beta", "eps"), "b1"),
}
WITHOUT_LINE_SEARCH = sorted(name for name, own in OPTIMIZERS.items() if not own.line_search)


def corrected(optimizer: Optimizer, gamma: float = 0.025) -> Any:
    return dataclasses.replace(optimizer, mars_gamma=gamma)


def in_float32(tree: Any) -> Any:
    return {name: jnp.asarray(leaf, jnp.float32) for name, leaf in tree.items() if name != "scalar"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("with_mask", [False, True])
@hypothesis.settings(max_examples=10)
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
    gamma=st.floats(0.0, 1.0),
    scale=st.sampled_from([0.01, 0.3, 10.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_updates_follow_the_paper(
    form: str, with_mask: bool, numbers: dict[str, float], gamma: float, scale: float, seed: int
) -> None:
    """The corrected gradient replaces the gradient, also for the mask. A coupled decay is added to it."""
    static, reference, taken, decay = FORMS[form]
    optimizer = dataclasses.replace(
        static, **{n: v for n, v in numbers.items() if getattr(static, n, None) is not None}
    )
    rng = np.random.default_rng(seed)
    params, gradients = random_tree(rng), jax.tree.map(lambda leaf: scale * leaf, random_tree(rng, (STEPS,)))
    ours = dataclasses.replace(corrected(static), cautious=with_mask)
    with jax.enable_x64(True):
        given = {**optimizer.hyperparameters(np.float64), "mars_gamma": jnp.float64(gamma)}
        before, found = compiled(ours)(given, params, gradients)
    b1 = 0.95 if decay is None else getattr(optimizer, decay)
    for name in SHAPES:
        more = (optimizer.precondition_frequency,) if isinstance(optimizer, SOAP) else ()
        direction = reference(*(getattr(optimizer, field) for field in taken), *more)
        masked = references.cautious(direction) if with_mask else direction
        rates = np.full(STEPS, optimizer.learning_rate)
        rates[0] *= form != "soap"  # the first step of SOAP changes nothing
        corrector = references.mars(lambda g, t: g, gamma, b1)
        inputs = [corrector(gradient, t) for t, gradient in enumerate(gradients[name], start=1)]
        decoupled = optimizer.decay_form == "decoupled"
        expected = np.stack(
            list(references.updates(masked, np.asarray(before[name]), inputs, rates, optimizer.weight_decay, decoupled))
        )
        np.testing.assert_allclose(found[name], expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())


def test_the_correction_is_clipped_to_norm_1_for_each_array_separately() -> None:
    transform, params = reduce_variance(0.5, 0.5), {"one": jnp.zeros(2), "other": jnp.zeros(2)}
    state = transform.init(params)
    gradient = {"one": jnp.asarray([0.1, 0.2]), "other": jnp.asarray([30.0, -40.0])}
    made, state = transform.update(gradient, state)  # the previous gradient is 0: 1.5 times the gradient
    np.testing.assert_allclose(made["one"], [0.15, 0.3], rtol=1e-6)
    np.testing.assert_allclose(made["other"], [0.6, -0.8], rtol=1e-6)
    made, _ = transform.update({"one": jnp.asarray([0.3, 0.2]), "other": jnp.zeros(2)}, state)
    np.testing.assert_allclose(made["one"], [0.4, 0.2], rtol=1e-6)  # 0.3 + (0.3 - 0.1) / 2
    np.testing.assert_allclose(made["other"], [-0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("name", slow_but_a_few(WITHOUT_LINE_SEARCH))
def test_a_correction_of_strength_0_changes_no_bit_if_gradients_are_small(name: str) -> None:
    """Each operation is compiled separately, because XLA might round differently within one program."""
    rng, optimizer, ends = np.random.default_rng(0), OPTIMIZERS[name], []
    start, gradients = in_float32(random_tree(rng)), [in_float32(random_tree(rng)) for _ in range(3)]
    for own in (optimizer, corrected(optimizer, 0.0)):
        params = start
        transform = own.transform(own.hyperparameters(), StepContext(key=jax.random.key(0)))
        state = transform.init(params)
        for gradient in gradients:
            small = jax.tree.map(lambda leaf: leaf / 128, gradient)
            updates, state = transform.update(small, state, params, value=jnp.float32(1))
            params = optax.apply_updates(params, updates)
        ends.append(params)
    jax.tree.map(np.testing.assert_array_equal, *ends)
    assert not np.array_equal(ends[0]["matrix"], start["matrix"])


DECAYS: dict[str, Any] = {  # by optimizer, if the decay is not b1
    **dict.fromkeys(("dadapt_adamw", "prodigy"), 0.9),  # betas
    **dict.fromkeys(("momentum", "nesterov", "lars", "madgrad", "sm3"), 0.9),  # momentum
    **dict.fromkeys(("momo", "signum"), 0.9),  # beta
    "muon": 0.95,  # beta, also for the arrays that Adam updates
}


@pytest.mark.parametrize("name", WITHOUT_LINE_SEARCH)
def test_the_decay_is_that_of_the_first_moment_or_the_authors_default(name: str) -> None:
    optimizer = OPTIMIZERS[name]
    expected = getattr(optimizer, "b1", DECAYS.get(name, FALLBACK))
    assert float(first_moment_decay(optimizer, optimizer.hyperparameters())) == pytest.approx(expected, rel=1e-6)
    assert FALLBACK == 0.95


def test_a_given_momentum_is_used_and_a_beta_above_1_is_not() -> None:
    for optimizer in (dataclasses.replace(OPTIMIZERS["rmsprop"], momentum=0.7), SGD(momentum=0.7)):
        assert float(first_moment_decay(optimizer, optimizer.hyperparameters())) == pytest.approx(0.7)
    assert first_moment_decay(OPTIMIZERS["optimistic_gradient_descent"], {"beta": 1.0}) == FALLBACK


def mine(lr: float = 0.1, beta1: float = 0.8):
    return optax.sgd(lr, beta1)


def test_a_users_function_is_corrected_with_its_own_decay() -> None:
    rng, users, table = np.random.default_rng(0), corrected(wrap_optimizer(mine)()), corrected(SGD(momentum=0.8), 0.025)
    params, gradients = in_float32(random_tree(rng)), in_float32(random_tree(rng, (STEPS,)))
    (_, ours), (_, expected) = (compiled(own)(own.hyperparameters(), params, gradients) for own in (users, table))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), ours, expected)


@pytest.mark.parametrize("name", slow_but_a_few(WITHOUT_LINE_SEARCH))
def test_mars_has_no_state_if_off_and_all_strengths_share_one_program(name: str) -> None:
    optimizer, params = OPTIMIZERS[name], in_float32(random_tree(np.random.default_rng(0)))
    key = StepContext(key=jax.random.key(0))
    state = jax.eval_shape(lambda: optimizer.transform(optimizer.hyperparameters(), key).init(params))
    assert not find_states(state, ReduceVarianceState)
    assert "mars_gamma" not in optimizer.hyperparameters()
    on = corrected(optimizer)
    state = jax.eval_shape(lambda: on.transform(on.hyperparameters(), key).init(params))
    assert len(find_states(state, ReduceVarianceState)) == 1
    assert on.static_fields == corrected(optimizer, 0.5).static_fields != optimizer.static_fields
    assert on.hyperparameters()["mars_gamma"] == np.float32(0.025)


def test_the_members_of_a_population_may_differ_in_the_strength() -> None:
    rng, optimizer = np.random.default_rng(0), corrected(AdamW())
    params, gradients = in_float32(random_tree(rng)), in_float32(random_tree(rng, (STEPS,)))
    numbers, strengths = optimizer.hyperparameters(), jnp.asarray([0.0, 0.025, 1.0])

    def train(gamma: Any) -> Any:
        return compiled(optimizer)({**numbers, "mars_gamma": gamma}, params, gradients)[0]

    together = jax.vmap(train)(strengths)
    for i, gamma in enumerate(strengths):
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-5), together, train(gamma)
        )
    assert not np.allclose(together["matrix"][0], together["matrix"][2], rtol=1e-2)


def test_the_correction_follows_clipping_of_the_mean_of_accumulated_gradients() -> None:
    rng, optimizer = np.random.default_rng(0), corrected(SGD(learning_rate=1.0, momentum=0.5, clip_norm=0.1), 0.5)
    gradients = rng.normal(size=(12, 5))
    means = gradients.reshape(6, 2, 5).mean(1)
    clipped = means * np.minimum(1, 0.1 / np.linalg.norm(means, axis=1, keepdims=True))
    direction = references.mars(references.sgd(0.5), 0.5, 0.5)
    expected = -np.stack([direction(g, t) for t, g in enumerate(clipped, start=1)])
    own = dataclasses.replace(optimizer, accumulate=2)
    _, made = compiled(own)(own.hyperparameters(), jnp.zeros(5), jnp.asarray(gradients, jnp.float32))
    np.testing.assert_allclose(made[1::2], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(made[::2], 0)


def test_the_mask_and_the_correction_are_not_recorded_if_they_are_off() -> None:
    assert not {"cautious", "mars_gamma"} & AdamW().to_json().keys()
    for fields in ({"cautious": True}, {"mars_gamma": 0.0}, {"cautious": True, "mars_gamma": 0.025}):
        optimizer = dataclasses.replace(OPTIMIZERS["adamw"], **fields)
        values = {"name": OPTIMIZERS.name_of(optimizer), **optimizer.to_json()}
        assert {name: values[name] for name in fields} == fields
        assert values["name"] == "adamw"
        assert OPTIMIZERS.from_json(values) == optimizer != AdamW()


def test_a_line_search_refuses_the_correction() -> None:
    with pytest.raises(UserError, match=r"Lbfgs\.mars_gamma is 0\.025\. Expected None: the line search needs"):
        corrected(OPTIMIZERS["lbfgs"])
