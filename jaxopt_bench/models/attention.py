"""The transformer block for images and for tokens. Whole networks do not belong in this module."""

from __future__ import annotations

from flax import linen as nn
from jaxtyping import Array, Float

from jaxopt_bench.errors import UserError
from jaxopt_bench.models.layers import GLOROT_UNIFORM, Layers

Features = Float[Array, "batch tokens width"]


class Block(nn.Module):
    """A pre-norm block: attention, then two dense layers with GELU between them, each with a residual connection.

    Attributes:
      heads: the number of attention heads.
      hidden: the number of units between the two dense layers.
      dropout: probability that training drops a feature of a residual branch.
      causal: whether a token attends only to itself and to the tokens before it.
      layers: how its layers compute; see `Layers`.
    """

    heads: int
    hidden: int
    dropout: float = 0.0
    causal: bool = False
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: Features, train: bool) -> Features:
        """Returns the features after the block."""
        dropout = nn.Dropout(self.dropout, deterministic=not train)
        x = x + dropout(self._attention(self.layers.layer_norm(name="norm1")(x)))
        y = self.layers.gelu(self._dense(self.hidden, "dense1")(self.layers.layer_norm(name="norm2")(x)))
        return x + dropout(self._dense(x.shape[-1], "dense2")(y))

    def _attention(self, x: Features) -> Features:
        heads = (*x.shape[:2], self.heads, -1)
        query, key, value = (self._dense(x.shape[-1], n)(x).reshape(heads) for n in ("query", "key", "value"))
        attended = self.layers.dot_product_attention(query, key, value, is_causal=self.causal)
        return self._dense(x.shape[-1], "out")(attended.reshape(x.shape))

    def _dense(self, features: int, name: str) -> nn.Dense:
        return self.layers.dense(features, kernel_init=GLOROT_UNIFORM, name=name)


def check_heads(field: str, width: int, heads: int) -> None:
    """Checks that the features can be divided among the attention heads.

    Raises:
      UserError: if the width is not a multiple of the number of heads. The message names the field.
    """
    if width % heads:
        raise UserError(f"{field} is {width}. Expected a multiple of the number of attention heads, {heads}.")
