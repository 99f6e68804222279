"""The gated recurrent unit, for sequences of numbers and of tokens."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Integer, Key

from jaxopt_bench.config import number_field
from jaxopt_bench.models.base import Inputs, Model
from jaxopt_bench.models.layers import GLOROT_UNIFORM, Layers

States = Float[Array, "batch length width"]


@dataclasses.dataclass(frozen=True)
class GRU(Model):
    """Layers of gated recurrent units, and a dense layer on the states of the last layer.

    For a sequence of numbers, the dense layer uses only the last state. Tokens are embedded first, and each state
    predicts the next token. The weights of the inputs are Glorot uniform, the weights of the states are orthogonal for
    each gate, and biases are zero.

    As in cuDNN and PyTorch, the reset gate multiplies the product of weights and state, including its bias.

    Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder", appendix A.1.1, and version 1
    of that paper on arXiv for the position of the reset gate.
    """

    inputs: ClassVar[tuple[Inputs, ...]] = ("sequences", "tokens")

    width: int = number_field(64, at_least=1)
    """Number of units in a layer, and number of features of an embedded token."""
    depth: int = number_field(1, at_least=1)
    """Number of layers."""
    dropout: float = number_field(0.0, at_least=0, below=1)
    """Probability that training drops a feature of the states that a layer passes to the next layer."""

    def module(self, num_outputs: int, layers: Layers = Layers()) -> GRUModule:
        return GRUModule(self, num_outputs, layers)


class GRUModule(nn.Module):
    """The network that a `GRU` describes."""

    config: GRU
    num_outputs: int
    layers: Layers = Layers()

    @nn.compact
    def __call__(
        self, sequences: Float[Array, "batch length channels"] | Integer[Array, "batch length"], *, train: bool
    ) -> Float[Array, "batch outputs"] | Float[Array, "batch length vocabulary"]:
        """Returns the outputs for the last state or, for tokens, the logits after each position, in float32."""
        config, layers = self.config, self.layers
        tokens = jnp.issubdtype(sequences.dtype, jnp.integer)
        if tokens:
            x = layers.embed(self.num_outputs, config.width, name="embed")(sequences)
        else:
            x = sequences.astype(layers.dtype)
        for i in range(1, config.depth + 1):
            x = Recurrence(config.width, layers, name=f"gru{i}")(x)
            x = nn.Dropout(config.dropout, deterministic=not train)(x)
        x = x if tokens else x[:, -1]
        return layers.dense(self.num_outputs, kernel_init=GLOROT_UNIFORM, name="head")(x).astype(jnp.float32)


class Recurrence(nn.Module):
    """One layer of gated recurrent units. The first state is zero.

    Attributes:
      width: the number of units.
      layers: how its layers compute; see `Layers`.
    """

    width: int
    layers: Layers

    @nn.compact
    def __call__(self, x: Float[Array, "batch length channels"]) -> States:
        """Returns the state after each position."""
        dtype = self.layers.dtype
        gates = self.layers.dense(3 * self.width, kernel_init=GLOROT_UNIFORM, name="input")(x)
        kernel = self.param("kernel", _orthogonal_gates, (self.width, 3 * self.width), jnp.float32).astype(dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.width,), jnp.float32).astype(dtype)

        def advance(
            state: Float[Array, "batch width"], gates: Float[Array, "batch 3*width"]
        ) -> tuple[Float[Array, "batch width"], Float[Array, "batch width"]]:
            reset, update, new = jnp.split(gates, 3, -1)
            of_reset, of_update, of_new = jnp.split(state @ kernel, 3, -1)
            update = nn.sigmoid(update + of_update)
            new = nn.tanh(new + nn.sigmoid(reset + of_reset) * (of_new + bias))
            state = (1 - update) * new + update * state
            return state, state

        start = jnp.zeros((len(x), self.width), dtype)
        return lax.scan(advance, start, gates.swapaxes(0, 1))[1].swapaxes(0, 1)


def _orthogonal_gates(key: Key[Array, ""], shape: tuple[int, int], dtype: DTypeLike) -> Float[Array, "width gates"]:
    """Returns an orthogonal matrix for each of the three gates, side by side."""
    width = shape[0]
    matrices = [nn.initializers.orthogonal()(one, (width, width), dtype) for one in jax.random.split(key, 3)]
    return jnp.concatenate(matrices, 1)
