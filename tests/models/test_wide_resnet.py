"""Wide residual networks: parameter counts by formula and as published, and forward passes against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from jaxopt_bench.models import WideResNet, count_parameters


@pytest.mark.parametrize(
    ("depth", "width", "total", "published"),
    [(16, 4, 2_748_890, "2.7"), (28, 10, 36_479_194, "36.5"), (40, 4, 8_949_210, "8.9"), (10, 1, 77_850, None)],
)
def test_parameter_counts_are_those_of_the_formula_and_the_published_ones(
    shapes_of: Callable[..., Any], depth: Any, width: int, total: int, published: str | None
) -> None:
    by_hand, inputs = 9 * 3 * 16, 16
    for features in (16 * width, 32 * width, 64 * width):
        for block in range((depth - 4) // 6):
            before = inputs if block == 0 else features
            by_hand += 2 * before + 9 * before * features + 2 * features + 9 * features * features
            by_hand += before * features if before != features else 0
        inputs = features
    by_hand += 2 * inputs + inputs * 10 + 10
    assert count_parameters(shapes_of(WideResNet(depth, width).module(10), 32, 32, 3)["params"]) == by_hand == total
    assert published is None or f"{total / 1e6:.1f}" == published


@pytest.mark.parametrize("train", [False, True])
def test_forward_pass_is_that_of_numpy(
    numpy_layers: Any, random_variables: Callable[..., Any], random_images: Callable[..., Any], train: bool
) -> None:
    module, images = WideResNet(16, 2).module(10), random_images(4, 9, 9, 3)
    variables = random_variables(module, 9, 9, 3)

    def active(x: Any, params: Any, averages: Any, name: str) -> Any:
        running = averages[name]
        mean, var = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if train else (running["mean"], running["var"])
        return numpy_layers.relu(numpy_layers.batch_norm(x, params[name], mean, var))

    params, averages = variables["params"], variables["batch_stats"]
    x = numpy_layers.conv(images.astype(np.float64), params["conv_stem"], padding=1)
    for stage in (1, 2, 3):
        for block in (1, 2):
            own, old = (each[f"stage{stage}_block{block}"] for each in (params, averages))
            stride = 2 if stage > 1 and block == 1 else 1
            first = active(x, own, old, "norm1")
            y = active(numpy_layers.conv(first, own["conv1"], stride, padding=1), own, old, "norm2")
            y = numpy_layers.conv(y, own["conv2"], padding=1)
            assert ("conv_shortcut" in own) == (block == 1)
            x = y + (numpy_layers.conv(first, own["conv_shortcut"], stride) if block == 1 else x)
    expected = numpy_layers.dense(active(x, params, averages, "norm").mean((1, 2)), params["head"])
    logits, _ = module.apply(variables, images, train=train, mutable=["batch_stats"])
    np.testing.assert_allclose(logits, expected, atol=2e-4 * np.abs(expected).max())


def test_dropout_is_active_only_in_training(
    random_variables: Callable[..., Any], random_images: Callable[..., Any], quick_key: Callable[[int], Any]
) -> None:
    module, plain, images = WideResNet(10, 1, 0.3).module(10), WideResNet(10, 1).module(10), random_images(4, 8, 8, 3)
    variables = random_variables(module, 8, 8, 3)

    def logits(module: Any, train: bool, seed: int) -> Any:
        apply = jax.jit(
            lambda v, x, key: module.apply(v, x, train=train, rngs={"dropout": key}, mutable=["batch_stats"])
        )
        return np.asarray(apply(variables, images, quick_key(seed))[0])

    np.testing.assert_array_equal(logits(module, False, 0), logits(plain, False, 0))
    np.testing.assert_array_equal(logits(module, True, 0), logits(module, True, 0))
    assert (logits(module, True, 0) != logits(module, True, 1)).any()
