"""The layers of the models. This module makes each layer whose implementation can be selected.

Architectures and training do not belong in this module.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float

from jaxopt_bench.errors import UserError
from jaxopt_bench.models import activations, convolution, onednn, products
from jaxopt_bench.models.layer_normalization import LayerNorm
from jaxopt_bench.models.normalization import BatchNorm
from jaxopt_bench.models.pooling import max_pool

Padding = Literal["SAME", "VALID"] | int
LayersPath = Literal["plain", "native", "pure", "onednn"]

HE_NORMAL = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
"""Normal with variance 2 / fan_in, not truncated (He et al. 2015, "Delving Deep into Rectifiers", eq. 10)."""

_CONVOLUTIONS = {"pure": lambda: convolution.conv_general_dilated, "onednn": lambda: onednn.conv_general_dilated}

EMBEDDING_INIT = nn.initializers.normal(0.02)
"""Normal with standard deviation 0.02, as GPT-2 initialises embeddings (Radford et al. 2019)."""

GLOROT_UNIFORM = nn.initializers.glorot_uniform()
"""Uniform within ±sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16), also called Xavier."""


@dataclasses.dataclass(frozen=True)
class Layers:
    """The settings of layers: their dtype, and one of several implementations of the same functions.

    For all values of the fields, parameters and running averages are float32 and have the same names.
    """

    dtype: Literal["float32", "bfloat16"] = "float32"
    """The type of the layers' computations."""
    path: LayersPath = "plain"
    """The implementation of the layers.

    * "plain": the layers of Flax and XLA.
    * "native": XLA's convolutions; a pooling, a batch normalisation and a GELU with fast gradients, without scatter
      operations.
    * "pure": like "native", with convolutions that are fast on CPUs.
    * "onednn": like "pure", for most large float32 layers with oneDNN's convolutions and products of dense layers and
      attention, and with layer normalisation and the sums of batch normalisation in C++. Such a layer raises a
      `UserError` if the kernels are not built, or are built without oneDNN.
    """

    def conv(
        self,
        features: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: Padding = "SAME",
        groups: int = 1,
        use_bias: bool,
        kernel_init: Initializer,
        name: str,
    ) -> nn.Conv:
        """Returns a square convolution.

        Args:
          features: output channels.
          kernel: side of the filter, in pixels.
          stride: step between outputs along both sides.
          padding: "SAME", "VALID", or the zeros added on each of the four sides.
          groups: number of groups of channels. Each output depends on one group of inputs.
          use_bias: whether a bias, initially zero, is added.
          kernel_init: distribution of the initial weights.
          name: its name among the parameters.
        """
        return nn.Conv(
            features,
            (kernel, kernel),
            strides=(stride, stride),
            padding=padding,
            feature_group_count=groups,
            use_bias=use_bias,
            kernel_init=kernel_init,
            dtype=self.dtype,
            conv_general_dilated_cls=_CONVOLUTIONS.get(self.path),
            name=name,
        )

    def conv1d(
        self,
        features: int,
        kernel: int,
        *,
        stride: int = 1,
        use_bias: bool = True,
        kernel_init: Initializer,
        name: str,
    ) -> nn.Conv:
        """Returns a convolution over the length of sequences, [batch, length, channels].

        The same number of zeros is added at both ends, so that stride 1 and an odd kernel keep the length.

        Args:
          features: output channels.
          kernel: length of the filter.
          stride: step between outputs.
          use_bias: whether it has a bias, initially zero.
          kernel_init: distribution of the initial weights.
          name: its name among the parameters.
        """
        implementation = _CONVOLUTIONS.get(self.path)
        return nn.Conv(
            features,
            (kernel,),
            strides=(stride,),
            padding=kernel // 2,
            use_bias=use_bias,
            kernel_init=kernel_init,
            dtype=self.dtype,
            conv_general_dilated_cls=implementation and (lambda: convolution.over_length(implementation())),
            name=name,
        )

    def embed(self, vocabulary: int, features: int, *, name: str) -> nn.Embed:
        """Returns a table of the features of each token.

        Args:
          vocabulary: the number of tokens.
          features: the number of features of each token.
          name: its name among the parameters.
        """
        return nn.Embed(vocabulary, features, dtype=self.dtype, embedding_init=EMBEDDING_INIT, name=name)

    def dense(self, features: int, *, kernel_init: Initializer, name: str) -> nn.Dense:
        """Returns a dense layer with a bias, initially zero.

        Args:
          features: output features.
          kernel_init: distribution of the initial weights.
          name: its name among the parameters.
        """
        product = (lambda: products.dot_general) if self.path == "onednn" else None
        return nn.Dense(features, kernel_init=kernel_init, dtype=self.dtype, dot_general_cls=product, name=name)

    def dot_product_attention(
        self,
        query: products.Tokens,
        key: products.Tokens,
        value: products.Tokens,
        *,
        is_causal: bool,
    ) -> products.Tokens:
        """Returns softmax(query · keyᵀ / √features) · value for each head (Vaswani et al. 2017, eq. 1).

        Args:
          query: the queries, [batch, tokens, heads, features].
          key: the keys.
          value: a value for each key.
          is_causal: whether a query attends only to the keys at its position and before it.
        """
        attend = products.dot_product_attention if self.path == "onednn" else jax.nn.dot_product_attention
        return attend(query, key, value, is_causal=is_causal)

    def gelu(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Returns the GELU of each value, with the error function, not with the approximation by tanh."""
        return nn.gelu(x, approximate=False) if self.path == "plain" else activations.gelu(x)

    def max_pool(
        self, images: Float[Array, "batch height width channels"], window: int, stride: int
    ) -> Float[Array, "batch smaller_height smaller_width channels"]:
        """Returns the maximum of each square window. Windows that would cross the edge are omitted."""
        if self.path == "plain":
            return nn.max_pool(images, (window, window), strides=(stride, stride))
        return max_pool(images, window, stride)

    def batch_norm(self, *, train: bool, name: str, scale_init: Initializer = nn.initializers.ones) -> nn.Module:
        """Returns batch normalisation (Ioffe and Szegedy 2015) in the form of the ResNets.

        Training normalises by the mean and the biased variance of the batch, and updates the running averages by
        `average <- 0.9 average + 0.1 batch`. Evaluation normalises by the running averages. Statistics are float32
        for each `dtype`.

        Args:
          train: whether it is training.
          name: its name among the parameters.
          scale_init: distribution of the initial scales.
        """
        ours = functools.partial(BatchNorm, sums_in_cpp=self.path == "onednn")
        module = nn.BatchNorm if self.path == "plain" else ours
        return module(
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            dtype=self.dtype,
            scale_init=scale_init,
            name=name,
        )

    def layer_norm(self, *, name: str) -> nn.Module:
        """Returns layer normalisation over the last axis (Ba et al. 2016). Its statistics are float32 for each `dtype`.

        Args:
          name: its name among the parameters.
        """
        module = LayerNorm if self.path == "onednn" else nn.LayerNorm
        return module(epsilon=1e-6, dtype=self.dtype, name=name)


def conv_norm(
    layers: Layers,
    images: Float[Array, "batch height width channels"],
    features: int,
    kernel: int,
    stride: int = 1,
    *,
    train: bool,
    name: str,
    zero: bool = False,
) -> Float[Array, "batch smaller_height smaller_width features"]:
    """Applies a convolution without bias and a batch normalisation, as submodules conv… and norm… of the caller.

    Padding is the same on all sides, so that strided outputs are centred on the pixels that a strided shortcut selects
    ("SAME" would pad only at the end). The weights have He initialisation.

    Args:
      layers: how the layers compute.
      images: the input.
      features: output channels.
      kernel: side of the filter, in pixels.
      stride: step between outputs along both sides.
      train: whether it is training.
      name: the text after "conv" and "norm" in the names of the submodules.
      zero: whether the scales of the normalisation are initially zero.
    """
    scale_init = nn.initializers.zeros if zero else nn.initializers.ones
    padding = kernel // 2
    conv = layers.conv(
        features, kernel, stride=stride, padding=padding, use_bias=False, kernel_init=HE_NORMAL, name=f"conv{name}"
    )
    return layers.batch_norm(train=train, name=f"norm{name}", scale_init=scale_init)(conv(images))


def local_response_normalization(
    activations: Float[Array, "batch height width channels"],
    *,
    k: float = 2.0,
    n: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
) -> Float[Array, "batch height width channels"]:
    """Divides each activation by (k + alpha · Σ a_j²)^beta, with the sum over the n channels around it.

    The sum is truncated at the first and last channel. Unlike in Caffe and PyTorch, alpha is not divided by n. The norm
    is computed in float32, because in bfloat16 rounding would remove alpha times a small sum from its sum with k.

    Source: Krizhevsky, Sutskever and Hinton 2012, section 3.3.
    """
    squares = jnp.square(activations.astype(jnp.float32))
    channels, reach = squares.shape[-1], n // 2
    padded = jnp.pad(squares, [(0, 0)] * (squares.ndim - 1) + [(reach, reach)])
    total = sum(padded[..., shift : shift + channels] for shift in range(2 * reach + 1))
    return (activations / (k + alpha * total) ** beta).astype(activations.dtype)


def smallest_side(*windows: tuple[int, int]) -> int:
    """Returns the side of the smallest image that leaves one pixel after unpadded windows of (size, stride)."""
    side = 1
    for size, stride in reversed(windows):
        side = (side - 1) * stride + size
    return side


def check_side(model: str, images: Float[Array, "batch height width channels"], smallest: int) -> None:
    """Checks that the images are large enough for the pooling of the model.

    Raises:
      UserError: if they are too small. The message names the size of the images and the smallest accepted size.
    """
    height, width = images.shape[1:3]
    if min(height, width) < smallest:
        raise UserError(
            f"images of {height}×{width} pixels are too small for {model}. Expected: {smallest}×{smallest} or larger."
        )


def flatten(examples: Float[Array, "batch *shape"]) -> Float[Array, "batch features"]:
    """Returns each example as one row."""
    return examples.reshape(examples.shape[0], -1)


def global_average(images: Float[Array, "batch height width channels"]) -> Float[Array, "batch channels"]:
    """Returns the mean of each channel over the image."""
    return jnp.mean(images, axis=(1, 2))
