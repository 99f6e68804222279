"""A small convolutional network for small images and for tests. It trains in seconds on a CPU."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxopt_bench.config import number_field
from jaxopt_bench.models.base import Model
from jaxopt_bench.models.layers import HE_NORMAL, Layers, check_side, flatten


@dataclasses.dataclass(frozen=True)
class CNN(Model):
    """A small network: 3×3 convolutions, each followed by ReLU and 2×2 max-pooling, then two dense layers.

    With the defaults it has 13,706 parameters for the 8×8 grey digits and 10 classes. It uses He initialisation.
    """

    channels: tuple[int, ...] = number_field((16, 32), at_least=1)
    """Output channels of each convolution. Each pooling halves the sides of the image."""
    dense: int = number_field(64, at_least=1)
    """Number of units in the hidden dense layer."""
    dropout: float = number_field(0.25, at_least=0, below=1)
    """Probability that training drops a unit of the hidden dense layer."""

    def module(self, num_outputs: int, layers: Layers = Layers()) -> CNNModule:
        return CNNModule(self, num_outputs, layers)


class CNNModule(nn.Module):
    """The network that a `CNN` describes."""

    config: CNN
    num_outputs: int
    layers: Layers = Layers()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch classes"]:
        """Returns the logits, in float32.

        Raises:
          UserError: if the images are too small to be halved once per convolution.
        """
        config, layers = self.config, self.layers
        check_side(f"CNN(channels={config.channels})", images, 2 ** len(config.channels))
        x = images.astype(layers.dtype)
        for i, channels in enumerate(config.channels, start=1):
            x = layers.conv(channels, 3, use_bias=True, kernel_init=HE_NORMAL, name=f"conv{i}")(x)
            x = layers.max_pool(nn.relu(x), 2, 2)
        x = nn.relu(layers.dense(config.dense, kernel_init=HE_NORMAL, name="dense")(flatten(x)))
        x = nn.Dropout(config.dropout, deterministic=not train)(x)
        return layers.dense(self.num_outputs, kernel_init=HE_NORMAL, name="head")(x).astype(jnp.float32)
