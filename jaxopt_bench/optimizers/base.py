"""What every optimizer of the benchmark is: a frozen configuration that builds an optax transformation."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer, PyTree

from jaxopt_bench.config import Config, float_arrays, number

Hyperparameters = Mapping[str, Float[Array, "*shape"]]
Multiplier = Callable[[Integer[Array, ""]], Float[Array, ""]]
Decay = Literal["coupled", "decoupled"]
DecayMask = Literal["all", "kernels"]


@dataclasses.dataclass(frozen=True)
class Optimizer(Config, abc.ABC):
    """An optimizer and its hyperparameters.

    The float fields reach `transform` as arrays, so that a compiled step serves every value of them; integers,
    booleans, strings and whether an optional field is None are static.

    Weight decay is `coupled` where it is added to the gradient, as the gradient of an L2 penalty is, and so enters
    whatever the optimizer remembers of gradients; it is `decoupled` where it is added to the rescaled update. In
    both it is multiplied by the learning rate.
    """

    decay: ClassVar[Decay] = "coupled"

    learning_rate: float = number(1e-3, at_least=0)
    """Step size at the schedule's multiplier 1."""
    weight_decay: float = number(0.0, at_least=0)
    """Coefficient of the weight decay, coupled (L2) or decoupled as the optimizer says."""
    decay_mask: DecayMask = "all"
    """What decays: all parameters, or kernels only (neither biases nor the scales of normalisation layers)."""

    @abc.abstractmethod
    def scale(self, hyperparameters: Hyperparameters) -> optax.GradientTransformation:
        """Returns the rescaling of gradients that makes the optimizer what it is, learning rate and decay apart."""

    def transform(
        self, hyperparameters: Hyperparameters, multiplier: Multiplier | None = None
    ) -> optax.GradientTransformation:
        """Composes the whole optimizer.

        Args:
          hyperparameters: the float fields by name, as arrays (possibly traced); see `hyperparameters`.
          multiplier: maps the count of updates made so far to the factor on the learning rate; None is 1.
        """
        learning_rate = hyperparameters["learning_rate"]
        decay = optax.add_decayed_weights(
            hyperparameters["weight_decay"], mask=_is_kernel if self.decay_mask == "kernels" else None
        )
        scale = self.scale(hyperparameters)
        return optax.chain(
            *([decay, scale] if self.decay == "coupled" else [scale, decay]),
            optax.scale_by_learning_rate(lambda n: learning_rate * multiplier(n) if multiplier else learning_rate),
        )

    def hyperparameters(self) -> Hyperparameters:
        """Returns the float fields by name, as float32 arrays."""
        return {name: jnp.asarray(value) for name, value in float_arrays(self).items()}


def _is_kernel(params: PyTree[Array]) -> PyTree[bool]:
    return jax.tree.map(lambda leaf: leaf.ndim >= 2, params)
