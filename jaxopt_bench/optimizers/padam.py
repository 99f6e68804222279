"""Padam: the partially adaptive momentum estimation method, as an optax transform written by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer, PyTree

from jaxopt_bench.config import number_field
from jaxopt_bench.optimizers.axes import Axis, Choice
from jaxopt_bench.optimizers.base import Hyperparameters, RescalingOptimizer, Scalar, StepContext

GRADIENT_UNIT = 0.01
"""A unit of gradients with which the same learning rates are good for all of Padam's exponents.

With this unit, Padam's default learning rate 0.1 equals AMSGrad's 1e-3 at p = 1/2, so both have the same range of
learning rates at p = 1/2. The best trials of the recorded studies, in the paper's learning rates, are 0.32 (digits) and
0.19 (CIFAR-100) at p = 0.125, 0.24 at p = 0.074 and 0.014 at p = 0.40 (CIFAR-10). In this unit they are 1.02, 0.61,
0.48 and 0.57.
"""


class ScaleByPadamState(NamedTuple):
    """The number of updates, the two moments, and the largest second moment of each element so far."""

    count: Integer[Array, ""]  # type: ignore[assignment]  # the field's name in optax, though a tuple has a count
    mu: PyTree[Array]
    nu: PyTree[Array]
    nu_max: PyTree[Array]


def scale_by_padam(
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    partial: Scalar = 0.125,
    eps: Scalar = 0.0,
    *,
    bias_correction: bool = False,
) -> optax.GradientTransformation:
    """Rescales updates by Padam (Chen et al., "Closing the generalization gap of adaptive gradient methods in
    training deep neural networks", 2020, Algorithm 1).

    With the gradient g:

        m_t = b1 m_{t−1} + (1 − b1) g_t    v_t = b2 v_{t−1} + (1 − b2) g_t²
        w_t = max(w_{t−1}, v_t)            u_t = c_t m_t / (√w_t + eps)^{2p}

    In the paper eps = 0 and c_t = 1, so the denominator is w_t^p. Its authors' code has an eps, and
    c_t = √(1 − b2^t) / (1 − b1^t). At p = 1/2 the paper's form is AMSGrad. At p = 0 it is SGD with momentum, with a
    learning rate of 1 − b1 times this one. If the denominator is zero, all gradients so far were zero, and the update
    is zero.

    Args:
      b1: decay of the first moment.
      b2: decay of the second moment.
      partial: the exponent p, in [0, 1/2].
      eps: added to the root of the second moment.
      bias_correction: multiply by c_t, as the authors' code does.
    """

    def init_fn(params: PyTree[Array]) -> ScaleByPadamState:
        zeros = optax.tree.zeros_like(params)
        return ScaleByPadamState(jnp.zeros([], jnp.int32), zeros, zeros, zeros)

    def update_fn(
        updates: PyTree[Array], state: ScaleByPadamState, params: PyTree[Array] | None = None
    ) -> tuple[PyTree[Array], ScaleByPadamState]:
        del params
        count = optax.safe_increment(state.count)
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(updates, state.nu, b2, 2)
        nu_max = jax.tree.map(jnp.maximum, state.nu_max, nu)
        updates = jax.tree.map(lambda m, v: _over_power(m, jnp.sqrt(v) + eps, 2 * partial), mu, nu_max)
        if bias_correction:
            updates = optax.tree.scale(jnp.sqrt(1 - b2**count) / (1 - b1**count), updates)
        return updates, ScaleByPadamState(count, mu, nu, nu_max)

    return optax.GradientTransformation(init_fn, update_fn)


@dataclasses.dataclass(frozen=True)
class Padam(RescalingOptimizer):
    """Padam with coupled (L2) weight decay, as its authors train it; see `scale_by_padam` for the update.

    The defaults are the paper's form. `bias_correction=True, eps=1e-8` is the form of the authors' code, which
    they used for their published results.

    The exponent can change during training, from `partial` at the beginning to `final_partial` at the end, linearly
    with the completed share of training. So an adaptive method can become SGD with momentum, or the other way round. A
    report on the paper's reproduction (Mittal et al., ICLR reproducibility challenge, 2019) proposes that the exponent
    changes, but does not specify how.

    In the paper's form, good learning rates depend on the exponent: they are about fifty times larger at p = 1/16 than
    at p = 1/2. With a `gradient_unit` u the update is c_t m_t / ((√w_t + eps) / u)^{2p}. In the
    unit `GRADIENT_UNIT`, one range of learning rates serves all exponents. So if a unit is set, the exponent is
    searched by default together with the learning rate, and the search space contains that of AMSGrad.
    """

    source = "Chen et al., 2020, Algorithm 1"
    added_later: ClassVar[tuple[str, ...]] = (*RescalingOptimizer.added_later, "gradient_unit")

    learning_rate: float = number_field(0.1, at_least=0)
    """Step size at the schedule's multiplier 1."""
    b1: float = number_field(0.9, at_least=0, below=1)
    """Decay of the first moment."""
    b2: float = number_field(0.999, at_least=0, below=1)
    """Decay of the second moment."""
    partial: float = number_field(0.125, at_least=0, at_most=0.5)
    """The exponent p of the second moment: 1/2 is AMSGrad, 0 is SGD with momentum."""
    final_partial: float | None = number_field(None, at_least=0, at_most=0.5)
    """The exponent at the end of training; None keeps it constant."""
    eps: float = number_field(0.0, at_least=0)
    """Added to the root of the maximal second moment; the paper has no eps."""
    bias_correction: bool = False
    """Scale the step by sqrt(1 - b2^t) / (1 - b1^t), as the authors' code does."""
    gradient_unit: float | None = number_field(None, above=0)
    """The unit of gradients in the denominator; None is the paper's form, which is the same as 1."""

    def search_space(self) -> Mapping[str, Axis | Choice]:
        """See `Optimizer.search_space`."""
        space = super().search_space()
        return space if self.gradient_unit is None else {**space, "partial": self.axes()["partial"]}

    def scale(self, hyperparameters: Hyperparameters, context: StepContext) -> optax.GradientTransformation:
        """See `RescalingOptimizer.scale`."""
        b1, b2, partial, eps = (hyperparameters[name] for name in ("b1", "b2", "partial", "eps"))
        if self.final_partial is not None:
            partial = partial + context.progress * (hyperparameters["final_partial"] - partial)
        padam = scale_by_padam(b1, b2, partial, eps, bias_correction=self.bias_correction)
        if self.gradient_unit is None:
            return padam
        return optax.chain(padam, optax.scale(hyperparameters["gradient_unit"] ** (2 * partial)))


def _over_power(
    numerator: Float[Array, "*shape"], base: Float[Array, "*shape"], exponent: Scalar
) -> Float[Array, "*shape"]:
    """Divides by a power; 0 if the base is 0. An exponential of a logarithm is faster than `pow` on a CPU."""
    positive = base > 0
    return jnp.where(positive, numerator * jnp.exp(-exponent * jnp.log(jnp.where(positive, base, 1))), 0)
