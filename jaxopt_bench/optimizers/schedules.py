"""Learning-rate schedules: the factor on the learning rate as a function of the epochs trained so far.

They are written in `jax.numpy`, since their hyperparameters are arrays. Several of optax's schedules branch on the
values of their arguments.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxopt_bench.config import Bounds, ConfigTable, number_field
from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers.base import Hyperparameters, Tunable

Epoch = Float[Array, ""]


@dataclasses.dataclass(frozen=True)
class Schedule(Tunable, abc.ABC):
    """A multiplier of the learning rate over training. Its float fields may be traced, like an optimizer's."""

    @abc.abstractmethod
    def multiplier(self, hyperparameters: Hyperparameters, epoch: Epoch, epochs: int, step: float) -> Float[Array, ""]:
        """Returns the factor on the learning rate.

        Args:
          hyperparameters: the float fields by name, as arrays.
          epoch: epochs trained before this step; with s steps per epoch, step t is at epoch t / s.
          epochs: the number of epochs of the whole training.
          step: the length of a step, in epochs. A warm-up is one step ahead: its first step already has a learning
            rate above zero, and its last step has the full rate. `OneCycle` reaches `final` at the last step.
        """


@dataclasses.dataclass(frozen=True)
class WarmupSchedule(Schedule):
    """Base of the schedules that can begin with a linear warm-up.

    Raises:
      UserError: if the length of the warm-up is given both in epochs and as a share of training.
    """

    added_later: ClassVar[tuple[str, ...]] = ("warmup_share",)

    warmup: float = number_field(0.0, at_least=0)
    """Epochs of linear warm-up."""
    warmup_share: float | None = dataclasses.field(
        default=None, kw_only=True, metadata={"bounds": Bounds(at_least=0, at_most=1)}
    )
    """The length of the warm-up as a share of training, in place of a number of epochs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup_share is not None and self.warmup > 0:
            raise UserError(
                f"{type(self).__name__}.warmup is {self.warmup:g} epochs and warmup_share is {self.warmup_share:g}. "
                "Expected one of the two."
            )

    def warmup_epochs(self, epochs: int) -> float:
        """Returns the length of the warm-up, in epochs.

        Args:
          epochs: the number of epochs of the whole training.
        """
        return self.warmup if self.warmup_share is None else self.warmup_share * epochs


@dataclasses.dataclass(frozen=True)
class Constant(WarmupSchedule):
    """A constant learning rate after a linear warm-up."""

    def multiplier(self, hyperparameters: Hyperparameters, epoch: Epoch, epochs: int, step: float) -> Float[Array, ""]:
        """See `Schedule.multiplier`."""
        return _share(epoch + step, _warmup(hyperparameters, epochs))


@dataclasses.dataclass(frozen=True)
class MultiStep(Schedule):
    """Multiplies the learning rate by `factor` at each boundary, like PyTorch's `MultiStepLR`."""

    boundaries: tuple[float, ...] = number_field((100.0, 150.0), at_least=0)
    """Epochs at which the learning rate drops. A fraction of an epoch takes effect at the first step at or after it."""
    factor: float = number_field(0.1, above=0)
    """The factor on the learning rate at each boundary."""

    def multiplier(self, hyperparameters: Hyperparameters, epoch: Epoch, epochs: int, step: float) -> Float[Array, ""]:
        """See `Schedule.multiplier`."""
        return hyperparameters["factor"] ** jnp.sum(_with_margin(epoch, step) >= hyperparameters["boundaries"])


@dataclasses.dataclass(frozen=True)
class Exponential(Schedule):
    """Multiplies the learning rate by `factor` every `every` epochs, like PyTorch's `StepLR`."""

    every: float = number_field(50.0, above=0)
    """Epochs between two drops. It may be a fraction; a drop takes effect at the first step at or after it."""
    factor: float = number_field(0.1, above=0)
    """The factor on the learning rate at each drop."""

    def multiplier(self, hyperparameters: Hyperparameters, epoch: Epoch, epochs: int, step: float) -> Float[Array, ""]:
        """See `Schedule.multiplier`."""
        return hyperparameters["factor"] ** jnp.floor(_with_margin(epoch, step) / hyperparameters["every"])


@dataclasses.dataclass(frozen=True)
class Cosine(WarmupSchedule):
    """Linear warm-up, then half a cosine down to `final` (Loshchilov & Hutter, "SGDR", 2017, eq. 5,
    without restarts)."""

    final: float = number_field(0.0, at_least=0)
    """The multiplier at the end of training."""

    def multiplier(self, hyperparameters: Hyperparameters, epoch: Epoch, epochs: int, step: float) -> Float[Array, ""]:
        """See `Schedule.multiplier`."""
        warmup, final = _warmup(hyperparameters, epochs), hyperparameters["final"]
        decay = final + (1 - final) * _half_cosine(_share(epoch - warmup, epochs - warmup))
        return jnp.where(epoch < warmup, _share(epoch + step, warmup), decay)


@dataclasses.dataclass(frozen=True)
class Linear(WarmupSchedule):
    """Linear warm-up, then linear decay to `final` at the end of training (Bergsma et al., "Straight to zero", 2025).

    Step t of T steps, counted from 0, has the multiplier at the share t / T of training, like PyTorch's `LinearLR`. So
    with `final=0` and without a warm-up, the last step has 1 / T of the learning rate.
    """

    final: float = number_field(0.0, at_least=0)
    """The multiplier at the end of training."""

    def multiplier(self, hyperparameters: Hyperparameters, epoch: Epoch, epochs: int, step: float) -> Float[Array, ""]:
        """See `Schedule.multiplier`."""
        warmup, final = _warmup(hyperparameters, epochs), hyperparameters["final"]
        decay = final + (1 - final) * _share(epochs - epoch, epochs - warmup)
        return jnp.where(epoch < warmup, _share(epoch + step, warmup), decay)


@dataclasses.dataclass(frozen=True)
class WarmupStableDecay(WarmupSchedule):
    """Linear warm-up, constant learning rate, then linear cooldown to `final`: "WSD", also called trapezoidal
    (Zhai et al., "Scaling vision transformers", 2022; Hu et al., "MiniCPM", 2024).

    As in `Linear`, the last step is still above `final`, which a step after it would have. If warm-up and cooldown
    overlap, the lower of the two applies.
    """

    cooldown: float = number_field(0.2, at_least=0, at_most=1)
    """The share of training in which the learning rate falls; Hägele et al., 2024, take 0.2."""
    final: float = number_field(0.0, at_least=0, at_most=1)
    """The multiplier at the end of training."""

    def multiplier(self, hyperparameters: Hyperparameters, epoch: Epoch, epochs: int, step: float) -> Float[Array, ""]:
        """See `Schedule.multiplier`."""
        final = hyperparameters["final"]
        down = final + (1 - final) * _share(epochs - epoch, hyperparameters["cooldown"] * epochs)
        return jnp.minimum(_share(epoch + step, _warmup(hyperparameters, epochs)), down)


@dataclasses.dataclass(frozen=True)
class OneCycle(Schedule):
    """Rises and falls once along cosines (Smith & Topin, "Super-convergence", 2018): PyTorch's `OneCycleLR` with
    `anneal_strategy="cos"`, `three_phase=False` and `cycle_momentum=False`.

    With T steps the learning rate is highest at step `rise` · T − 1, counted from 0, and reaches `final` at step T − 1.
    """

    rise: float = number_field(0.3, above=0, below=1)
    """The share of training in which the learning rate rises."""
    start: float = number_field(0.04, above=0, at_most=1)
    """The multiplier at the first step; PyTorch's `1 / div_factor`."""
    final: float = number_field(4e-6, at_least=0, at_most=1)
    """The multiplier at the last step; PyTorch's `1 / (div_factor * final_div_factor)`."""

    def multiplier(self, hyperparameters: Hyperparameters, epoch: Epoch, epochs: int, step: float) -> Float[Array, ""]:
        """See `Schedule.multiplier`."""
        start, final = hyperparameters["start"], hyperparameters["final"]
        peak = hyperparameters["rise"] * epochs - step
        up = 1 + (start - 1) * _half_cosine(_share(epoch, peak))
        down = final + (1 - final) * _half_cosine(_share(epoch - peak, epochs - step - peak))
        return jnp.where(epoch < peak, up, down)


def _warmup(hyperparameters: Hyperparameters, epochs: int) -> Float[Array, ""]:
    """Returns the length of a schedule's warm-up, in epochs. Whether it is given as a share is static."""
    share = hyperparameters.get("warmup_share")
    return hyperparameters["warmup"] if share is None else share * epochs


def warmup_of(schedule: Schedule) -> tuple[float, float | None]:
    """Returns the length of a schedule's warm-up: `warmup` and `warmup_share`; (0, None) if it has none."""
    return (schedule.warmup, schedule.warmup_share) if isinstance(schedule, WarmupSchedule) else (0.0, None)


def _share(part: Float[Array, ""], whole: Float[Array, ""]) -> Float[Array, ""]:
    """Returns part / whole, limited to [0, 1]; 1 if the whole is not positive."""
    return jnp.where(whole > 0, jnp.clip(part / jnp.where(whole > 0, whole, 1), 0, 1), 1.0)


def _half_cosine(share: Float[Array, ""]) -> Float[Array, ""]:
    """Falls from 1 at share 0 to 0 at share 1."""
    return (1 + jnp.cos(jnp.pi * share)) / 2


def _with_margin(epoch: Epoch, step: float) -> Epoch:
    """Returns the epoch plus a margin for the rounding errors of float32, for comparisons with a boundary.

    Let u = 2⁻²⁴. The epoch of a step is at most u · (epoch + 2) too small and a boundary at most u · epoch too large.
    A margin of 8 u · (1 + epoch) covers both, so that a step never misses a boundary that it has reached. It is at most
    half a step: in a training of more than a million steps, a boundary between two steps may take effect at the first.
    """
    return epoch + jnp.minimum(2.0**-21 * (1 + epoch), step / 2)


SCHEDULES: ConfigTable[Schedule] = ConfigTable(
    "schedule",
    constant=Constant(),
    multi_step=MultiStep(),
    exponential=Exponential(),
    cosine=Cosine(),
    linear=Linear(),
    wsd=WarmupStableDecay(),
    one_cycle=OneCycle(),
)
