"""The small convolutional network against NumPy, and the mean of its logits under dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.models import CNN, count_parameters


def test_forward_pass_is_the_one_written_in_numpy(
    numpy_layers: Any, random_variables: Callable[..., Any], random_images: Callable[..., Any]
) -> None:
    module, images = CNN(channels=(5, 7), dense=11).module(10), random_images(3, 8, 8, 2)
    variables = random_variables(module, 8, 8, 2)
    params, x = variables["params"], images.astype(np.float64)
    for name in ("conv1", "conv2"):
        x = numpy_layers.max_pool(numpy_layers.relu(numpy_layers.conv(x, params[name], padding=1)), 2, 2)
    hidden = numpy_layers.relu(numpy_layers.dense(x.reshape(3, -1), params["dense"]))
    expected = numpy_layers.dense(hidden, params["head"])
    logits = module.apply(variables, images, train=False)
    np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max())


def test_parameters_on_the_digits(shapes_of: Callable[..., Any]) -> None:
    convolutions = (9 * 1 * 16 + 16) + (9 * 16 * 32 + 32)
    dense = (2 * 2 * 32 * 64 + 64) + (64 * 10 + 10)
    assert count_parameters(shapes_of(CNN().module(10), 8, 8, 1)["params"]) == convolutions + dense == 13_706


def test_dropout_does_not_change_the_mean_logits(
    random_variables: Callable[..., Any], quick_key: Callable[[int], Any]
) -> None:
    # The head is linear in the output of dropout, which scales the kept units by 1 / (1 - rate).
    module, images = CNN(channels=(4,), dense=16, dropout=0.25).module(3), jnp.ones((4000, 4, 4, 1))
    variables = random_variables(module, 4, 4, 1)
    logits = module.apply(variables, images, train=True, rngs={"dropout": quick_key(0)})
    standard_error = logits.std(0) / np.sqrt(len(images))
    assert (logits.std(0) > 0.01).all()
    evaluated = module.apply(variables, images[:1], train=False)[0]
    assert (np.abs(logits.mean(0) - evaluated) < 5 * standard_error).all()


def test_dropout_draws_from_its_own_key_and_only_in_training(
    random_variables: Callable[..., Any], quick_key: Callable[[int], Any]
) -> None:
    module, images = CNN().module(10), jnp.ones((2, 8, 8, 1))
    variables = random_variables(module, 8, 8, 1)

    def logits(train: bool, seed: int) -> np.ndarray:
        return np.asarray(module.apply(variables, images, train=train, rngs={"dropout": quick_key(seed)}))

    assert (logits(True, 1) == logits(True, 1)).all()
    assert (logits(True, 1) != logits(True, 2)).any()
    assert (logits(False, 1) == logits(False, 2)).all()
    assert (logits(True, 1) != logits(False, 1)).any()


@pytest.mark.parametrize(("channels", "smallest"), [((4,), 2), ((4, 4), 4), ((4, 4, 4), 8)])
def test_images_too_small_to_be_halved_are_refused_with_the_smallest_size(
    shapes_of: Callable[..., Any], channels: tuple[int, ...], smallest: int
) -> None:
    module = CNN(channels=channels).module(10)
    shapes_of(module, smallest, smallest, 1)
    with pytest.raises(UserError, match=f"Expected: {smallest}×{smallest} or larger"):
        shapes_of(module, smallest, smallest - 1, 1)


def test_widths_below_one_and_a_dropout_rate_of_one_are_refused() -> None:
    with pytest.raises(UserError, match=r"CNN\.channels\[1\] is 0. Expected: an integer >= 1"):
        CNN(channels=(4, 0))
    with pytest.raises(UserError, match=r"CNN\.dropout is 1.0. Expected: a finite number >= 0 and < 1"):
        CNN(dropout=1.0)
