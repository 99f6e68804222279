"""The multilayer perceptron: dense layers for vectors, or for other inputs, which are flattened first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float

from jaxopt_bench.config import number_field
from jaxopt_bench.models.base import Inputs, Model
from jaxopt_bench.models.layers import GLOROT_UNIFORM, HE_NORMAL, Layers, flatten

_ACTIVATIONS: Mapping[str, tuple[Callable[[Array], Array], Initializer]] = {
    "relu": (nn.relu, HE_NORMAL),
    "gelu": (nn.gelu, HE_NORMAL),
    "tanh": (nn.tanh, GLOROT_UNIFORM),
}


@dataclasses.dataclass(frozen=True)
class MLP(Model):
    """Dense layers, each followed by an activation function, and a dense layer for the outputs.

    Without hidden layers it is a linear model. Each example is flattened to a vector first. The hidden layers have He
    initialisation, or Glorot uniform initialisation with tanh. The last layer always has Glorot uniform initialisation.
    With the defaults it has 15,210 parameters for 40 numbers and 10 classes.
    """

    inputs: ClassVar[tuple[Inputs, ...]] = ("vectors", "sequences", "images")

    widths: tuple[int, ...] = number_field((100, 100), at_least=1)
    """Number of units in each hidden layer."""
    activation: Literal["relu", "gelu", "tanh"] = "relu"
    """The activation function after each hidden layer."""
    dropout: float = number_field(0.0, at_least=0, below=1)
    """Probability that training drops a hidden unit."""
    layer_norm: bool = False
    """Whether each hidden layer is normalised before its activation."""

    def module(self, num_outputs: int, layers: Layers = Layers()) -> MLPModule:
        return MLPModule(self, num_outputs, layers)


class MLPModule(nn.Module):
    """The network that an `MLP` describes."""

    config: MLP
    num_outputs: int
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, examples: Float[Array, "batch *shape"], *, train: bool) -> Float[Array, "batch outputs"]:
        """Returns the outputs, in float32."""
        config, layers = self.config, self.layers
        activation, kernel_init = _ACTIVATIONS[config.activation]
        x = flatten(examples.astype(layers.dtype))
        for i, width in enumerate(config.widths, start=1):
            x = layers.dense(width, kernel_init=kernel_init, name=f"dense{i}")(x)
            x = layers.layer_norm(name=f"norm{i}")(x) if config.layer_norm else x
            x = nn.Dropout(config.dropout, deterministic=not train)(activation(x))
        return layers.dense(self.num_outputs, kernel_init=GLOROT_UNIFORM, name="head")(x).astype(jnp.float32)
