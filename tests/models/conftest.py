"""The independent oracle of the models' tests: each layer in NumPy (float64), and random variables to run it with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest


class NumPyLayers:
    """The layers of the models, written from their definitions. Images are float64 in the layout NHWC."""

    @staticmethod
    def windows(x: Any, size: int, stride: int, padding: Any = 0, fill: float = 0.0) -> np.ndarray:
        """Returns all windows, with axes: batch, row, column, channel, row in the window, column in the window."""
        padded = np.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)], constant_values=fill)
        return np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride, ::stride]

    @classmethod
    def conv(cls, x: Any, params: Any, stride: int = 1, padding: Any = 0, groups: Any = 1) -> np.ndarray:
        kernel = np.asarray(params["kernel"], np.float64)
        outputs = [
            np.einsum("bhwcij,ijco->bhwo", cls.windows(part, kernel.shape[0], stride, padding), weights, optimize=True)
            for part, weights in zip(np.split(x, groups, -1), np.split(kernel, groups, -1), strict=True)
        ]
        return np.concatenate(outputs, -1) + np.asarray(params.get("bias", 0), np.float64)

    @classmethod
    def max_pool(cls, x: Any, size: int, stride: int) -> np.ndarray:
        return cls.windows(x, size, stride).max((-1, -2))

    @staticmethod
    def dense(x: Any, params: Any) -> np.ndarray:
        return x @ np.asarray(params["kernel"], np.float64) + np.asarray(params["bias"], np.float64)

    @staticmethod
    def relu(x: Any) -> np.ndarray:
        return np.maximum(x, 0)

    @staticmethod
    def batch_norm(x: Any, params: Any, mean: Any, var: Any) -> np.ndarray:
        scale, bias = (np.asarray(params[name], np.float64) for name in ("scale", "bias"))
        return (x - mean) / np.sqrt(var + 1e-5) * scale + bias

    @staticmethod
    def local_response_normalization(a: Any) -> np.ndarray:
        """Krizhevsky et al. 2012, section 3.3, as the loop over channels that the paper describes."""
        k, n, alpha, beta, channels = 2, 5, 1e-4, 0.75, a.shape[-1]
        b = np.empty_like(a)
        for i in range(channels):
            around = range(max(0, i - n // 2), min(channels - 1, i + n // 2) + 1)
            b[..., i] = a[..., i] / (k + alpha * sum(a[..., j] ** 2 for j in around)) ** beta
        return b


@pytest.fixture(scope="session")
def numpy_layers() -> type[NumPyLayers]:
    return NumPyLayers


@pytest.fixture(scope="session")
def shapes_of() -> Callable[..., Any]:
    """Returns a function that gives the shapes of a module's variables, without allocating them."""

    @functools.cache
    def shapes(module: Any, *size: int, dtype: Any = np.float32) -> Any:
        examples = jax.ShapeDtypeStruct((2, *size), dtype)
        return jax.eval_shape(lambda key, x: module.init(key, x, train=False), jax.random.key(0), examples)

    return shapes


@pytest.fixture(scope="session")
def random_variables(shapes_of: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that draws variables. Biases, scales and running averages are random, too, not zero or one."""

    def leaf(rng: np.random.Generator, path: Any, shape: tuple[int, ...]) -> np.ndarray:
        kind = path[-1].key
        if kind == "kernel":
            return rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))
        return rng.uniform(0.5, 1.5, shape) if kind in ("scale", "var") else 0.3 * rng.normal(size=shape)

    def variables(module: Any, *size: int, dtype: Any = np.float32) -> Any:
        rng = np.random.default_rng(0)
        return jax.tree_util.tree_map_with_path(
            lambda path, value: leaf(rng, path, value.shape).astype(np.float32), shapes_of(module, *size, dtype=dtype)
        )

    return variables


@pytest.fixture(scope="session")
def quick_key() -> Callable[[int], Any]:
    """Returns a function that makes keys. Their draws have threefry's distribution and compile several times faster."""
    return lambda seed: jax.random.key(seed, impl="unsafe_rbg")


@pytest.fixture(scope="session")
def random_images() -> Callable[..., Any]:
    return lambda *shape: np.random.default_rng(1).normal(size=shape).astype(np.float32)
