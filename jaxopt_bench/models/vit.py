"""A small vision transformer for small images."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from jaxopt_bench.config import number_field
from jaxopt_bench.errors import UserError
from jaxopt_bench.models.attention import Block, check_heads
from jaxopt_bench.models.base import Model
from jaxopt_bench.models.layers import GLOROT_UNIFORM, Layers


@dataclasses.dataclass(frozen=True)
class ViT(Model):
    """A vision transformer: patches, blocks of attention and two dense layers with GELU, and a mean over the patches.

    The defaults are ViT-Ti with patches of 4×4 pixels: 5,350,090 parameters with 10 classes. Layer normalisation is
    applied before the attention and before the dense layers of a block, and at the end. As in Beyer et al., position
    encodings are fixed sines and cosines, there is no class token, and dropout is off by default. Weights are Glorot
    uniform, and biases and the last layer are zero.

    Source: Dosovitskiy et al. 2020, "An Image is Worth 16×16 Words", section 3.1; Touvron et al. 2020, "Training
    data-efficient image transformers", table 1 (the size); Beyer, Zhai and Kolesnikov 2022, "Better plain ViT baselines
    for ImageNet-1k", section 2.

    Raises:
      UserError: if the width is not a multiple of 4 and of the number of heads.
    """

    patch: int = number_field(4, at_least=1)
    """Side of a patch, in pixels."""
    width: int = number_field(192, at_least=8)
    """Number of features of a token."""
    depth: int = number_field(12, at_least=1)
    """Number of blocks."""
    heads: int = number_field(3, at_least=1)
    """Number of attention heads."""
    hidden: int = number_field(768, at_least=1)
    """Number of units between the two dense layers of a block."""
    dropout: float = number_field(0.0, at_least=0, below=1)
    """Probability that training drops a feature of a residual branch of a block."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_heads("ViT.width", self.width, self.heads)
        if self.width % 4:
            raise UserError(
                f"ViT.width is {self.width}. Expected a multiple of 4: a position encoding has four equal parts."
            )

    def module(self, num_outputs: int, layers: Layers = Layers()) -> ViTModule:
        return ViTModule(self, num_outputs, layers)


class ViTModule(nn.Module):
    """The network that a `ViT` describes."""

    config: ViT
    num_outputs: int
    layers: Layers = Layers()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch classes"]:
        """Returns the logits, in float32.

        Raises:
          UserError: if the images cannot be divided into patches without a remainder.
        """
        config, layers = self.config, self.layers
        height, width = images.shape[1:3]
        if height % config.patch or width % config.patch:
            raise UserError(
                f"images of {height}×{width} pixels cannot be divided into patches: ViT.patch is {config.patch}. "
                "Expected a divisor of both sides."
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
            x = Block(config.heads, config.hidden, config.dropout, layers=layers, name=f"block{block}")(x, train)
        x = layers.layer_norm(name="norm")(x).mean(1)
        head = layers.dense(self.num_outputs, kernel_init=nn.initializers.zeros, name="head")
        return head(x).astype(jnp.float32)


def positions(height: int, width: int, features: int) -> Float[np.ndarray, "height width features"]:
    """Returns the position encodings of a grid: sines and cosines of column and row, with decreasing frequencies.

    Source: Beyer et al. 2022, section 2, after Chen, Xie and He 2021, "An Empirical Study of Training Self-Supervised
    Vision Transformers", section 4.4.

    Args:
      height: number of rows.
      width: number of columns.
      features: number of features of each position, a multiple of 4.
    """
    quarter = features // 4
    frequencies = 10_000.0 ** (-np.arange(quarter) / (quarter - 1))
    rows, columns = np.mgrid[:height, :width][..., None] * frequencies
    found = np.concatenate([np.sin(columns), np.cos(columns), np.sin(rows), np.cos(rows)], -1)
    return found.astype(np.float32)
