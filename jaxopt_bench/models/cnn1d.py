"""A small convolutional network for sequences of numbers."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxopt_bench.config import number_field
from jaxopt_bench.models.base import Inputs, Model
from jaxopt_bench.models.layers import HE_NORMAL, Layers, flatten


@dataclasses.dataclass(frozen=True)
class CNN1D(Model):
    """Convolutions over the length with stride 2, each followed by ReLU, then a dense layer on all remaining features.

    With the defaults it has 7,710 parameters for 40 numbers and 10 classes. It uses He initialisation. With batch
    normalisation, convolutions have no bias, because the normalisation would subtract it.

    Source of the sizes: Greydanus and Kobak 2020, "Scaling down Deep Learning with MNIST-1D". Their network also has 25
    channels in three layers, with kernels of 5, 3 and 3.
    """

    inputs: ClassVar[tuple[Inputs, ...]] = ("sequences",)
    added_later: ClassVar[tuple[str, ...]] = ("batch_norm",)

    channels: tuple[int, ...] = number_field((25, 25, 25), at_least=1)
    """Output channels of each convolution. Each convolution halves the length."""
    kernel: int = number_field(5, at_least=1)
    """Kernel size of the convolutions, in positions."""
    dropout: float = number_field(0.0, at_least=0, below=1)
    """Probability that training drops a feature before the dense layer."""
    batch_norm: bool = False
    """Whether each convolution is followed by batch normalisation."""

    def module(self, num_outputs: int, layers: Layers = Layers()) -> CNN1DModule:
        return CNN1DModule(self, num_outputs, layers)


class CNN1DModule(nn.Module):
    """The network that a `CNN1D` describes."""

    config: CNN1D
    num_outputs: int
    layers: Layers = Layers()

    @nn.compact
    def __call__(
        self, sequences: Float[Array, "batch length channels"], *, train: bool
    ) -> Float[Array, "batch outputs"]:
        """Returns the outputs, in float32."""
        config, layers = self.config, self.layers
        x = sequences.astype(layers.dtype)
        for i, channels in enumerate(config.channels, start=1):
            use_bias = not config.batch_norm
            conv = layers.conv1d(
                channels, config.kernel, stride=2, use_bias=use_bias, kernel_init=HE_NORMAL, name=f"conv{i}"
            )
            x = conv(x)
            x = layers.batch_norm(train=train, name=f"norm{i}")(x) if config.batch_norm else x
            x = nn.relu(x)
        x = nn.Dropout(config.dropout, deterministic=not train)(flatten(x))
        return layers.dense(self.num_outputs, kernel_init=HE_NORMAL, name="head")(x).astype(jnp.float32)
