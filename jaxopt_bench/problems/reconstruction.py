"""Reconstruction: networks encode an image as a few numbers, and decode these numbers to the image."""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Key, PyTree

from jaxopt_bench import data
from jaxopt_bench.config import number_field
from jaxopt_bench.errors import UserError
from jaxopt_bench.models import MLP, Layers
from jaxopt_bench.models.layers import LayersPath
from jaxopt_bench.prng import IMPLEMENTATION
from jaxopt_bench.problems.base import Params, Problem, SplitProblem
from jaxopt_bench.problems.metrics import LOSS, Metric
from jaxopt_bench.problems.networks import apply_network
from jaxopt_bench.problems.views import Images, View

Losses = tuple[Float[Array, " batch"], dict[str, Float[Array, " batch"]]]
"""The losses of examples, and their statistics."""

_DIGITS_STEP = 15  # the intensities of the digits, 0 to 16, are stored times 15
_SHOWN = 24  # number of images on a page
_DRAWS = 16  # number of draws of the code of each example in evaluation; it is even


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reconstruction(SplitProblem):
    """An encoder of dense layers, a code of a few numbers, and a decoder that mirrors the encoder.

    Pixels are intensities from 0 to 1. The decoder returns their logits.
    """

    added_later: ClassVar[tuple[str, ...]] = ("per_pixel",)

    dataset: str = "digits"
    """The name of a data set of images. The labels are not used."""
    encoder: MLP = MLP(widths=(128, 64, 32), activation="tanh")
    """The hidden layers of the encoder. The decoder has the same layers in reverse order."""
    code: int = number_field(8, at_least=1)
    """The number of code units, without an activation."""
    validation_fraction: float = number_field(0.1, at_least=0, below=1)
    """The share of the training split that is used for validation: its last examples. 0 means no validation."""
    per_pixel: bool = False
    """Whether the loss is divided by the number of pixels (for a variational autoencoder, by `levels` times this
    number). The optimum is the same, and the default learning rates of SGD work better with such a loss."""

    reconstruction_error: ClassVar[Metric] = Metric(name="reconstruction_error", least=0.0)
    """The squared error of an image, summed over its pixels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (inputs := data.dataset(self.dataset).inputs) != "images":
            raise UserError(
                f"{type(self).__name__}.dataset is {self.dataset!r}, which consists of {inputs}. Expected a data set "
                "of images."
            )

    @property
    @abc.abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics, with the headline metric first."""

    @property
    @abc.abstractmethod
    def encoded(self) -> int:
        """The number of outputs of the encoder."""

    @property
    @abc.abstractmethod
    def random(self) -> bool:
        """Whether training draws random numbers."""

    @abc.abstractmethod
    def losses(self, network: Network, pixels: Float[Array, "batch pixels"], key: Key[Array, ""] | None) -> Losses:
        """Returns the losses of images and their statistics."""

    def load(self, data_dir: pathlib.Path | None = None, layers: LayersPath = "plain") -> Problem:
        """Reads the data set and returns the problem; see `ProblemConfig.load`."""
        dataset = data.load(self.dataset, data_dir)
        shape = dataset.spec.shape
        networks = self.networks(layers)

        def pixels(split: data.Split) -> Float[np.ndarray, "examples pixels"]:
            counts = split.inputs.reshape(len(split), -1) // (_DIGITS_STEP if self.dataset == "digits" else 1)
            return (counts / self.levels).astype(np.float32)

        def loss(params: Params, batch: Float[Array, "batch pixels"], key: Key[Array, ""] | None) -> Losses:
            losses, statistics = self.losses(Network(networks, params), batch, key)
            return losses / self.divisor, statistics

        def outputs(params: Params, batch: Float[Array, "batch pixels"]) -> dict[str, Array]:
            network = Network(networks, params)
            code = network.encode(batch, None)[:, : self.code]
            return {"reconstructions": jax.nn.sigmoid(network.decode(code, None)).reshape(-1, *shape)}

        def views(examples: Float[np.ndarray, "examples pixels"], outputs: Mapping[str, Any]) -> Sequence[View]:
            originals = np.asarray(examples[:_SHOWN], np.float64).reshape(-1, *shape)
            return [_pairs(originals, np.asarray(outputs["reconstructions"][:_SHOWN], np.float64))]

        train, validation = data.train_validation(dataset.split("train"), self.validation_fraction)
        return Problem(
            train=pixels(train),
            validation=None if validation is None else pixels(validation),
            test=lambda: pixels(dataset.split("test")),
            init=functools.partial(self._init, networks),
            loss=loss,
            metrics=self.metrics,
            outputs=outputs,
            views=views,
            random=self.random,
            facts={"image_shape": shape, "mean": dataset.mean, "std": dataset.std},
        )

    def parameter_shapes(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Returns the shapes and types of the parameters. It reads no data and computes nothing."""
        return jax.eval_shape(functools.partial(self._init, self.networks()), jax.random.key(0))

    def networks(self, layers: LayersPath = "plain") -> Mapping[str, nn.Module]:
        """Returns the encoder and the decoder."""
        mirrored = dataclasses.replace(self.encoder, widths=self.encoder.widths[::-1])
        return {
            "encoder": self.encoder.module(self.encoded, Layers(path=layers)),
            "decoder": mirrored.module(self._pixels, Layers(path=layers)),
        }

    def _init(self, networks: Mapping[str, nn.Module], key: Key[Array, ""]) -> Params:
        keys = dict(zip(networks, jax.random.split(key), strict=True))
        inputs = {"encoder": jnp.zeros((1, self._pixels)), "decoder": jnp.zeros((1, self.code))}
        return {name: module.init(keys[name], inputs[name], train=False)["params"] for name, module in networks.items()}

    @property
    def _pixels(self) -> int:
        return math.prod(data.dataset(self.dataset).shape)

    @property
    def divisor(self) -> int:
        """The number by which the sums over pixels are divided."""
        return self._pixels if self.per_pixel else 1

    @property
    def levels(self) -> int:
        """The largest value of a pixel; the smallest is 0. A pixel of the digits counts the dark pixels of 4 × 4."""
        return 16 if self.dataset == "digits" else 255


@dataclasses.dataclass(frozen=True)
class Network:
    """An encoder and a decoder with their parameters. Dropout is on if there is a key."""

    modules: Mapping[str, nn.Module]
    params: Params

    def encode(self, pixels: Float[Array, "batch pixels"], key: Key[Array, ""] | None) -> Float[Array, "batch encoded"]:
        """Returns the outputs of the encoder for images."""
        return apply_network(self.modules["encoder"], self.params["encoder"], pixels, key)

    def decode(self, code: Float[Array, "batch code"], key: Key[Array, ""] | None) -> Float[Array, "batch pixels"]:
        """Returns the logits of the pixels."""
        return apply_network(self.modules["decoder"], self.params["decoder"], code, key)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Autoencoder(Reconstruction):
    """A deep autoencoder. The loss of an image is the cross-entropy in nats, summed over its pixels.

    The metric is the squared error of an image, summed over its pixels.

    Source: Hinton and Salakhutdinov, 2006 (Science 313), and papers on second-order optimizers since Martens, 2010.
    """

    metric_names: ClassVar[tuple[str, ...] | None] = ("reconstruction_error", LOSS)

    @property
    def title(self) -> str:
        """The data set and the kind of network, such as "digits_autoencoder"."""
        return f"{self.dataset}_autoencoder"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """See `Reconstruction.metrics`."""
        unit = "nats per pixel" if self.per_pixel else "nats"
        return self.reconstruction_error, Metric(name=LOSS, unit=unit, least=0.0)

    @property
    def encoded(self) -> int:
        """See `Reconstruction.encoded`."""
        return self.code

    @property
    def random(self) -> bool:
        """See `Reconstruction.random`."""
        return self.encoder.has_dropout

    def losses(self, network: Network, pixels: Float[Array, "batch pixels"], key: Key[Array, ""] | None) -> Losses:
        """See `Reconstruction.losses`."""
        first, second = _split(key)
        logits = network.decode(network.encode(pixels, first), second)
        return _cross_entropy(logits, pixels), {"reconstruction_error": _squared_error(logits, pixels)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class VariationalAutoencoder(Reconstruction):
    """A variational autoencoder. The loss of an image is the negative evidence lower bound (ELBO) in nats.

    The prior of the code is a standard normal distribution. The posterior is a normal distribution with independent
    components. A pixel is modelled as the number of successes in `levels` trials: 16 for the digits, in which a pixel
    counts the dark pixels among 4 × 4 binary pixels. So the ELBO is a bound on the probability of the images, and bits
    per dimension can be compared between models.

    The KL divergence is exact. In training, the expected log-likelihood is estimated from one draw of the code. In
    evaluation, it is the mean over 16 fixed draws (8 draws and their negatives), which are the same for all images.
    This mean estimates the bound, unlike the likelihood of the mean code. The loss of an image depends neither on a
    seed nor on its batch.

    Source: Kingma and Welling, 2014 (arXiv 1312.6114), section 3 and appendix B.
    """

    metric_names: ClassVar[tuple[str, ...] | None] = ("bits_per_dimension", "reconstruction_error", LOSS)

    encoder: MLP = MLP(widths=(128, 64), activation="tanh")
    """The hidden layers of the encoder. The decoder has the same layers in reverse order."""

    @property
    def title(self) -> str:
        """The data set and the kind of network, such as "digits_vae"."""
        return f"{self.dataset}_vae"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """See `Reconstruction.metrics`."""
        bits = Metric(name="bits_per_dimension", unit="bits", least=0.0)
        unit = "nats per binary pixel" if self.per_pixel else "nats"
        return bits, self.reconstruction_error, Metric(name=LOSS, words="negative ELBO", unit=unit, least=0.0)

    @property
    def divisor(self) -> int:
        """See `Reconstruction.divisor`."""
        return self.levels * super().divisor if self.per_pixel else 1

    @property
    def encoded(self) -> int:
        """See `Reconstruction.encoded`: a mean and the logarithm of a variance for each code unit."""
        return 2 * self.code

    @property
    def random(self) -> bool:
        """True, because the code is drawn at random."""
        return True

    def losses(self, network: Network, pixels: Float[Array, "batch pixels"], key: Key[Array, ""] | None) -> Losses:
        """See `Reconstruction.losses`."""
        if key is None:
            half = jax.random.normal(jax.random.key(0, impl=IMPLEMENTATION), (_DRAWS // 2, 1, self.code))
            noise = jnp.concatenate([half, -half])
            first = second = None
        else:
            first, second, third = jax.random.split(key, 3)
            noise = jax.random.normal(third, (1, len(pixels), self.code))
        mean, log_variance = jnp.split(network.encode(pixels, first), 2, axis=-1)
        codes = mean + jnp.exp(log_variance / 2) * noise
        logits = jax.vmap(lambda code: network.decode(code, second))(codes)
        divergence = 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance).sum(axis=-1)
        reconstruction = self.levels * _cross_entropy(logits, pixels).mean(axis=0)
        losses = divergence + reconstruction - _log_combinations(self.levels, pixels).sum(axis=-1)
        statistics = {
            "bits_per_dimension": losses / (pixels.shape[-1] * math.log(2)),
            "reconstruction_error": _squared_error(logits, pixels).mean(axis=0),
        }
        return losses, statistics


def _split(key: Key[Array, ""] | None) -> tuple[Key[Array, ""] | None, Key[Array, ""] | None]:
    if key is None:
        return None, None
    first, second = jax.random.split(key)
    return first, second


def _cross_entropy(
    logits: Float[Array, "*batch pixels"], pixels: Float[Array, "batch pixels"]
) -> Float[Array, "*batch"]:
    return optax.sigmoid_binary_cross_entropy(logits, pixels).sum(axis=-1)


def _squared_error(
    logits: Float[Array, "*batch pixels"], pixels: Float[Array, "batch pixels"]
) -> Float[Array, "*batch"]:
    return ((jax.nn.sigmoid(logits) - pixels) ** 2).sum(axis=-1)


def _log_combinations(levels: int, pixels: Float[Array, "batch pixels"]) -> Float[Array, "batch pixels"]:
    """Returns the logarithms of the binomial coefficients of `levels` and the value of each pixel."""
    counts = levels * pixels
    log_factorial = jax.scipy.special.gammaln
    return log_factorial(levels + 1.0) - log_factorial(counts + 1) - log_factorial(levels - counts + 1)


def _pairs(
    originals: Float[np.ndarray, "images height width channels"],
    reconstructions: Float[np.ndarray, "images height width channels"],
) -> Images:
    """Returns each original on the left of its reconstruction."""
    gap = np.ones((*originals.shape[:2], 1, originals.shape[3]))
    both = np.concatenate([originals, gap, reconstructions], axis=2)
    errors = ((originals - reconstructions) ** 2).sum(axis=(1, 2, 3))
    return Images(
        title="Reconstructions",
        text="Left: the image. Right: its reconstruction. The number is the squared error, summed over pixels.",
        images=np.round(255 * both).astype(np.uint8),
        captions=[f"{error:.2f}" for error in errors],
    )
