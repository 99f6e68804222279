"""The gated recurrent unit against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxopt_bench.models import GRU, count_parameters

SMALL = GRU(width=6, depth=2)


def states_of_pytorch(params: Any, x: torch.Tensor) -> torch.Tensor:
    """Returns the last layer's state after each position, in float64."""
    for i in (1, 2):
        own = jax.tree.map(lambda leaf: torch.tensor(np.asarray(leaf, np.float64)), params[f"gru{i}"])
        layer = torch.nn.GRU(x.shape[-1], 6, batch_first=True, dtype=torch.float64)
        with torch.no_grad():
            layer.weight_ih_l0.copy_(own["input"]["kernel"].T)
            layer.bias_ih_l0.copy_(own["input"]["bias"])
            layer.weight_hh_l0.copy_(own["kernel"].T)
            layer.bias_hh_l0.copy_(torch.cat([torch.zeros(12, dtype=torch.float64), own["bias"]]))
            x = layer(x)[0]
    return x


def test_the_last_state_of_a_sequence_is_that_of_pytorch(
    numpy_layers: Any, random_variables: Callable[..., Any], random_images: Callable[..., Any]
) -> None:
    module, sequences = SMALL.module(4), random_images(3, 9, 2)
    variables = random_variables(module, 9, 2)
    states = states_of_pytorch(variables["params"], torch.tensor(sequences, dtype=torch.float64))
    expected = numpy_layers.dense(states[:, -1].numpy(), variables["params"]["head"])
    np.testing.assert_allclose(module.apply(variables, sequences, train=False), expected, rtol=1e-4, atol=1e-5)


def test_each_state_of_tokens_is_that_of_pytorch(numpy_layers: Any, random_variables: Callable[..., Any]) -> None:
    module, tokens = SMALL.module(5), np.random.default_rng(2).integers(0, 5, (3, 7))
    variables = random_variables(module, 7, dtype=np.int32)
    embedded = np.asarray(variables["params"]["embed"]["embedding"], float)[tokens]
    states = states_of_pytorch(variables["params"], torch.tensor(embedded))
    expected = numpy_layers.dense(states.numpy(), variables["params"]["head"])
    assert expected.shape == (3, 7, 5)
    np.testing.assert_allclose(module.apply(variables, tokens, train=False), expected, rtol=1e-4, atol=1e-5)


def test_parameters_on_mnist_1d_and_on_words(shapes_of: Callable[..., Any]) -> None:
    recurrent = (64 * 192 + 64) + (64 * 10 + 10)
    assert count_parameters(shapes_of(GRU().module(10), 40, 1)["params"]) == (1 * 192 + 192) + recurrent
    by_hand = 27 * 64 + (64 * 192 + 192) + (64 * 192 + 64) + (64 * 27 + 27)
    assert count_parameters(shapes_of(GRU().module(27), 16, dtype=np.int32)["params"]) == by_hand


def test_each_gate_starts_with_an_orthogonal_matrix(quick_key: Callable[[int], Any]) -> None:
    kernel = GRU(width=8).module(2).init(quick_key(0), jnp.zeros((1, 3, 1)), train=False)["params"]["gru1"]["kernel"]
    gates = np.split(np.asarray(kernel, float), 3, axis=1)
    for gate in gates:
        np.testing.assert_allclose(gate @ gate.T, np.eye(8), atol=1e-5)
    assert (gates[0] != gates[1]).any()


@pytest.mark.parametrize("tokens", [True, False])
def test_dropout_is_active_only_in_training(
    random_variables: Callable[..., Any], quick_key: Callable[[int], Any], tokens: bool
) -> None:
    module = GRU(width=8, dropout=0.5).module(3)
    examples = jnp.ones((2, 4), jnp.int32) if tokens else jnp.ones((2, 4, 1))
    variables = random_variables(module, *examples.shape[1:], dtype=examples.dtype)
    one, other = (module.apply(variables, examples, train=True, rngs={"dropout": quick_key(s)}) for s in (1, 2))
    assert (np.asarray(one) != np.asarray(other)).any()
    evaluated = module.apply(variables, examples, train=False)
    np.testing.assert_array_equal(evaluated, GRU(width=8).module(3).apply(variables, examples, train=True))
