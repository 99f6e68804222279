"""VGG with batch normalisation and a single dense layer, the usual form for CIFAR."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxopt_bench.models.base import Model
from jaxopt_bench.models.layers import HE_NORMAL, Layers, check_side, conv_norm, flatten

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""The number of convolutions before each of the five poolings, by depth (columns A, B, D and E of the paper)."""
WIDTHS = (64, 128, 256, 512, 512)


@dataclasses.dataclass(frozen=True)
class VGG(Model):
    """3×3 convolutions with batch normalisation and ReLU, five 2×2 max-poolings, and one dense layer.

    One dense layer replaces the three dense layers of the paper's ImageNet network. The five poolings reduce a 32×32
    image to a single pixel with 512 channels, which is the input of the dense layer. The network has 14,724,042
    parameters at depth 16 with 10 classes. The convolutions have no biases, because batch normalisation would subtract
    them. The initialisation is He's.

    Source: Simonyan and Zisserman 2014, "Very Deep Convolutional Networks for Large-Scale Image Recognition", table 1.
    Batch normalisation and the single dense layer are later conventions.
    """

    depth: Literal[11, 13, 16, 19] = 16
    """Number of layers with weights in the paper's network, including its three dense layers."""

    def module(self, num_outputs: int, layers: Layers = Layers()) -> VGGModule:
        return VGGModule(self, num_outputs, layers)


class VGGModule(nn.Module):
    """The network that a `VGG` describes."""

    config: VGG
    num_outputs: int
    layers: Layers = Layers()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch classes"]:
        """Returns the logits, in float32.

        Raises:
          UserError: if the images are too small to be halved five times.
        """
        check_side(f"VGG(depth={self.config.depth})", images, 2 ** len(WIDTHS))
        x = images.astype(self.layers.dtype)
        for stage, (features, count) in enumerate(zip(WIDTHS, CONVOLUTIONS[self.config.depth], strict=True), start=1):
            for i in range(1, count + 1):
                x = nn.relu(conv_norm(self.layers, x, features, 3, train=train, name=f"{stage}_{i}"))
            x = self.layers.max_pool(x, 2, 2)
        head = self.layers.dense(self.num_outputs, kernel_init=HE_NORMAL, name="head")
        return head(flatten(x)).astype(jnp.float32)
