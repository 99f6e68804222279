"""AlexNet: the network of 2012, its form for CIFAR, and a smaller network that is common in CIFAR experiments."""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxopt_bench.config import number_field
from jaxopt_bench.models.base import Model
from jaxopt_bench.models.layers import (
    GLOROT_UNIFORM,
    Layers,
    check_side,
    flatten,
    local_response_normalization,
    smallest_side,
)


@dataclasses.dataclass(frozen=True)
class AlexNet(Model):
    """Five convolutions with ReLU and three dense layers, with dropout after the first two dense layers.

    With the "cifar" stem it has 30,351,844 parameters on 32×32 colour images and 100 classes. With the "imagenet"
    stem it is the network of the paper: 62,378,344 parameters on 227×227 images and 1,000 classes, 60,965,224 with
    the paper's groups. Weights are Glorot (Xavier) uniform and biases zero. The paper uses normal weights with
    standard deviation 0.01, and some biases of one.

    Source: Krizhevsky, Sutskever and Hinton 2012, "ImageNet Classification with Deep Convolutional Neural Networks".
    """

    stem: Literal["cifar", "imagenet"] = "cifar"
    """The first convolution: 5×5 with stride 1 for small images, or the paper's unpadded 11×11 with stride 4."""
    groups: bool = False
    """Whether convolutions 2, 4 and 5 have two groups, each with half of the channels, as on the paper's two GPUs."""
    local_response_normalization: bool = False
    """Whether the first two convolutions are normalised across channels, as in the paper's section 3.3."""
    dense: int = number_field(4096, at_least=1)
    """Number of units in each of the two hidden dense layers."""
    dropout: float = number_field(0.5, at_least=0, below=1)
    """Probability that training drops a unit of a hidden dense layer."""

    def module(self, num_outputs: int, layers: Layers = Layers()) -> AlexNetModule:
        return AlexNetModule(self, num_outputs, layers)


class AlexNetModule(nn.Module):
    """The network that an `AlexNet` describes."""

    config: AlexNet
    num_outputs: int
    layers: Layers = Layers()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch classes"]:
        """Returns the logits, in float32.

        Raises:
          UserError: if the images are too small for the stem and three poolings.
        """
        first = [(11, 4)] if self.config.stem == "imagenet" else []  # the "cifar" stem keeps the size
        smallest = smallest_side(*first, (3, 2), (3, 2), (3, 2))
        check_side(f"AlexNet(stem={self.config.stem!r})", images, smallest)
        return self._dense_layers(self._convolutions(images.astype(self.layers.dtype)), train)

    def _convolutions(self, x: Float[Array, "batch height width channels"]) -> Float[Array, "batch features"]:
        conv = functools.partial(self.layers.conv, use_bias=True, kernel_init=GLOROT_UNIFORM)
        max_pool = self.layers.max_pool
        groups = 2 if self.config.groups else 1
        if self.config.stem == "imagenet":
            x = nn.relu(conv(96, 11, stride=4, padding="VALID", name="conv1")(x))
        else:
            x = nn.relu(conv(96, 5, name="conv1")(x))
        x = max_pool(self._normalised(x), 3, 2)
        x = nn.relu(conv(256, 5, groups=groups, name="conv2")(x))
        x = max_pool(self._normalised(x), 3, 2)
        x = nn.relu(conv(384, 3, name="conv3")(x))
        x = nn.relu(conv(384, 3, groups=groups, name="conv4")(x))
        x = nn.relu(conv(256, 3, groups=groups, name="conv5")(x))
        return flatten(max_pool(x, 3, 2))

    def _normalised(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width channels"]:
        return local_response_normalization(x) if self.config.local_response_normalization else x

    def _dense_layers(self, x: Float[Array, "batch features"], train: bool) -> Float[Array, "batch classes"]:
        dense = functools.partial(self.layers.dense, kernel_init=GLOROT_UNIFORM)
        for name in ("dense1", "dense2"):
            x = nn.relu(dense(self.config.dense, name=name)(x))
            x = nn.Dropout(self.config.dropout, deterministic=not train)(x)
        return dense(self.num_outputs, name="head")(x).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class AlexNetSmall(Model):
    """The small CIFAR form of AlexNet: the ImageNet stem on 32×32 images, and a single dense layer.

    The stem reduces the image to 8×8 pixels and the three poolings reduce it to 1×1, so the network is fast but not
    very accurate: the published accuracy is 43.9% on CIFAR-100 and 77.2% on CIFAR-10. It has 2,472,266 parameters with
    10 classes. Weights are Glorot (Xavier) uniform and biases zero.

    Source: the `alexnet` of Wei Yang's pytorch-classification, after Krizhevsky 2014, "One weird trick for
    parallelizing convolutional neural networks".
    """

    def module(self, num_outputs: int, layers: Layers = Layers()) -> AlexNetSmallModule:
        return AlexNetSmallModule(self, num_outputs, layers)


class AlexNetSmallModule(nn.Module):
    """The network that an `AlexNetSmall` describes."""

    config: AlexNetSmall
    num_outputs: int
    layers: Layers = Layers()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch classes"]:
        """Returns the logits, in float32. Training and evaluation are the same.

        Raises:
          UserError: if the images are too small for the stem and three poolings.
        """
        del train
        conv = functools.partial(self.layers.conv, use_bias=True, kernel_init=GLOROT_UNIFORM)
        max_pool = self.layers.max_pool
        smallest = smallest_side((11, 4), (2, 2), (2, 2), (2, 2)) - 2 * 5  # the stem pads 5 on each side
        check_side("AlexNetSmall", images, smallest)
        x = nn.relu(conv(64, 11, stride=4, padding=5, name="conv1")(images.astype(self.layers.dtype)))
        x = nn.relu(conv(192, 5, name="conv2")(max_pool(x, 2, 2)))
        x = nn.relu(conv(384, 3, name="conv3")(max_pool(x, 2, 2)))
        x = nn.relu(conv(256, 3, name="conv4")(x))
        x = nn.relu(conv(256, 3, name="conv5")(x))
        x = flatten(max_pool(x, 2, 2))
        head = self.layers.dense(self.num_outputs, kernel_init=GLOROT_UNIFORM, name="head")
        return head(x).astype(jnp.float32)
