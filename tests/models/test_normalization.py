"""Batch normalisation against Flax's and the definition in float64, with the sums of XLA and those in C++."""

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
from jaxopt_bench.models import Layers, normalization
from jaxopt_bench.models.normalization import TARGET, BatchNorm


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the kernels sum small arrays, too. Skips the test if they are not built."""
    if kernels.onednn_version() is None:
        pytest.skip("the CPU kernels are not built, or without oneDNN (make kernels)")
    monkeypatch.setattr(normalization, "SMALLEST", 0)


def in_cpp() -> BatchNorm:
    return BatchNorm(use_running_average=False, sums_in_cpp=True)


def both(train: bool, dtype: Any) -> tuple[nn.Module, nn.Module]:
    settings = {"use_running_average": not train, "momentum": 0.9, "epsilon": 1e-5, "dtype": dtype}
    return BatchNorm(**settings), nn.BatchNorm(**settings)


def variables(channels: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    draw = lambda low, high: jnp.asarray(rng.uniform(low, high, channels), jnp.float32)  # noqa: E731
    return {
        "params": {"scale": draw(0.5, 1.5), "bias": draw(-1, 1)},
        "batch_stats": {"mean": draw(-1, 1), "var": draw(0.5, 2)},
    }


def results(norm: nn.Module, x: Any) -> tuple[Any, Any, Any]:
    """Returns the output, the updated running statistics, and the gradients for the parameters and the input."""

    @jax.jit
    def run(x: Any) -> tuple[Any, Any, Any]:
        given = variables(x.shape[-1])

        def forward(params: Any, x: Any) -> tuple[Any, Any]:
            return norm.apply({**given, "params": params}, x, mutable=["batch_stats"])

        y, pull, moved = jax.vjp(forward, given["params"], x, has_aux=True)
        return y, moved, pull(jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape).astype(y.dtype))

    return run(x)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("shape", [(16, 5, 4, 3), (7, 6), (1, 1, 9, 2)])
def test_outputs_running_statistics_and_gradients_are_those_of_flax(
    random_images: Callable[..., Any], train: bool, shape: tuple[int, ...]
) -> None:
    x = jnp.asarray(2 + 3 * random_images(*shape))
    ours, flax = (results(norm, x) for norm in both(train, jnp.float32))
    assert jax.tree.structure(ours) == jax.tree.structure(flax)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), ours, flax)


def test_the_gradient_is_that_of_the_definition_in_float64(random_images: Callable[..., Any]) -> None:
    with jax.enable_x64(True):
        x = jnp.asarray(random_images(6, 3, 3, 2), jnp.float64)
        weights = jnp.cos(jnp.arange(x.size, dtype=jnp.float64)).reshape(x.shape)
        params = jax.tree.map(lambda a: a.astype(jnp.float64), variables(2)["params"])

        def definition(params: Any, x: Any) -> Any:
            mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
            return (weights * ((x - mean) / jnp.sqrt(var + 1e-5) * params["scale"] + params["bias"])).sum()

        def ours(params: Any, x: Any) -> Any:
            given = {**variables(2), "params": params}
            return (weights * both(True, jnp.float64)[0].apply(given, x, mutable=["batch_stats"])[0]).sum()

        gradients = (jax.jit(jax.grad(f, (0, 1)))(params, x) for f in (ours, definition))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), *gradients)


def test_the_running_statistics_have_the_right_gradient(random_images: Callable[..., Any]) -> None:
    x = jnp.asarray(random_images(6, 3, 3, 2))

    def moved(norm: nn.Module) -> Any:
        stats = lambda x: norm.apply(variables(2), x, mutable=["batch_stats"])[1]["batch_stats"]  # noqa: E731
        return jax.jit(jax.grad(lambda x: (stats(x)["mean"] + 3 * stats(x)["var"]).sum()))(x)

    np.testing.assert_allclose(*(moved(norm) for norm in both(True, jnp.float32)), rtol=1e-5, atol=1e-7)


def test_bfloat16_activations_have_float32_statistics(random_images: Callable[..., Any]) -> None:
    x = jnp.asarray(2 + 3 * random_images(16, 5, 4, 3)).astype(jnp.bfloat16)
    ours, flax = (results(norm, x) for norm in both(True, jnp.bfloat16))
    assert ours[0].dtype == ours[2][1].dtype == jnp.bfloat16
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours[1], flax[1])
    widened = (jax.tree.map(lambda a: a.astype(jnp.float32), (r[0], r[2])) for r in (ours, flax))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0.03, atol=0.03), *widened)


def test_a_constant_channel_gives_the_bias_and_no_gradient_of_the_scale() -> None:
    # The mean of 16 equal values is exact.
    y, _, (params, x) = results(both(True, jnp.float32)[0], jnp.full((4, 2, 2, 1), 7.0))
    np.testing.assert_allclose(y, np.broadcast_to(variables(1)["params"]["bias"], y.shape), rtol=1e-6)
    assert np.isfinite(x).all()
    assert float(params["scale"][0]) == 0


def test_variables_are_interchangeable_with_those_of_flax() -> None:
    x = jnp.ones((2, 4, 4, 3))
    ours, flax = (norm.init(jax.random.key(0), x) for norm in both(True, jnp.float32))
    jax.tree.map(np.testing.assert_array_equal, ours, flax)


SHAPES = [(131, 1), (200, 7), (2, 70, 48), (64, 128), (3, 300), (4, 16, 32, 16), (33, 9, 5, 24)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_statistics_and_gradients_with_sums_in_cpp_agree_with_float64(
    built: None, random_images: Callable[..., Any], shape: tuple[int, ...]
) -> None:
    x = np.asarray(2 + 3 * random_images(*shape), np.float32)
    (y, moved, (params, gradient)), given = results(in_cpp(), jnp.asarray(x)), variables(shape[-1])
    rows = tuple(range(x.ndim - 1))
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (given["params"], x))

        def definition(params: Any, x: Any) -> Any:
            deviations = (x - x.mean(rows)) / jnp.sqrt(x.var(rows) + 1e-5)
            return deviations * params["scale"] + params["bias"]

        value, pull = jax.vjp(definition, *wide)
        exact = (value, *pull(jnp.cos(jnp.arange(x.size, dtype=jnp.float64)).reshape(x.shape)))
    for found, expected in zip(*map(jax.tree.leaves, ((y, params, gradient), exact)), strict=True):
        assert found.dtype == jnp.float32
        size = max(1, np.abs(expected).max())
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5 * size)
    for name, moments in (("mean", np.mean(x, rows, float)), ("var", np.var(x, rows, float))):
        expected = 0.9 * np.asarray(given["batch_stats"][name]) + 0.1 * moments
        np.testing.assert_allclose(moved["batch_stats"][name], expected, rtol=1e-5, atol=1e-6)


def test_one_nan_spoils_only_its_channel_with_sums_in_cpp(built: None, random_images: Callable[..., Any]) -> None:
    x = np.array(random_images(64, 20), np.float32)
    x[3, 7] = np.nan
    found = results(in_cpp(), jnp.asarray(x))[0]
    assert np.isnan(found[:, 7]).all()
    assert np.isfinite(np.delete(found, 7, 1)).all()


def test_loops_and_maps_agree_bit_for_bit_with_sums_in_cpp(built: None, random_images: Callable[..., Any]) -> None:
    xs = jnp.asarray(random_images(6, 130, 20), jnp.float32)
    one = jax.jit(lambda x: results(in_cpp(), x))
    alone = [one(x) for x in xs]
    for together in (jax.jit(lambda xs: lax.map(one, xs))(xs), jax.jit(jax.vmap(one))(xs)):
        for i, expected in enumerate(alone):
            jax.tree.map(lambda a, b, i=i: np.testing.assert_array_equal(a[i], b), together, expected)


@pytest.mark.parametrize(
    ("path", "train", "dtype", "calls"),
    [
        ("onednn", True, "float32", 2),  # forward and backward
        ("onednn", False, "float32", 0),
        ("onednn", True, "bfloat16", 0),
        ("pure", True, "float32", 0),
        ("native", True, "float32", 0),
        ("plain", True, "float32", 0),
    ],
)
def test_training_in_float32_on_the_onednn_path_sums_in_cpp(
    built: None, path: Any, train: bool, dtype: Any, calls: int
) -> None:
    layer, x = Layers(dtype=dtype, path=path).batch_norm(train=train, name="norm"), jnp.ones((9, 4, 8), dtype)

    def loss(x: Any) -> Any:
        return (layer.apply(variables(8), x, mutable=["batch_stats"])[0].astype(jnp.float32) ** 3).sum()

    assert str(jax.make_jaxpr(jax.grad(loss))(x)).count(TARGET) == calls


def test_small_arrays_are_summed_by_xla() -> None:
    x = jnp.ones((normalization.SMALLEST // 16 - 1, 16))
    assert TARGET not in str(jax.make_jaxpr(lambda x: in_cpp().init(jax.random.key(0), x))(x))


def test_the_error_without_the_kernels_names_the_command_to_build_them(
    kernels_at: Callable[[pathlib.Path], None], tmp_path: pathlib.Path
) -> None:
    kernels_at(tmp_path / "kernels.so")
    with pytest.raises(UserError, match=r"kernels\.so is not built, .*`jaxopt-bench kernels`"):
        in_cpp().init(jax.random.key(0), jnp.ones((normalization.SMALLEST, 1)))
