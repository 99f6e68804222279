"""The vision transformer, small enough for small images."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from jaxopt_bench.config import number
from jaxopt_bench.errors import UserError
from jaxopt_bench.models.base import Model
from jaxopt_bench.models.layers import GLOROT_UNIFORM, Layers

Tokens = Float[Array, "batch tokens width"]


@dataclasses.dataclass(frozen=True)
class ViT(Model):
    """A vision transformer: patches, blocks of attention and two dense layers with GELU, the mean over the patches.

    The defaults are ViT-Ti with patches of 4×4 pixels: 5,350,090 parameters at 10 classes. Layer normalisation stands
    before attention and before the dense layers, and at the end. As in Beyer et al., positions are fixed sines and
    cosines, there is no class token, and no dropout unless asked for. Weights are Glorot uniform, biases and the last
    layer zero.

    Source: Dosovitskiy et al. 2020, "An Image is Worth 16×16 Words", section 3.1; Touvron et al. 2020, "Training
    data-efficient image transformers", table 1, of the size; Beyer, Zhai and Kolesnikov 2022, "Better plain ViT
    baselines for ImageNet-1k", section 2.

    Raises:
      UserError: where the width is no multiple of 4 and of the heads.
    """

    patch: int = number(4, at_least=1)
    """Side of a patch, in pixels."""
    width: int = number(192, at_least=8)
    """Features of a token."""
    depth: int = number(12, at_least=1)
    """Blocks."""
    heads: int = number(3, at_least=1)
    """Parts into which attention divides the features."""
    hidden: int = number(768, at_least=1)
    """Units between the two dense layers of a block."""
    dropout: float = number(0.0, at_least=0, below=1)
    """Probability that training drops a feature of what a block adds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, divisor in (("heads", self.heads), ("4, for the positions,", 4)):
            if self.width % divisor:
                number_of = f"{divisor} {name}" if name == "heads" else name
                raise UserError(f"ViT.width is {self.width}; accepted: a multiple of {number_of}.")

    def module(self, num_classes: int, layers: Layers = Layers()) -> ViTModule:
        return ViTModule(self, num_classes, layers)


class ViTModule(nn.Module):
    """The network a `ViT` describes."""

    config: ViT
    num_classes: int
    layers: Layers = Layers()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch classes"]:
        """Returns the logits, in float32.

        Raises:
          UserError: if patches do not fill the images.
        """
        config, layers = self.config, self.layers
        height, width = images.shape[1:3]
        if height % config.patch or width % config.patch:
            raise UserError(
                f"images of {height}×{width} pixels cannot be cut into patches; ViT.patch is {config.patch}; "
                "accepted: a divisor of both sides."
            )
        embed = layers.conv(
            config.width,
            config.patch,
            stride=config.patch,
            padding="VALID",
            use_bias=True,
            kernel_init=GLOROT_UNIFORM,
            name="embed",
        )
        x = embed(images.astype(layers.dtype))
        x = (x + positions(*x.shape[1:])[None].astype(x.dtype)).reshape(x.shape[0], -1, config.width)
        for block in range(1, config.depth + 1):
            x = Block(config, layers, name=f"block{block}")(x, train)
        x = layers.layer_norm(name="norm")(x).mean(1)
        head = layers.dense(self.num_classes, kernel_init=nn.initializers.zeros, name="head")
        return head(x).astype(jnp.float32)


class Block(nn.Module):
    """Attention, then two dense layers; each sees its normalised input, to which it adds.

    Attributes:
      config: of the network.
      layers: what it is made of.
    """

    config: ViT
    layers: Layers

    @nn.compact
    def __call__(self, x: Tokens, train: bool) -> Tokens:
        dropout = nn.Dropout(self.config.dropout, deterministic=not train)
        x = x + dropout(self._attention(self.layers.layer_norm(name="norm1")(x)))
        y = nn.gelu(
            self._dense(self.config.hidden, "dense1")(self.layers.layer_norm(name="norm2")(x)), approximate=False
        )
        return x + dropout(self._dense(self.config.width, "dense2")(y))

    def _attention(self, x: Tokens) -> Tokens:
        heads = (*x.shape[:2], self.config.heads, -1)
        query, key, value = (self._dense(self.config.width, n)(x).reshape(heads) for n in ("query", "key", "value"))
        attended = jax.nn.dot_product_attention(query, key, value)
        return self._dense(self.config.width, "out")(attended.reshape(x.shape))

    def _dense(self, features: int, name: str) -> nn.Dense:
        return self.layers.dense(features, kernel_init=GLOROT_UNIFORM, name=name)


def positions(height: int, width: int, features: int) -> Float[np.ndarray, "height width features"]:
    """Returns what tells the places of a grid apart: sines and cosines of column and row, of falling frequencies.

    Source: Beyer et al. 2022, section 2, after Chen, Xie and He 2021, "An Empirical Study of Training Self-Supervised
    Vision Transformers", section 4.4.

    Args:
      height: rows.
      width: columns.
      features: a multiple of 4.
    """
    quarter = features // 4
    frequencies = 10_000.0 ** (-np.arange(quarter) / (quarter - 1))
    rows, columns = np.mgrid[:height, :width][..., None] * frequencies
    found = np.concatenate([np.sin(columns), np.cos(columns), np.sin(rows), np.cos(rows)], -1)
    return found.astype(np.float32)
