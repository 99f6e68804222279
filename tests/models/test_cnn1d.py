"""The convolutional network for sequences against PyTorch, with each implementation of the layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional

from jaxopt_bench.models import CNN1D, Layers, count_parameters

SMALL = CNN1D(channels=(5, 7), kernel=3)


@pytest.mark.parametrize("path", ["plain", "native", "pure"])
@pytest.mark.parametrize(
    ("kernel", "length", "batch_norm"), [(3, 11, False), (4, 12, False), (5, 2, False), (3, 11, True), (5, 9, True)]
)
def test_outputs_and_gradients_are_those_of_pytorch(
    random_variables: Callable[..., Any],
    random_images: Callable[..., Any],
    path: Any,
    kernel: int,
    length: int,
    batch_norm: bool,
) -> None:
    config = CNN1D(channels=(5, 7), kernel=kernel, batch_norm=batch_norm)
    module, examples = config.module(3, Layers(path=path)), random_images(4, length, 2)
    variables = random_variables(module, length, 2)
    params = variables["params"]

    def loss(params: Any) -> jax.Array:
        outputs, _ = module.apply({**variables, "params": params}, examples, train=True, mutable=["batch_stats"])
        return jnp.square(outputs).sum()

    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    leaves = jax.tree.map(lambda leaf: torch.tensor(leaf, dtype=torch.float64, requires_grad=True), params)
    x = torch.tensor(examples, dtype=torch.float64).transpose(1, 2)
    for i in (1, 2):
        conv, norm = leaves[f"conv{i}"], leaves.get(f"norm{i}")
        x = functional.conv1d(x, conv["kernel"].permute(2, 1, 0), conv.get("bias"), stride=2, padding=kernel // 2)
        if norm is not None:
            x = functional.batch_norm(x, None, None, norm["scale"], norm["bias"], training=True)
        x = functional.relu(x)
    outputs = x.transpose(1, 2).reshape(4, -1) @ leaves["head"]["kernel"] + leaves["head"]["bias"]
    expected = outputs.square().sum()
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-5)
    for own, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(leaves), strict=True):
        np.testing.assert_allclose(own, other.grad, atol=2e-5 * float(other.grad.abs().max()))


def test_parameters_on_mnist_1d(shapes_of: Callable[..., Any]) -> None:
    by_hand = (5 * 25 + 25) + 2 * (5 * 25 * 25 + 25) + (5 * 25 * 10 + 10)
    assert count_parameters(shapes_of(CNN1D().module(10), 40, 1)["params"]) == by_hand == 7_710


def test_batch_normalisation_has_a_scale_and_a_shift_instead_of_each_bias(shapes_of: Callable[..., Any]) -> None:
    by_hand = (5 * 25 + 2 * 25) + 2 * (5 * 25 * 25 + 2 * 25) + (5 * 25 * 10 + 10)
    assert count_parameters(shapes_of(CNN1D(batch_norm=True).module(10), 40, 1)["params"]) == by_hand == 7_785


def test_configurations_without_batch_normalisation_keep_their_earlier_json() -> None:
    assert "batch_norm" not in CNN1D().to_json()
    assert CNN1D.from_json(CNN1D(batch_norm=True).to_json()).batch_norm
    assert not CNN1D.from_json(CNN1D().to_json()).batch_norm


def test_the_pure_path_uses_xlas_convolution_only_in_the_forward_pass(shapes_of: Callable[..., Any]) -> None:
    """XLA's gradients of one-dimensional convolutions are ten times slower inside a compiled loop on CPU."""
    module = SMALL.module(3, Layers(path="pure"))
    params, examples = shapes_of(module, 40, 1), jax.ShapeDtypeStruct((8, 40, 1), jnp.float32)
    gradient = jax.grad(lambda p, x: module.apply(p, x, train=True).sum())
    program = str(jax.make_jaxpr(gradient)(params, examples))
    assert program.count("conv_general_dilated[") == 2  # those of the forward pass


def test_dropout_draws_from_its_own_key_and_only_in_training(
    random_variables: Callable[..., Any], quick_key: Callable[[int], Any]
) -> None:
    module, examples = CNN1D(channels=(4,), dropout=0.5).module(3), jnp.ones((2, 8, 1))
    variables = random_variables(module, 8, 1)

    def outputs(train: bool, seed: int) -> np.ndarray:
        return np.asarray(module.apply(variables, examples, train=train, rngs={"dropout": quick_key(seed)}))

    assert (outputs(True, 1) != outputs(True, 2)).any()
    assert (outputs(False, 1) == outputs(False, 2)).all()
