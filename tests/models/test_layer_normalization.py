"""Layer normalisation in C++: values and gradients in float64, arrays left to Flax, and bits in loops."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from jaxopt_bench import UserError, kernels
from jaxopt_bench.models import Layers, layer_normalization
from jaxopt_bench.models.layer_normalization import GRADIENT_TARGET, TARGET, LayerNorm

At = Callable[[pathlib.Path], None]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the kernels normalise small arrays, too. Skips the test if they are not built."""
    if kernels.onednn_version() is None:
        pytest.skip("the CPU kernels are not built, or without oneDNN (make kernels)")
    monkeypatch.setattr(layer_normalization, "SMALLEST", 0)


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def normalised(x: Any, scale: Any, bias: Any) -> Any:
    return LayerNorm().apply({"params": {"scale": scale, "bias": bias}}, x)


def in_float64(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, cotangent: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns the values and the gradients of x, scale and bias.

    The gradient of x is the cotangent multiplied by the Jacobian of each row, which is written out as a matrix.
    """
    x, scale, bias, cotangent = (np.asarray(array, float) for array in (x, scale, bias, cotangent))
    width = x.shape[-1]
    centred = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    unit = centred / deviation
    centring = np.eye(width) - 1 / width
    jacobians = (centring - unit[..., :, None] * unit[..., None, :] / width) / deviation[..., None]
    of_x = np.einsum("...i,...ij->...j", cotangent * scale, jacobians)
    rows = tuple(range(x.ndim - 1))
    return unit * scale + bias, of_x, (cotangent * unit).sum(rows), cotangent.sum(rows)


@pytest.mark.parametrize("shape", [(1, 1), (1, 16), (3, 5), (64, 33), (65, 32), (2, 70, 48), (200, 7)], ids=str)
def test_values_and_gradients_agree_with_float64(built: None, shape: tuple[int, ...]) -> None:
    x, cotangent = 3 * drawn(1, *shape) + 2, drawn(2, *shape)
    scale, bias = drawn(3, shape[-1]), drawn(4, shape[-1])
    value, gradients = jax.vjp(normalised, x, scale, bias)
    for found, exact in zip((value, *gradients(cotangent)), in_float64(x, scale, bias, cotangent), strict=True):
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, exact, rtol=2e-5, atol=2e-5 * max(1, np.abs(exact).max()))


def test_a_large_mean_does_not_hide_a_small_variance(built: None) -> None:
    x = 1000 + drawn(1, 8, 64)
    expected = in_float64(x, np.ones(64), np.zeros(64), x)[0]
    np.testing.assert_allclose(normalised(x, np.ones(64, np.float32), np.zeros(64, np.float32)), expected, atol=2e-3)


def test_one_nan_spoils_only_its_row(built: None) -> None:
    x = drawn(1, 70, 20)
    x[3, 7] = np.nan
    found = normalised(x, np.ones(20, np.float32), np.zeros(20, np.float32))
    assert np.isnan(found[3]).all()
    assert np.isfinite(np.delete(found, 3, 0)).all()


def test_loops_and_maps_agree_bit_for_bit(built: None) -> None:
    xs, scale, bias = drawn(1, 6, 130, 20), drawn(2, 20), drawn(3, 20)
    one = jax.jit(jax.grad(lambda x, s, b: (normalised(x, s, b) ** 2).sum(), (0, 1, 2)))
    alone = [one(x, scale, bias) for x in xs]
    together = (
        jax.jit(lambda xs: lax.map(lambda x: one(x, scale, bias), xs))(xs),
        jax.jit(jax.vmap(lambda x: one(x, scale, bias)))(xs),
    )
    for i, expected in enumerate(alone):
        for found in together:
            jax.tree.map(lambda a, b, i=i: np.testing.assert_array_equal(a[i], b), found, expected)


def test_the_layer_of_the_onednn_path_has_the_parameters_and_the_function_of_flax(built: None) -> None:
    x, parts = drawn(1, 4, 9, 24), []
    for path in ("onednn", "plain"):
        layer = Layers(path=path).layer_norm(name="norm")
        variables = layer.init(jax.random.key(0), x)
        loss = lambda v, x, layer=layer: (layer.apply(v, x) ** 3).sum()  # noqa: E731
        jaxpr = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(variables, x))
        assert ((TARGET in jaxpr) and (GRADIENT_TARGET in jaxpr)) == (path == "onednn")
        parts.append((variables, layer.apply(variables, x), jax.grad(loss, (0, 1))(variables, x)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), *parts)


@pytest.mark.parametrize(("x", "dtype"), [((512, 512), "bfloat16"), ((512, 512), "float16"), ((4, 8), "float32")])
def test_other_types_and_small_arrays_are_left_to_flax(x: tuple[int, ...], dtype: str) -> None:
    array, layer = jnp.asarray(drawn(1, *x), dtype), LayerNorm(dtype=jnp.dtype(dtype))
    variables = layer.init(jax.random.key(0), array)
    assert TARGET not in str(jax.make_jaxpr(layer.apply)(variables, array))
    flax = nn.LayerNorm(epsilon=1e-6, dtype=jnp.dtype(dtype))
    np.testing.assert_array_equal(layer.apply(variables, array), flax.apply(variables, array))


def test_the_error_without_the_kernels_names_the_command_to_build_them(kernels_at: At, tmp_path: pathlib.Path) -> None:
    kernels_at(tmp_path / "kernels.so")
    with pytest.raises(UserError, match=r"kernels\.so is not built, .*`jaxopt-bench kernels`"):
        LayerNorm().init(jax.random.key(0), jnp.zeros((512, 512)))
