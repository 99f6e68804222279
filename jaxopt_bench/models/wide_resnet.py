"""Wide residual networks: few layers with many channels, and normalisation before each convolution."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxopt_bench.config import number_field
from jaxopt_bench.models.base import Model
from jaxopt_bench.models.layers import HE_NORMAL, Layers, global_average

Images = Float[Array, "batch height width channels"]


@dataclasses.dataclass(frozen=True)
class WideResNet(Model):
    """A residual network of 6n+4 layers in three stages, which have `width` times 16, 32 and 64 channels.

    Batch normalisation and ReLU precede each 3×3 convolution (v2). If the shape changes, the shortcut is a 1×1
    convolution of the output of the first ReLU. With 10 classes, WRN-16-4 has 2,748,890 parameters and WRN-28-10 has
    36,479,194. The initialisation is He's.

    Source: Zagoruyko and Komodakis 2016, "Wide Residual Networks", table 1 and section 2.4.
    """

    depth: Literal[10, 16, 22, 28, 34, 40] = 28
    """Number of convolutions on the longest path and in the shortcuts that change the shape: 6n+4."""
    width: int = number_field(10, at_least=1)
    """Factor of the number of channels, relative to the narrowest network."""
    dropout: float = number_field(0.0, at_least=0, below=1)
    """Probability that training drops an activation between the two convolutions of a block."""

    def module(self, num_outputs: int, layers: Layers = Layers()) -> WideResNetModule:
        return WideResNetModule(self, num_outputs, layers)


class WideResNetModule(nn.Module):
    """The network that a `WideResNet` describes."""

    config: WideResNet
    num_outputs: int
    layers: Layers = Layers()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch classes"]:
        """Returns the logits, in float32."""
        config, layers = self.config, self.layers
        x = _conv(layers, 16, 3, name="conv_stem")(images.astype(layers.dtype))
        for stage, features in enumerate((16, 32, 64), start=1):
            for block in range(1, (config.depth - 4) // 6 + 1):
                stride = 2 if stage > 1 and block == 1 else 1
                make = PreActivationBlock(
                    features * config.width, stride, config.dropout, layers, name=f"stage{stage}_block{block}"
                )
                x = make(x, train)
        x = nn.relu(layers.batch_norm(train=train, name="norm")(x))
        head = layers.dense(self.num_outputs, kernel_init=HE_NORMAL, name="head")
        return head(global_average(x)).astype(jnp.float32)


class PreActivationBlock(nn.Module):
    """Two 3×3 convolutions, each after batch normalisation and ReLU, with a residual connection.

    Attributes:
      features: output channels.
      stride: the stride of the first convolution and of the shortcut.
      dropout: probability that training drops an activation before the second convolution.
      layers: how its layers compute; see `Layers`.
    """

    features: int
    stride: int
    dropout: float
    layers: Layers

    @nn.compact
    def __call__(self, x: Images, train: bool) -> Images:
        layers = self.layers
        active = nn.relu(layers.batch_norm(train=train, name="norm1")(x))
        y = _conv(layers, self.features, 3, self.stride, name="conv1")(active)
        y = nn.relu(layers.batch_norm(train=train, name="norm2")(y))
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        y = _conv(layers, self.features, 3, name="conv2")(y)
        if x.shape != y.shape:
            x = _conv(layers, self.features, 1, self.stride, name="conv_shortcut")(active)
        return x + y


def _conv(layers: Layers, features: int, kernel: int, stride: int = 1, *, name: str) -> nn.Conv:
    padding = kernel // 2  # the same on all sides: strided outputs are centred on the pixels of a strided shortcut
    return layers.conv(
        features, kernel, stride=stride, padding=padding, use_bias=False, kernel_init=HE_NORMAL, name=name
    )
