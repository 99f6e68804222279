"""Fused updates, compared with the papers' equations and with optax's updates, and their behavior on overflow."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import subprocess
import sys
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_bench import UserError, kernels
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, Adam, AdamW, AMSGrad, Optimizer, StepContext, wrap_optimizer
from jaxopt_bench.optimizers.fused import Update, fused_update, has_fused_form
from tests.optimizers import references
from tests.optimizers.test_updates import (
    FORMS,
    SHAPES,
    STEPS,
    largest_share,
    random_gradients,
    settings,
    side_by_side,
)

FUSED = [form for form in FORMS if not form.startswith("padam")]
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def built() -> None:
    """Skips the tests of this file if the library is not built."""
    if kernels.library() is None:
        pytest.skip("the CPU kernels are not built (make kernels)")


@functools.cache
def compiled(static: Optimizer) -> Any:
    """Returns a compiled function that returns, for one optimizer, the parameters before and after each step."""

    def run(hyperparameters: Any, params: Any, gradients: Any, multipliers: Any) -> Any:
        def step(carry: Any, inputs: Any) -> Any:
            params, state = carry
            gradient, multiplier = inputs
            made = fused_update(static, hyperparameters, StepContext(multiplier), gradient, state, params)
            return (made.params, made.opt_state), (params, made.params)

        start = static.transform(hyperparameters).init(params)
        return jax.lax.scan(step, (params, start), (gradients, multipliers))[1]

    return jax.jit(run)


def largest_error(form: str, settings: dict[str, float], seed: int) -> float:
    """Returns the largest error of a step against the equations, as a share of the array's largest update.

    Each step of the equations starts from our parameters before the step. A rounding of the parameters is not an error.
    """
    static, reference, taken = FORMS[form]
    rng = np.random.default_rng(seed)
    params = {name: np.asarray(rng.normal(size=shape), np.float32) for name, shape in SHAPES.items()}
    gradients = {name: random_gradients(rng, shape).astype(np.float32) for name, shape in SHAPES.items()}
    multipliers = np.cumprod(rng.uniform(0.9, 1.0, STEPS)).astype(np.float32)
    given = {k: float(np.float32(v)) for k, v in settings.items() if getattr(static, k, None) is not None}
    optimizer = dataclasses.replace(static, **given)
    made = compiled(static)(optimizer.hyperparameters(), params, gradients, multipliers)
    before, after = map(side_by_side, made)
    expected = np.stack(
        list(
            references.updates(
                reference(**{field: getattr(optimizer, field) for field in taken}),
                before,
                side_by_side(gradients),
                optimizer.learning_rate * multipliers.astype(float),
                optimizer.weight_decay,
                decoupled=optimizer.decay_form == "decoupled",
            )
        )
    )
    rounding = np.finfo(np.float32).eps * np.maximum(np.abs(before), np.abs(after))
    errors = np.maximum(0, np.abs(after - before - expected) - rounding)
    return largest_share(errors, expected, np.finfo(np.float32).tiny)


@pytest.mark.parametrize("form", FUSED)
@hypothesis.settings(max_examples=50)
@hypothesis.given(settings=settings(st.floats(0.5, 0.999)), seed=st.integers(0, 2**32 - 1))
def test_updates_follow_the_paper(form: str, settings: dict[str, float], seed: int) -> None:
    assert largest_error(form, settings, seed) <= 1e-5


@pytest.mark.parametrize("form", [form for form in FUSED if "b2" in FORMS[form][2]])
@hypothesis.settings(max_examples=20)
@hypothesis.given(settings=settings(st.floats(0.999, 0.9999)), seed=st.integers(0, 2**32 - 1))
def test_updates_follow_the_paper_with_a_long_second_moment(form: str, settings: dict[str, float], seed: int) -> None:
    """In float32, 1 − b2 has only a few significant digits."""
    assert largest_error(form, settings, seed) <= 1e-4


def drawn(seed: int, scale: float = 1.0, sizes: tuple[int, ...] = (70, 1, 300_001)) -> dict[str, jax.Array]:
    """Returns arrays, including a matrix. The largest array is computed in several blocks."""
    rng = np.random.default_rng(seed)
    arrays = {f"array{i}": rng.normal(scale=scale, size=size) for i, size in enumerate(sizes)}
    arrays["matrix"], arrays["scalar"] = rng.normal(scale=scale, size=(30, 7)), rng.normal(scale=scale)
    return {name: jnp.asarray(array, jnp.float32) for name, array in arrays.items()}


def update(optimizer: Optimizer, gradient: Any, state: Any, params: Any, loss: float | None = 1.0) -> Update:
    given = None if loss is None else jnp.float32(loss)
    return fused_update(
        optimizer, optimizer.hyperparameters(), StepContext(0.5, key=KEY), gradient, state, params, given
    )


@pytest.mark.parametrize("form", FUSED)
@pytest.mark.parametrize("mask", ["all", "kernels"])
def test_fused_updates_and_optax_can_continue_from_each_others_state(form: str, mask: Any) -> None:
    """Two steps of each, in either order, give the results of four steps of one of them, except for rounding."""
    optimizer = dataclasses.replace(FORMS[form][0], weight_decay=0.1, decay_mask=mask)
    transform = optimizer.transform(optimizer.hyperparameters(), StepContext(0.5, key=KEY))

    def by_optax(gradient: Any, state: Any, params: Any) -> tuple[Any, Any]:
        updates, state = transform.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    def fused(gradient: Any, state: Any, params: Any) -> tuple[Any, Any]:
        made = update(optimizer, gradient, state, params)
        return made.params, made.opt_state

    ends = []
    for steps in ([by_optax] * 4, [fused] * 4, [by_optax, by_optax, fused, fused], [fused, fused, by_optax, by_optax]):
        params = drawn(0)
        state = transform.init(params)
        for i, step in enumerate(steps):
            params, state = step(drawn(i + 1, 0.1), state, params)
        ends.append((params, state))
    for other in ends[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7), ends[0], other)
        assert jax.tree.map(jnp.result_type, other) == jax.tree.map(jnp.result_type, ends[0])


def test_norms_are_those_of_the_gradient_and_of_the_change_of_the_parameters() -> None:
    optimizer, params, gradient = SGD(learning_rate=0.25), drawn(0), drawn(1)
    made = update(optimizer, gradient, optimizer.transform(optimizer.hyperparameters()).init(params), params)
    exact = np.sqrt(sum(float(np.sum(np.square(np.asarray(leaf, float)))) for leaf in gradient.values()))
    np.testing.assert_allclose(made.gradient_norm, exact, rtol=1e-6)
    np.testing.assert_allclose(made.update_norm, 0.125 * exact, rtol=1e-6)
    assert made.sound


@pytest.mark.parametrize(
    "optimizer", [SGD(), SGD(momentum=0.9), AdamW(), AMSGrad()], ids=lambda own: type(own).__name__
)
def test_an_array_is_updated_bit_for_bit_like_its_parts(optimizer: Optimizer) -> None:
    """So the bits of an element do not depend on the block in which it is computed."""
    whole, gradient = drawn(0, sizes=(300_003,))["array0"], drawn(1, sizes=(300_003,))["array0"]
    cuts = [1, 17, 5_000, 200_000]
    results = []
    for params, gradients in (([whole], [gradient]), (jnp.split(whole, cuts), jnp.split(gradient, cuts))):
        state = optimizer.transform(optimizer.hyperparameters()).init(params)
        made = update(optimizer, gradients, state, params)
        again = update(optimizer, gradients, made.opt_state, made.params)
        results.append(np.concatenate(again.params))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(
    ("optimizer", "scale", "loss"),
    [
        (SGD(learning_rate=3e38), 10.0, 1.0),
        (SGD(), 1e25, 1.0),
        (Adam(), 1e25, 1.0),
        (Adam(), np.nan, 1.0),
        (Adam(), np.inf, 1.0),
        (SGD(), 1.0, np.nan),
        (SGD(), 1.0, np.inf),
    ],
    ids=str,
)
def test_parameters_do_not_change_if_anything_is_not_finite(optimizer: Optimizer, scale: float, loss: float) -> None:
    params, gradient = drawn(0), drawn(1)
    gradient["array2"] = gradient["array2"].at[200_000].mul(scale)  # one element, far after the first block
    state = optimizer.transform(optimizer.hyperparameters()).init(params)
    made = jax.jit(functools.partial(update, optimizer, loss=loss))(gradient, state, params)
    assert not made.sound
    jax.tree.map(np.testing.assert_array_equal, made.params, params)


def test_without_a_loss_parameters_change_even_if_norms_are_not_finite() -> None:
    optimizer, params, gradient = SGD(), drawn(0), drawn(1)
    gradient["scalar"] = jnp.float32(np.nan)
    made = update(optimizer, gradient, optimizer.transform(optimizer.hyperparameters()).init(params), params, None)
    assert np.isnan(made.params["scalar"])
    assert np.isfinite(made.params["array0"]).all()
    assert not np.array_equal(made.params["array0"], params["array0"])


def test_the_number_of_threads_does_not_change_any_bit(tmp_path: pathlib.Path) -> None:
    code = f"""
import numpy as np
from tests.optimizers.test_fused import AdamW, drawn, update
optimizer = AdamW()
params, gradient = (drawn(seed, sizes=(400_001,)) for seed in (0, 1))
made = update(optimizer, gradient, optimizer.transform(optimizer.hyperparameters()).init(params), params)
np.savez({str(tmp_path)!r} + "/" + __import__("os").environ["NPROC"], *made.params.values(), *made[2:])
"""
    root = pathlib.Path(__file__).parents[2]
    for threads in ("1", "2", "5"):
        environment = {**os.environ, "NPROC": threads, "PYTHONPATH": str(root)}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, cwd=root)
    one, *others = (np.load(tmp_path / f"{threads}.npz") for threads in ("1", "2", "5"))
    for other in others:
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(
    "optimizer",
    [
        Adam(clip_norm=1.0),
        Adam(clip_adaptive=0.1),
        Adam(accumulate=2),
        Adam(ema_decay=0.9),
        Adam(swa_start=0.5),
        OPTIMIZERS["padam"],
        OPTIMIZERS["lion"],
        wrap_optimizer(optax.adam)(learning_rate=1e-3),
    ],
    ids=str,
)
def test_optimizers_with_other_rules_or_with_wrappers_have_no_fused_form(optimizer: Optimizer) -> None:
    assert not has_fused_form(optimizer, drawn(0))


def test_parameters_of_other_types_have_no_fused_form() -> None:
    params = drawn(0)
    assert has_fused_form(Adam(), params)
    assert not has_fused_form(Adam(), {**params, "array0": params["array0"].astype(jnp.bfloat16)})


def test_without_the_library_the_error_explains_how_to_build_it(kernels_at: Any, tmp_path: pathlib.Path) -> None:
    kernels_at(tmp_path / "kernels.so")
    with pytest.raises(
        UserError,
        match=r"kernels\.so is not built\. `jaxopt-bench kernels` .* builds it\. Or set JAXOPT_BENCH_UPDATES=optax",
    ):
        update(Adam(), drawn(0), Adam().transform(Adam().hyperparameters()).init(drawn(0)), drawn(0))
