"""AlexNet's parameters counted by hand, its forward passes against NumPy, and the accepted image sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.models import AlexNet, AlexNetSmall, count_parameters


def counted(convolutions: list[tuple[int, int, int]], dense: list[tuple[int, int]]) -> int:
    """Counts parameters of convolutions (side, channels of a filter, filters) and of dense layers (inputs, outputs)."""
    return sum(k * k * c * f + f for k, c, f in convolutions) + sum(i * o + o for i, o in dense)


@pytest.mark.parametrize(
    ("groups", "convolutions", "total"),
    [
        (False, [(11, 3, 96), (5, 96, 256), (3, 256, 384), (3, 384, 384), (3, 384, 256)], 62_378_344),
        (True, [(11, 3, 96), (5, 48, 256), (3, 256, 384), (3, 192, 384), (3, 192, 256)], 60_965_224),
    ],
)
def test_parameters_of_the_paper(
    shapes_of: Callable[..., Any], groups: Any, convolutions: list[tuple[int, int, int]], total: int
) -> None:
    params = shapes_of(AlexNet(stem="imagenet", groups=groups).module(1000), 227, 227, 3)["params"]
    by_hand = counted(convolutions, [(6 * 6 * 256, 4096), (4096, 4096), (4096, 1000)])
    assert count_parameters(params) == by_hand == total


def test_parameters_on_cifar(shapes_of: Callable[..., Any]) -> None:
    params = shapes_of(AlexNet().module(100), 32, 32, 3)["params"]
    convolutions = [(5, 3, 96), (5, 96, 256), (3, 256, 384), (3, 384, 384), (3, 384, 256)]
    by_hand = counted(convolutions, [(3 * 3 * 256, 4096), (4096, 4096), (4096, 100)])
    assert count_parameters(params) == by_hand == 30_351_844


def test_parameters_of_the_small_form(shapes_of: Callable[..., Any]) -> None:
    params = shapes_of(AlexNetSmall().module(10), 32, 32, 3)["params"]
    convolutions = [(11, 3, 64), (5, 64, 192), (3, 192, 384), (3, 384, 256), (3, 256, 256)]
    assert count_parameters(params) == counted(convolutions, [(256, 10)]) == 2_472_266


def test_grouped_filters_see_half_of_the_channels(shapes_of: Callable[..., Any]) -> None:
    params = shapes_of(AlexNet(groups=True).module(10), 32, 32, 3)["params"]
    shapes = {name: params[name]["kernel"].shape for name in ("conv1", "conv2", "conv3", "conv4", "conv5")}
    assert shapes == {
        "conv1": (5, 5, 3, 96),
        "conv2": (5, 5, 48, 256),
        "conv3": (3, 3, 256, 384),
        "conv4": (3, 3, 192, 384),
        "conv5": (3, 3, 192, 256),
    }


@pytest.mark.parametrize(
    ("config", "side"),
    [
        (AlexNet(dense=32), 15),
        (AlexNet(dense=32, groups=True, local_response_normalization=True), 16),
        (AlexNet(dense=32, stem="imagenet", groups=True, local_response_normalization=True), 67),
    ],
)
def test_forward_pass_is_the_one_written_in_numpy(
    numpy_layers: Any, random_variables: Callable[..., Any], random_images: Callable[..., Any], config: Any, side: int
) -> None:
    module, images = config.module(10), 30 * random_images(2, side, side, 3)  # large enough for the norm to matter
    variables = random_variables(module, side, side, 3)
    expected = alexnet_in_numpy(numpy_layers, config, variables["params"], images.astype(np.float64))
    logits = jax.jit(lambda v, x: module.apply(v, x, train=False))(variables, images)
    np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max())


def alexnet_in_numpy(numpy_layers: Any, config: Any, params: Any, x: Any) -> Any:
    conv, pool, relu, dense = (getattr(numpy_layers, name) for name in ("conv", "max_pool", "relu", "dense"))
    norm = numpy_layers.local_response_normalization if config.local_response_normalization else lambda a: a
    groups = 2 if config.groups else 1
    stem = {"stride": 4, "padding": 0} if config.stem == "imagenet" else {"stride": 1, "padding": 2}
    x = pool(norm(relu(conv(x, params["conv1"], **stem))), 3, 2)
    x = pool(norm(relu(conv(x, params["conv2"], padding=2, groups=groups))), 3, 2)
    x = relu(conv(x, params["conv3"], padding=1))
    x = relu(conv(x, params["conv4"], padding=1, groups=groups))
    x = pool(relu(conv(x, params["conv5"], padding=1, groups=groups)), 3, 2).reshape(len(x), -1)
    return dense(relu(dense(relu(dense(x, params["dense1"])), params["dense2"])), params["head"])


def test_small_forward_pass_is_the_one_written_in_numpy(
    numpy_layers: Any, random_variables: Callable[..., Any], random_images: Callable[..., Any]
) -> None:
    module, images = AlexNetSmall().module(10), random_images(2, 32, 32, 3)
    variables = random_variables(module, 32, 32, 3)
    params, conv, pool, relu = variables["params"], numpy_layers.conv, numpy_layers.max_pool, numpy_layers.relu
    x = pool(relu(conv(images.astype(np.float64), params["conv1"], stride=4, padding=5)), 2, 2)
    x = pool(relu(conv(x, params["conv2"], padding=2)), 2, 2)
    for name in ("conv3", "conv4", "conv5"):
        x = relu(conv(x, params[name], padding=1))
    expected = numpy_layers.dense(pool(x, 2, 2).reshape(2, 256), params["head"])
    for train in (False, True):
        logits = jax.jit(lambda v, x, train=train: module.apply(v, x, train=train))(variables, images)
        np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("config", "smallest", "words"),
    [
        (AlexNet(), 15, r"AlexNet\(stem='cifar'\)"),
        (AlexNet(stem="imagenet"), 67, r"AlexNet\(stem='imagenet'\)"),
        (AlexNetSmall(), 29, "AlexNetSmall"),
    ],
)
def test_images_too_small_for_the_pools_are_refused_with_the_smallest_size(
    shapes_of: Callable[..., Any], config: Any, smallest: int, words: str
) -> None:
    module = config.module(10)
    shapes_of(module, smallest, smallest, 3)
    message = f"images of {smallest}×{smallest - 1} pixels .* {words}. Expected: {smallest}×{smallest} or larger"
    with pytest.raises(UserError, match=message):
        shapes_of(module, smallest, smallest - 1, 3)


def test_initial_weights_are_glorot_uniform_and_biases_zero(quick_key: Callable[[int], Any]) -> None:
    module = AlexNetSmall().module(10)
    params = jax.jit(lambda key: module.init(key, jnp.zeros((1, 32, 32, 3)), train=False)["params"])(quick_key(0))
    for name in ("conv2", "conv3", "conv4", "conv5"):
        kernel = params[name]["kernel"]
        height, width, inputs, outputs = kernel.shape
        limit = np.sqrt(6 / (height * width * (inputs + outputs)))
        assert 0.99 * limit < np.abs(kernel).max() <= limit, name
        assert np.std(kernel) == pytest.approx(limit / np.sqrt(3), rel=0.05), name
        assert np.mean(kernel) == pytest.approx(0, abs=0.01 * limit), name
        assert not params[name]["bias"].any(), name
    assert not params["head"]["bias"].any()


def test_dropout_is_active_only_in_training_and_only_at_a_positive_rate(
    random_variables: Callable[..., Any], quick_key: Callable[[int], Any]
) -> None:
    images = jnp.ones((1, 15, 15, 3))
    with_dropout, without = (AlexNet(dense=1024, dropout=rate).module(10) for rate in (0.5, 0.0))
    variables = random_variables(with_dropout, 15, 15, 3)
    key = {"dropout": quick_key(1)}
    evaluated = with_dropout.apply(variables, images, train=False)
    assert (with_dropout.apply(variables, images, train=True, rngs=key) != evaluated).any()
    assert (without.apply(variables, images, train=True, rngs=key) == evaluated).all()


def test_dropout_zeroes_half_of_both_hidden_layers(
    random_variables: Callable[..., Any], quick_key: Callable[[int], Any]
) -> None:
    module, images = AlexNet(dense=1024).module(10), jnp.ones((1, 15, 15, 3))
    variables = random_variables(module, 15, 15, 3)
    is_dropout = lambda layer, _: layer.__class__.__name__ == "Dropout"  # noqa: E731
    key = {"dropout": quick_key(1)}
    _, state = module.apply(variables, images, train=True, rngs=key, capture_intermediates=is_dropout, mutable=True)
    dropped = [layer["__call__"][0] for layer in state["intermediates"].values()]
    whole = module.apply(variables, images, train=False, capture_intermediates=True, mutable=True)[1]["intermediates"]
    first = np.maximum(whole["dense1"]["__call__"][0], 0)
    kept = dropped[0] != 0
    assert len(dropped) == 2
    np.testing.assert_allclose(dropped[0][kept], 2 * first[kept], rtol=1e-5)
    assert (kept[first > 0]).mean() == pytest.approx(0.5, abs=0.1)
    # ReLU zeroes half of the units, and dropout half of the rest.
    assert (np.asarray(dropped[1]) == 0).mean() == pytest.approx(0.75, abs=0.1)
