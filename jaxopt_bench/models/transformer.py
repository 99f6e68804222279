"""A small decoder-only transformer that predicts the next token."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Integer

from jaxopt_bench.config import number_field
from jaxopt_bench.models.attention import Block, check_heads
from jaxopt_bench.models.base import Inputs, Model
from jaxopt_bench.models.layers import EMBEDDING_INIT, Layers


@dataclasses.dataclass(frozen=True)
class Transformer(Model):
    """A decoder: token and position embeddings, blocks of causal attention and dense layers, and a final dense layer.

    The position embeddings are learned. Layer normalisation is applied before the attention and before the dense layers
    of a block, and at the end. The hidden layer of a block has four times the width of the network. Embeddings and
    positions are normal with standard deviation 0.02, kernels are Glorot uniform, and biases and the last layer are
    zero. With the defaults it has 27,739 parameters for 27 tokens and 16 positions.

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3.

    Raises:
      UserError: if the width is not a multiple of the number of heads.
    """

    inputs: ClassVar[tuple[Inputs, ...]] = ("tokens",)

    width: int = number_field(32, at_least=1)
    """Number of features of a token."""
    depth: int = number_field(2, at_least=1)
    """Number of blocks."""
    heads: int = number_field(4, at_least=1)
    """Number of attention heads."""
    dropout: float = number_field(0.0, at_least=0, below=1)
    """Probability that training drops a feature of the embedded tokens, or of a residual branch of a block."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_heads("Transformer.width", self.width, self.heads)

    def module(self, num_outputs: int, layers: Layers = Layers()) -> TransformerModule:
        return TransformerModule(self, num_outputs, layers)


class TransformerModule(nn.Module):
    """The network that a `Transformer` describes."""

    config: Transformer
    num_outputs: int
    layers: Layers = Layers()

    @nn.compact
    def __call__(
        self, tokens: Integer[Array, "batch length"], *, train: bool
    ) -> Float[Array, "batch length vocabulary"]:
        """Returns the logits of the token after each position, in float32."""
        config, layers = self.config, self.layers
        positions = self.param("positions", EMBEDDING_INIT, (tokens.shape[1], config.width), jnp.float32)
        x = layers.embed(self.num_outputs, config.width, name="embed")(tokens) + positions.astype(layers.dtype)
        x = nn.Dropout(config.dropout, deterministic=not train)(x)
        for number_of in range(1, config.depth + 1):
            block = Block(
                config.heads, 4 * config.width, config.dropout, causal=True, layers=layers, name=f"block{number_of}"
            )
            x = block(x, train)
        x = layers.layer_norm(name="norm")(x)
        return layers.dense(self.num_outputs, kernel_init=nn.initializers.zeros, name="head")(x).astype(jnp.float32)
