"""GELU: values and gradients against the error function of SciPy in float64, and at the ends of the range."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxopt_bench.models import Layers
from jaxopt_bench.models.activations import gelu

POINTS = np.concatenate([np.linspace(-12, 12, 4801), [0.0, 1e-30, -1e-30, 1e20, -1e20]]).astype(np.float32)


def in_float64(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the values and the derivatives."""
    x = x.astype(float)
    cdf = scipy.special.erfc(-x / np.sqrt(2)) / 2
    return x * cdf, cdf + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def test_values_and_derivatives_agree_with_float64() -> None:
    values, gradient = jax.vjp(gelu, POINTS)
    for found, exact in zip((values, *gradient(np.ones_like(POINTS))), in_float64(POINTS), strict=True):
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, exact, rtol=1e-6, atol=2e-6)


def test_the_gradient_is_multiplied_by_the_cotangent() -> None:
    x, cotangent = POINTS[:5].reshape(5, 1), np.arange(5, dtype=np.float32).reshape(5, 1)
    (found,) = jax.vjp(gelu, x)[1](cotangent)
    np.testing.assert_allclose(found, cotangent * in_float64(x)[1], rtol=1e-6, atol=2e-6)


def test_nan_stays_nan() -> None:
    value, gradient = jax.value_and_grad(gelu)(jnp.nan)
    assert np.isnan(value)
    assert np.isnan(gradient)


@pytest.mark.parametrize("path", ["plain", "native", "pure", "onednn"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_all_paths_compute_the_same_function(path: str, dtype: jnp.dtype) -> None:
    x = jnp.asarray(POINTS[:4801], dtype)
    layers = Layers(path=path)  # type: ignore[arg-type]
    values, gradient = jax.vjp(layers.gelu, x)
    tolerance = 2e-6 if dtype == jnp.float32 else 0.05
    for found, exact in zip((values, *gradient(jnp.ones_like(x))), in_float64(np.asarray(x)), strict=True):
        assert found.dtype == dtype
        np.testing.assert_allclose(np.asarray(found, float), exact, rtol=tolerance, atol=tolerance)
