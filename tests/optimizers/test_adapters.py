"""Zero gradients: Prodigy and D-Adaptation match their authors' code, and updates of all optimizers are finite."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from jaxopt_bench.optimizers import OPTIMIZERS, Optimizer, StepContext
from jaxopt_bench.optimizers.adapters import MatrixAxes, dadapt_adamw, matrices, prodigy
from tests.optimizers.few import slow_but_a_few

SHAPES = {"kernel": (4, 3), "bias": (3,)}
STEPS = 12

Arrays = dict[str, np.ndarray]


def gradients(zero: dict[str, tuple[int, ...]]) -> list[Arrays]:
    """Returns the gradients of all steps. Those of each named leaf are zero at the given steps."""
    rng = np.random.default_rng(0)
    steps = [{name: rng.normal(size=shape) for name, shape in SHAPES.items()} for _ in range(STEPS)]
    return [{name: g[name] * (t not in zero.get(name, ())) for name in SHAPES} for t, g in enumerate(steps)]


def everywhere(*steps: int) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(SHAPES, steps)


CASES = {
    "the first": everywhere(0),
    "the first five": everywhere(0, 1, 2, 3, 4),
    "two later ones": everywhere(3, 7),
    "the first and two later ones": everywhere(0, 4, 5),
    "one leaf's": {"kernel": tuple(range(STEPS))},
    "one leaf's first": {"bias": (0, 1)},
    "all": everywhere(*range(STEPS)),
    "none": {},
}
START = {name: np.random.default_rng(1).normal(size=shape) for name, shape in SHAPES.items()}


def authors_prodigy(
    grads: list[Arrays],
    rates: np.ndarray,
    betas: tuple[float, float],
    decay: float,
    d0: float = 1e-6,
    eps: float = 1e-8,
) -> list[Arrays]:
    """Returns the parameters after each step of konstmish/prodigy's `Prodigy.step` with `use_bias_correction=True`."""
    (beta1, beta2), beta3 = betas, betas[1] ** 0.5
    p = {name: value.copy() for name, value in START.items()}
    m, v, s = ({name: np.zeros_like(value) for name, value in p.items()} for _ in range(3))
    d, numerator, k, path = d0, 0.0, 0, []
    for grad, lr in zip(grads, rates, strict=True):
        dlr = d * lr * (1 - beta2 ** (k + 1)) ** 0.5 / (1 - beta1 ** (k + 1))
        new_numerator, denominator = numerator * beta3, 0.0
        for name, g in grad.items():
            new_numerator += (d / d0) * dlr * np.vdot(g, START[name] - p[name])
            m[name] = beta1 * m[name] + d * (1 - beta1) * g
            v[name] = beta2 * v[name] + d * d * (1 - beta2) * g * g
            s[name] = beta3 * s[name] + (d / d0) * dlr * g
            denominator += np.abs(s[name]).sum()
        if denominator != 0:  # else: return loss
            numerator, d = new_numerator, max(d, new_numerator / denominator)
            for name in p:
                p[name] = p[name] - decay * dlr * p[name] - dlr * m[name] / (np.sqrt(v[name]) + d * eps)
            k += 1
        path.append(dict(p))
    return path


def authors_dadapt_adam(
    grads: list[Arrays],
    rates: np.ndarray,
    betas: tuple[float, float],
    decay: float,
    d0: float = 1e-6,
    eps: float = 1e-8,
) -> list[Arrays]:
    """Returns the parameters after each step of facebookresearch/dadaptation's `DAdaptAdam.step`.

    The options are `use_bias_correction=True` and `decouple=True`.
    """
    (beta1, beta2), root = betas, betas[1] ** 0.5
    p = {name: value.copy() for name, value in START.items()}
    m, v, s = ({name: np.zeros_like(value) for name, value in p.items()} for _ in range(3))
    d, numerator, k, path = d0, 0.0, 0, []
    for grad, lr in zip(grads, rates, strict=True):
        dlr = d * lr * (1 - beta2 ** (k + 1)) ** 0.5 / (1 - beta1 ** (k + 1))
        gained, sk_l1 = 0.0, 0.0
        for name, g in grad.items():
            gained += dlr * np.vdot(g, s[name] / (np.sqrt(v[name]) + eps))
            m[name] = beta1 * m[name] + dlr * (1 - beta1) * g
            v[name] = beta2 * v[name] + (1 - beta2) * g * g
            s[name] = root * s[name] + dlr * (1 - root) * g
            sk_l1 += np.abs(s[name]).sum()
        if sk_l1 != 0:  # else: return loss
            numerator = root * numerator + (1 - root) * gained
            d = max(d, numerator / ((1 - root) * sk_l1))
            for name in p:
                p[name] = p[name] - decay * dlr * p[name] - m[name] / (np.sqrt(v[name]) + eps)
            k += 1
        path.append(dict(p))
    return path


@functools.cache
def compiled_step(optimizer: Optimizer) -> Any:
    """Returns a compiled step of an optimizer, which all cases share."""

    @jax.jit
    def step(params: Any, state: Any, grad: Any, rate: Any) -> Any:
        transform = optimizer.transform(optimizer.hyperparameters(jnp.float64), StepContext(rate))
        updates, state = transform.update(grad, state, params)
        return optax.apply_updates(params, updates), state

    return step


def ours(optimizer: Optimizer, grads: list[Arrays], rates: np.ndarray) -> list[Arrays]:
    """Returns our parameters after each step, in float64."""
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, START)
        state, path = optimizer.transform(optimizer.hyperparameters(jnp.float64)).init(params), []
        for grad, rate in zip(grads, rates, strict=True):
            params, state = compiled_step(optimizer)(params, state, grad, rate)
            path.append({name: np.asarray(value) for name, value in params.items()})
        return path


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.9), (0.9, 0.0)])
@pytest.mark.parametrize(("name", "reference"), [("prodigy", authors_prodigy), ("dadapt_adamw", authors_dadapt_adam)])
def test_updates_match_the_authors_code_if_some_gradients_are_zero(
    name: str, reference: Callable[..., list[Arrays]], betas: tuple[float, float], case: str
) -> None:
    """With b2 = 0 the sum in the denominator has no memory, so a later zero gradient acts like a first one."""
    grads, rates = gradients(CASES[case]), np.linspace(1, 0.2, STEPS)
    optimizer = dataclasses.replace(OPTIMIZERS[name], weight_decay=0.1, betas=betas, estim_lr0=1e-3)  # type: ignore[call-arg]
    found, expected = ours(optimizer, grads, rates), reference(grads, rates, betas, 0.1, d0=1e-3)
    for mine, theirs in zip(found, expected, strict=True):
        for leaf in SHAPES:
            np.testing.assert_allclose(mine[leaf] - START[leaf], theirs[leaf] - START[leaf], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("guarded", "bare"), [(prodigy, contrib.prodigy), (dadapt_adamw, contrib.dadapt_adamw)], ids=["prodigy", "dadapt"]
)
def test_updates_and_states_equal_optaxs_bit_for_bit_after_a_nonzero_gradient(guarded: Any, bare: Any) -> None:
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), START)
    grads = jax.tree.map(
        lambda *leaves: jnp.asarray(np.stack(leaves), jnp.float32), *gradients(CASES["two later ones"])
    )

    def trained(factory: Any) -> Any:
        rule = factory(jnp.float32(0.7), weight_decay=jnp.float32(0.1))

        def step(carry: Any, grad: Any) -> Any:
            params, state = carry
            updates, state = rule.update(grad, state, params)
            return (optax.apply_updates(params, updates), state), updates

        return jax.jit(lambda: jax.lax.scan(step, (params, rule.init(params)), grads))()

    jax.tree.map(np.testing.assert_array_equal, trained(guarded), trained(bare))


PARAMS = {"conv": {"kernel": (3, 3, 2, 4), "bias": (4,)}, "head": {"kernel": (5, 3), "bias": (3,)}}
ZERO_AT = {"first": ((0, 1), ()), "later": ((3,), ()), "leaf": ((), ("conv",))}


@pytest.mark.parametrize("name", slow_but_a_few(sorted(n for n in OPTIMIZERS if not OPTIMIZERS[n].line_search)))
def test_zero_gradients_make_finite_updates(name):
    """The gradient is all zero in the first two steps or in a later one, or always zero for one layer."""
    optimizer, key = OPTIMIZERS[name], jax.random.key(0)
    hyperparameters, rng = optimizer.hyperparameters(), np.random.default_rng(0)

    def tree(leading: tuple[int, ...] = ()) -> Any:
        is_shape = lambda node: isinstance(node, tuple)  # noqa: E731
        return jax.tree.map(lambda s: jnp.asarray(rng.normal(size=leading + s), jnp.float32), PARAMS, is_leaf=is_shape)

    def zeroed(steps: tuple[int, ...], layers: tuple[str, ...]) -> Any:
        kept = np.array([t not in steps for t in range(5)])
        return {
            layer: jax.tree.map(lambda g, at=kept & (layer not in layers): jnp.einsum("t...,t->t...", g, at), leaves)
            for layer, leaves in grads.items()
        }

    @jax.jit
    @jax.vmap
    def trained(gradients: Any) -> Any:
        def step(carry: Any, grad: Any) -> Any:
            params, state = carry
            transform = optimizer.transform(hyperparameters, StepContext(key=key))
            updates, state = transform.update(grad, state, params, value=jnp.float32(2.0))
            params = optax.apply_updates(params, updates)
            return (params, state), (updates, optimizer.evaluation_parameters(state, params))

        state = optimizer.transform(hyperparameters, StepContext(key=key)).init(params)
        return jax.lax.scan(step, (params, state), gradients)[1]

    params, grads = tree(), tree((5,))
    cases = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(zeroed(*where) for where in ZERO_AT.values()))
    for leaf in jax.tree.leaves(trained(cases)):
        finite = np.isfinite(leaf).reshape(len(ZERO_AT), -1).all(1)
        assert finite.all(), dict(zip(ZERO_AT, finite, strict=True))


def test_kernels_are_matrices_except_the_head_embeddings_and_positions():
    """Jordan et al. (2024) leave embeddings and the head of a language model to Adam."""
    params = {
        "embed": {"embedding": jnp.zeros((5, 4))},
        "positions": jnp.zeros((3, 4)),
        "dense": {"kernel": jnp.zeros((4, 6)), "bias": jnp.zeros(6)},
        "gru1": {"kernel": jnp.zeros((4, 12))},
        "conv1": {"kernel": jnp.zeros((3, 2, 4))},
        "head": {"kernel": jnp.zeros((4, 5)), "bias": jnp.zeros(5)},
    }
    found = jax.tree_util.tree_leaves_with_path(matrices(params), is_leaf=lambda leaf: isinstance(leaf, MatrixAxes))
    assert {path[0].key: tuple(axes) for path, axes in found} == {
        "dense": ((0,), 1), "gru1": ((0,), 1), "conv1": ((0, 1), 2),
    }  # fmt: skip
