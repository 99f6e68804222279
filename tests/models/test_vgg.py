"""VGG's parameters counted by hand, and its forward passes against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.models import VGG, count_parameters

# Simonyan and Zisserman 2014, table 1: the channels of each convolution of columns A, B, D and E; M is a max-pooling.
TABLE = {
    11: "64 M 128 M 256 256 M 512 512 M 512 512 M",
    13: "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    16: "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    19: "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}


@pytest.mark.parametrize("depth", TABLE)
def test_parameters_are_those_of_the_papers_table(shapes_of: Callable[..., Any], depth: Any) -> None:
    channels = [int(word) for word in TABLE[depth].split() if word != "M"]
    assert len(channels) + 3 == depth  # the paper's networks have three dense layers
    by_hand = sum(9 * i * o + 2 * o for i, o in zip([3, *channels], channels, strict=False)) + 512 * 10 + 10
    assert count_parameters(shapes_of(VGG(depth=depth).module(10), 32, 32, 3)["params"]) == by_hand
    assert depth != 16 or by_hand == 14_724_042


@pytest.mark.parametrize("train", [False, True])
def test_forward_pass_is_that_of_numpy(
    numpy_layers: Any, random_variables: Callable[..., Any], random_images: Callable[..., Any], train: bool
) -> None:
    module, images = VGG(depth=11).module(10), random_images(3, 32, 32, 3)
    variables = random_variables(module, 32, 32, 3)
    params, x, stage, i = variables["params"], images.astype(np.float64), 1, 1
    for word in TABLE[11].split():
        if word == "M":
            x, stage, i = numpy_layers.max_pool(x, 2, 2), stage + 1, 1
            continue
        x = numpy_layers.conv(x, params[f"conv{stage}_{i}"], padding=1)
        assert x.shape[-1] == int(word)
        running = variables["batch_stats"][f"norm{stage}_{i}"]
        mean, var = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if train else (running["mean"], running["var"])
        x = numpy_layers.relu(numpy_layers.batch_norm(x, params[f"norm{stage}_{i}"], mean, var))
        i += 1
    expected = numpy_layers.dense(x.reshape(len(x), -1), params["head"])
    logits, _ = module.apply(variables, images, train=train, mutable=["batch_stats"])
    np.testing.assert_allclose(logits, expected, atol=2e-4 * np.abs(expected).max())


def test_images_that_cannot_be_halved_five_times_are_refused(shapes_of: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"31×32 pixels are too small for VGG\(depth=16\). Expected: 32×32"):
        shapes_of(VGG().module(10), 31, 32, 3)
