"""Residual networks: the networks for CIFAR, and the networks for ImageNet with a stem for small images."""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxopt_bench.models.base import Model
from jaxopt_bench.models.layers import HE_NORMAL, Layers, conv_norm, global_average

Images = Float[Array, "batch height width channels"]


@dataclasses.dataclass(frozen=True)
class CifarResNet(Model):
    """The residual network of He et al. for CIFAR: 6n+2 layers of widths 16, 32 and 64.

    It has basic blocks, batch normalisation, ReLU after each addition (v1), shortcuts without parameters (option A) and
    He initialisation. The published numbers of parameters with 10 classes are 0.27, 0.46, 0.66, 0.85 and 1.7 million
    for the five depths.

    Source: He, Zhang, Ren and Sun 2015, "Deep Residual Learning for Image Recognition", section 4.2.
    """

    depth: Literal[20, 32, 44, 56, 110] = 20
    """Number of layers with weights on the longest path: 6n+2, for n blocks in each of the three stages."""
    zero_init_residual: bool = False
    """Whether each block is initially the identity: the last batch norm has scale zero (Goyal et al. 2017, 5.1)."""

    def module(self, num_outputs: int, layers: Layers = Layers()) -> CifarResNetModule:
        return CifarResNetModule(self, num_outputs, layers)


@dataclasses.dataclass(frozen=True)
class ResNet(Model):
    """ResNet-18, -34 or -50 with a stem for small images: 3×3 with stride 1 and no pooling.

    It has basic blocks at depths 18 and 34, and bottlenecks at depth 50 (with the stride in the 3×3 convolution). A
    shortcut is a projection if the shape changes (option B). ReLU follows each addition (v1). The initialisation is
    He's. With 10 classes, the networks have 11,173,962, 21,282,122 and 23,520,842 parameters.

    Source: He, Zhang, Ren and Sun 2015, "Deep Residual Learning for Image Recognition", table 1. The stem and the
    position of the stride are later conventions.
    """

    depth: Literal[18, 34, 50] = 18
    """Number of layers with weights on the longest path."""
    zero_init_residual: bool = False
    """Whether each block is initially the identity: the last batch norm has scale zero (Goyal et al. 2017, 5.1)."""

    def module(self, num_outputs: int, layers: Layers = Layers()) -> ResNetModule:
        return ResNetModule(self, num_outputs, layers)


class CifarResNetModule(nn.Module):
    """The network that a `CifarResNet` describes."""

    config: CifarResNet
    num_outputs: int
    layers: Layers = Layers()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch classes"]:
        """Returns the logits, in float32."""
        zero = self.config.zero_init_residual
        x = _stem(images, 16, train, self.layers)
        for stage, features in enumerate((16, 32, 64), start=1):
            for block in range(1, (self.config.depth - 2) // 6 + 1):
                stride = 2 if stage > 1 and block == 1 else 1
                name = f"stage{stage}_block{block}"
                x = BasicBlock(features, stride, "pad", zero, self.layers, name=name)(x, train)
        return _head(x, self.num_outputs, self.layers)


class ResNetModule(nn.Module):
    """The network that a `ResNet` describes."""

    config: ResNet
    num_outputs: int
    layers: Layers = Layers()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch classes"]:
        """Returns the logits, in float32."""
        zero = self.config.zero_init_residual
        blocks = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}[self.config.depth]
        make_block = BottleneckBlock if self.config.depth == 50 else functools.partial(BasicBlock, shortcut="project")
        x = _stem(images, 64, train, self.layers)
        for stage, (features, count) in enumerate(zip((64, 128, 256, 512), blocks, strict=True), start=1):
            for block in range(1, count + 1):
                stride = 2 if stage > 1 and block == 1 else 1
                name = f"stage{stage}_block{block}"
                x = make_block(features, stride, zero_init_residual=zero, layers=self.layers, name=name)(x, train)
        return _head(x, self.num_outputs, self.layers)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a residual connection (He et al. 2015, figure 5 left).

    Attributes:
      features: output channels.
      stride: the stride of the first convolution and of the shortcut.
      shortcut: the kind of shortcut if the shape changes: "pad" (option A) or "project" (option B).
      zero_init_residual: whether the scale of the last batch normalisation is initially zero.
      layers: how its layers compute; see `Layers`.
    """

    features: int
    stride: int
    shortcut: Literal["pad", "project"]
    zero_init_residual: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: Images, train: bool) -> Images:
        block = functools.partial(conv_norm, self.layers, train=train)
        y = nn.relu(block(x, self.features, 3, self.stride, name="1"))
        y = block(y, self.features, 3, 1, name="2", zero=self.zero_init_residual)
        if x.shape == y.shape:
            return nn.relu(x + y)
        if self.shortcut == "pad":
            return nn.relu(padded_shortcut(x, self.features, self.stride) + y)
        return nn.relu(block(x, self.features, 1, self.stride, name="_shortcut") + y)


class BottleneckBlock(nn.Module):
    """1×1, 3×3 and 1×1 convolutions with a residual connection (He et al. 2015, figure 5 right).

    Attributes:
      features: channels of the first two convolutions; the output has four times as many.
      stride: the stride of the 3×3 convolution and of the shortcut.
      zero_init_residual: whether the scale of the last batch normalisation is initially zero.
      layers: how its layers compute; see `Layers`.
    """

    features: int
    stride: int
    zero_init_residual: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: Images, train: bool) -> Images:
        block = functools.partial(conv_norm, self.layers, train=train)
        y = nn.relu(block(x, self.features, 1, 1, name="1"))
        y = nn.relu(block(y, self.features, 3, self.stride, name="2"))
        y = block(y, 4 * self.features, 1, 1, name="3", zero=self.zero_init_residual)
        if x.shape != y.shape:
            x = block(x, 4 * self.features, 1, self.stride, name="_shortcut")
        return nn.relu(x + y)


def padded_shortcut(
    x: Float[Array, "batch height width channels"], features: int, stride: int
) -> Float[Array, "batch smaller_height smaller_width features"]:
    """Selects every `stride`-th pixel and appends channels of zeros.

    Source: He et al. 2015, section 3.3, option A.
    """
    x = x[:, ::stride, ::stride, :]
    return jnp.pad(x, [(0, 0), (0, 0), (0, 0), (0, features - x.shape[-1])])


def _stem(images: Images, features: int, train: bool, layers: Layers) -> Images:
    return nn.relu(conv_norm(layers, images.astype(layers.dtype), features, 3, train=train, name="_stem"))


def _head(x: Images, num_outputs: int, layers: Layers) -> Float[Array, "batch classes"]:
    dense = layers.dense(num_outputs, kernel_init=HE_NORMAL, name="head")
    return dense(global_average(x)).astype(jnp.float32)
