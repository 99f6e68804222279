"""Learning-rate schedules: the factor on the learning rate as a function of the epochs trained so far.

Written in `jax.numpy` throughout, since their numbers are arrays: several of optax's schedules branch on the
values of their arguments.
"""

from __future__ import annotations

import abc
import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxopt_bench.config import Config, Named, float_arrays, number
from jaxopt_bench.optimizers.base import Hyperparameters

Epoch = Float[Array, ""]


@dataclasses.dataclass(frozen=True)
class Schedule(Config, abc.ABC):
    """A multiplier of the learning rate over training. Its float fields may be traced, like an optimizer's."""

    @abc.abstractmethod
    def multiplier(self, numbers: Hyperparameters, epoch: Epoch, epochs: int, step: float = 0.0) -> Float[Array, ""]:
        """Returns the factor on the learning rate.

        Args:
          numbers: the float fields by name, as arrays.
          epoch: epochs trained before this step; with s steps an epoch, step t is at epoch t / s.
          epochs: how many the whole training has.
          step: the length of a step, in epochs. A warm-up is ahead by it: its first step already has a learning rate
            above zero, by which some optimizers divide, and its last one the full rate.
        """

    def numbers(self) -> Hyperparameters:
        """Returns the float fields by name, as float32 arrays."""
        return {name: jnp.asarray(value) for name, value in float_arrays(self).items()}


@dataclasses.dataclass(frozen=True)
class Constant(Schedule):
    """The learning rate throughout, after a linear warm-up."""

    warmup: float = number(0.0, at_least=0)
    """Epochs of linear warm-up."""

    def multiplier(self, numbers: Hyperparameters, epoch: Epoch, epochs: int, step: float = 0.0) -> Float[Array, ""]:
        """See `Schedule.multiplier`."""
        return _share(epoch + step, numbers["warmup"])


@dataclasses.dataclass(frozen=True)
class MultiStep(Schedule):
    """Multiplies the learning rate by `factor` at each boundary."""

    boundaries: tuple[float, ...] = number((100.0, 150.0), at_least=0)
    """Epochs at whose start the learning rate drops."""
    factor: float = number(0.1, above=0)
    """What it is multiplied by at each."""

    def multiplier(self, numbers: Hyperparameters, epoch: Epoch, epochs: int, step: float = 0.0) -> Float[Array, ""]:
        """See `Schedule.multiplier`."""
        return numbers["factor"] ** jnp.sum(epoch >= numbers["boundaries"])


@dataclasses.dataclass(frozen=True)
class Exponential(Schedule):
    """Multiplies the learning rate by `factor` every `every` epochs."""

    every: float = number(50.0, above=0)
    """Epochs between two drops."""
    factor: float = number(0.1, above=0)
    """What the learning rate is multiplied by at each."""

    def multiplier(self, numbers: Hyperparameters, epoch: Epoch, epochs: int, step: float = 0.0) -> Float[Array, ""]:
        """See `Schedule.multiplier`."""
        return numbers["factor"] ** jnp.floor(epoch / numbers["every"])


@dataclasses.dataclass(frozen=True)
class Cosine(Schedule):
    """Linear warm-up, then half a cosine down to `final` (Loshchilov & Hutter, "SGDR", 2017, eq. 5,
    without restarts)."""

    warmup: float = number(0.0, at_least=0)
    """Epochs of linear warm-up."""
    final: float = number(0.0, at_least=0)
    """The multiplier at the end of training."""

    def multiplier(self, numbers: Hyperparameters, epoch: Epoch, epochs: int, step: float = 0.0) -> Float[Array, ""]:
        """See `Schedule.multiplier`."""
        warmup, final = numbers["warmup"], numbers["final"]
        decay = final + (1 - final) * _half_cosine(_share(epoch - warmup, epochs - warmup))
        return jnp.where(epoch < warmup, _share(epoch + step, warmup), decay)


@dataclasses.dataclass(frozen=True)
class OneCycle(Schedule):
    """Up and down once along cosines (Smith & Topin, "Super-convergence", 2018), in the form of PyTorch's
    `OneCycleLR` without momentum cycling."""

    rise: float = number(0.3, above=0, below=1)
    """The share of training in which the learning rate rises."""
    start: float = number(0.04, above=0, at_most=1)
    """The multiplier at the first step."""
    final: float = number(4e-6, at_least=0, at_most=1)
    """The multiplier at the end."""

    def multiplier(self, numbers: Hyperparameters, epoch: Epoch, epochs: int, step: float = 0.0) -> Float[Array, ""]:
        """See `Schedule.multiplier`."""
        rise, start, final = numbers["rise"] * epochs, numbers["start"], numbers["final"]
        up = 1 + (start - 1) * _half_cosine(_share(epoch, rise))
        down = final + (1 - final) * _half_cosine(_share(epoch - rise, epochs - rise))
        return jnp.where(epoch < rise, up, down)


def _share(part: Float[Array, ""], whole: Float[Array, ""]) -> Float[Array, ""]:
    """Returns part / whole within [0, 1]; 1 where the whole is nothing."""
    return jnp.where(whole > 0, jnp.clip(part / jnp.where(whole > 0, whole, 1), 0, 1), 1.0)


def _half_cosine(share: Float[Array, ""]) -> Float[Array, ""]:
    """Falls from 1 at share 0 to 0 at share 1."""
    return (1 + jnp.cos(jnp.pi * share)) / 2


SCHEDULES: Named[Schedule] = Named(
    "schedule",
    constant=Constant(),
    multi_step=MultiStep(),
    exponential=Exponential(),
    cosine=Cosine(),
    one_cycle=OneCycle(),
)
