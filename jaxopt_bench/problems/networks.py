"""Networks as pure functions of their parameters, for problems that train a network."""

from __future__ import annotations

import jax
from flax import linen as nn
from jaxtyping import Array, Key, PyTree

from jaxopt_bench.problems.base import Params, Variables


def initial_variables(module: nn.Module, key: Key[Array, ""], inputs: Array) -> tuple[Params, Variables]:
    """Returns a network's initial parameters, and its running averages; {} if it has none."""
    variables = module.init(key, inputs, train=False)
    return variables["params"], variables.get("batch_stats", {})


def parameter_shapes(module: nn.Module, inputs: jax.ShapeDtypeStruct) -> PyTree[jax.ShapeDtypeStruct]:
    """Returns the shapes and types of a network's parameters. Nothing is computed."""
    return jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False)["params"], inputs)


def apply_network(module: nn.Module, params: Params, inputs: Array, key: Key[Array, ""] | None) -> Array:
    """Returns the outputs of a network without running averages.

    Args:
      module: the network.
      params: its parameters.
      inputs: examples.
      key: the key for dropout in training; None in evaluation.
    """
    if key is None:
        return module.apply({"params": params}, inputs, train=False)
    return module.apply({"params": params}, inputs, train=True, rngs={"dropout": key})


def apply_with_averages(
    module: nn.Module, params: Params, variables: Variables, inputs: Array, key: Key[Array, ""] | None
) -> tuple[Array, Variables]:
    """Returns the outputs of a network, and its running averages after the step; see `apply_network`.

    Evaluation uses the running averages and does not change them.
    """
    collections = {"params": params, "batch_stats": variables}
    if key is None:
        return module.apply(collections, inputs, train=False), variables
    outputs, changed = module.apply(collections, inputs, train=True, rngs={"dropout": key}, mutable=["batch_stats"])
    return outputs, changed.get("batch_stats", {})
