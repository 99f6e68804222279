"""The multilayer perceptron against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench.models import MLP, count_parameters

ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "gelu": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
}


@pytest.mark.parametrize(("activation", "layer_norm"), [("relu", True), ("tanh", False), ("gelu", False)])
def test_forward_pass_is_that_of_numpy(
    numpy_layers: Any,
    random_variables: Callable[..., Any],
    random_images: Callable[..., Any],
    activation: Any,
    layer_norm: bool,
) -> None:
    module = MLP(widths=(7, 5), activation=activation, layer_norm=layer_norm).module(3)
    examples = random_images(4, 6, 2)
    variables = random_variables(module, 6, 2)
    params, x = variables["params"], examples.astype(float).reshape(4, 12)
    for i in (1, 2):
        x = numpy_layers.dense(x, params[f"dense{i}"])
        if layer_norm:
            own = {name: np.asarray(value, float) for name, value in params[f"norm{i}"].items()}
            x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6) * own["scale"] + own["bias"]
        x = ACTIVATIONS[activation](x)
    expected = numpy_layers.dense(x, params["head"])
    np.testing.assert_allclose(module.apply(variables, examples, train=False), expected, rtol=1e-4, atol=1e-5)


def test_a_network_without_hidden_layers_is_linear(
    numpy_layers: Any, random_variables: Callable[..., Any], random_images: Callable[..., Any]
) -> None:
    module, examples = MLP(widths=()).module(3), random_images(4, 6)
    variables = random_variables(module, 6)
    assert set(variables["params"]) == {"head"}
    expected = numpy_layers.dense(examples.astype(float), variables["params"]["head"])
    np.testing.assert_allclose(module.apply(variables, examples, train=False), expected, rtol=1e-5, atol=1e-6)


def test_parameters_on_mnist_1d(shapes_of: Callable[..., Any]) -> None:
    by_hand = (40 * 100 + 100) + (100 * 100 + 100) + (100 * 10 + 10)
    assert count_parameters(shapes_of(MLP().module(10), 40, 1)["params"]) == by_hand == 15_210


def test_dropout_keeps_the_mean_and_is_active_only_in_training(
    random_variables: Callable[..., Any], quick_key: Callable[[int], Any]
) -> None:
    module, examples = MLP(widths=(16,), dropout=0.5).module(3), jnp.ones((4000, 4))
    variables = random_variables(module, 4)
    outputs = module.apply(variables, examples, train=True, rngs={"dropout": quick_key(0)})
    evaluated = module.apply(variables, examples[:1], train=False)[0]
    assert (outputs.std(0) > 0.01).all()
    assert (np.abs(outputs.mean(0) - evaluated) < 5 * outputs.std(0) / np.sqrt(len(examples))).all()
