"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, as an optax transform written by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer, PyTree

from jaxopt_bench.config import number_field
from jaxopt_bench.optimizers.axes import SHARED_AXES, Axis
from jaxopt_bench.optimizers.base import DecayForm, Hyperparameters, RescalingOptimizer, Scalar, StepContext
from jaxopt_bench.optimizers.wrappers import find_state

LARGEST_DIMENSION = 10_000
"""The authors' bound: above most layers' widths, and below most vocabularies' sizes."""

Squares = tuple[Float[Array, "size size"], ...]
"""A square matrix for each preconditioned axis of an array."""


class ScaleBySoapState(NamedTuple):
    """The state of `scale_by_soap`.

    Attributes:
      count: the number of updates. Adam has made one step fewer, since the first update makes no step.
      mu: the first moment, in the eigenbases.
      nu: the second moment, in the eigenbases.
      grams: for each parameter array, a running mean of the products of the gradient with itself along each axis.
      bases: their eigenvectors, as columns, by descending eigenvalue.
    """

    count: Integer[Array, ""]  # type: ignore[assignment]  # the field's name in optax, though a tuple has a count
    mu: PyTree[Array]
    nu: PyTree[Array]
    grams: PyTree[Squares]
    bases: PyTree[Squares]


class _Eigenspace(NamedTuple):
    """The arrays that change with the bases, for all parameter arrays: see `ScaleBySoapState`."""

    mu: list[Array]
    nu: list[Array]
    bases: list[Squares]


def scale_by_soap(
    b1: Scalar = 0.95,
    b2: Scalar = 0.95,
    shampoo_beta: Scalar | None = None,
    eps: Scalar = 1e-8,
    *,
    precondition_frequency: int = 10,
    max_precond_dim: int = LARGEST_DIMENSION,
) -> optax.GradientTransformation:
    """Rescales updates by SOAP (Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", 2024, Algorithm 3).

    For a matrix G of gradients, with bases P and Q, and with t for the number of steps that Adam has made:

        G'_t = Pᵀ G_t Q
        M'_t = b1 M'_{t−1} + (1 − b1) G'_t    V_t = b2 V_{t−1} + (1 − b2) G'_t²
        U_t = √(1 − b2^t) / (1 − b1^t) · P (M'_t / (√V_t + eps)) Qᵀ
        L_t = s L_{t−1} + (1 − s) G_t G_tᵀ    R_t = s R_{t−1} + (1 − s) G_tᵀ G_t

    After every `precondition_frequency` steps, one power iteration refreshes the bases: P becomes the orthogonal factor
    of the QR decomposition of L_t P (Algorithm 4), Q becomes that of R_t Q, and M' is transformed to the new bases. The
    same is done along each axis of an array that has more than two axes.

    These details follow the paper or, if the paper does not specify them, its authors' code (nikhilvyas/SOAP,
    `soap.py`):

    * The first update is zero. The first step only begins L and R. Their eigenvectors are the first bases.
    * Before a QR decomposition, columns are sorted by their estimated eigenvalues, and V is sorted with them.
    * eps is added to the root of V before the bias is corrected.
    * Each axis of a convolution's kernel is preconditioned separately; axes are not merged (the code's default).
    * Vectors, scalars, and axes longer than `max_precond_dim` have no basis. For an array without any basis, SOAP is
      Adam.

    `lax.switch` skips the decompositions in steps without a refresh, also within `lax.scan` and `lax.map`. Under
    `vmap`, if population members have separate states, both decompositions are computed in every step, and one result
    is selected.

    Args:
      b1: decay of the first moment.
      b2: decay of the second moment.
      shampoo_beta: s, the decay of L and R; None for b2.
      eps: added to the root of the second moment.
      precondition_frequency: steps between two refreshes of the bases.
      max_precond_dim: the largest size of a preconditioned axis.
    """
    beta = b2 if shampoo_beta is None else shampoo_beta

    def axes(leaf: Array) -> tuple[int, ...]:
        # an axis of size 1 has the basis 1 or -1, which changes nothing
        return tuple(i for i, size in enumerate(leaf.shape) if leaf.ndim > 1 and 1 < size <= max_precond_dim)

    def init_fn(params: PyTree[Array]) -> ScaleBySoapState:
        def squares(leaf: Array, scale: float) -> Squares:
            kind = jnp.promote_types(leaf.dtype, jnp.float32)
            return tuple(scale * jnp.eye(leaf.shape[axis], dtype=kind) for axis in axes(leaf))

        zeros = optax.tree.zeros_like(params)
        grams, bases = (jax.tree.map(lambda leaf, s=scale: squares(leaf, s), params) for scale in (0.0, 1.0))
        return ScaleBySoapState(jnp.zeros([], jnp.int32), zeros, zeros, grams, bases)

    def update_fn(
        updates: PyTree[Array], state: ScaleBySoapState, params: PyTree[Array] | None = None
    ) -> tuple[PyTree[Array], ScaleBySoapState]:
        del params
        gradients, structure = jax.tree.leaves(updates), cast(Any, jax.tree.structure(updates))
        mu, nu, grams, bases = (structure.flatten_up_to(part) for part in state[1:])
        along, is_first, steps = [axes(leaf) for leaf in gradients], state.count == 0, jnp.maximum(state.count, 1)
        turned = [_turn(*leaf) for leaf in zip(gradients, bases, along, strict=True)]
        first, second = (jnp.where(is_first, 1.0, decay) for decay in (b1, b2))  # the first call changes no moment
        mu = [(first * m + (1 - first) * g).astype(m.dtype) for m, g in zip(mu, turned, strict=True)]
        nu = [(second * v + (1 - second) * g**2).astype(v.dtype) for v, g in zip(nu, turned, strict=True)]
        correction = jnp.sqrt(1 - b2**steps) / (1 - b1**steps)
        made = [
            _turn_back(correction * m / (jnp.sqrt(v) + eps), *rest)
            for m, v, *rest in zip(mu, nu, bases, along, strict=True)
        ]
        made = [jnp.where(is_first, 0, u).astype(g.dtype) for u, g in zip(made, gradients, strict=True)]
        grams = [
            tuple(beta * p + (1 - beta) * _product(g, axis) for p, axis in zip(own, axes(g), strict=True))
            for own, g in zip(grams, gradients, strict=True)
        ]
        is_due = state.count % precondition_frequency == 0
        after = jax.lax.switch(
            jnp.where(is_first, 1, jnp.where(is_due, 2, 0)),
            (
                lambda grams, before: before,
                lambda grams, before: before._replace(bases=[tuple(map(_eigenvectors, own)) for own in grams]),
                lambda grams, before: _refreshed(grams, before, along),
            ),
            grams,
            _Eigenspace(mu, nu, bases),
        )
        parts = (after.mu, after.nu, grams, after.bases)
        count = optax.safe_increment(state.count)
        return structure.unflatten(made), ScaleBySoapState(count, *map(structure.unflatten, parts))

    return optax.GradientTransformation(init_fn, update_fn)


@dataclasses.dataclass(frozen=True)
class SOAP(RescalingOptimizer):
    """SOAP with decoupled weight decay: Adam in the eigenbasis of Shampoo's preconditioner; see `scale_by_soap`.

    The defaults are those of the authors' code. As in this code, the first step changes nothing, and the weight decay
    also begins in the second step. For each axis of length n of a kernel, the state has two matrices of n × n numbers.
    """

    source = "Vyas et al., 2024 (arXiv 2409.11321), Algorithm 3"
    decay_form: ClassVar[DecayForm] = "decoupled"
    own_axes: ClassVar[Mapping[str, Axis]] = {"shampoo_beta": SHARED_AXES["b2"]}

    learning_rate: float = number_field(3e-3, at_least=0)
    """Step size at the schedule's multiplier 1."""
    b1: float = number_field(0.95, at_least=0, below=1)
    """Decay of the first moment."""
    b2: float = number_field(0.95, at_least=0, below=1)
    """Decay of the second moment."""
    shampoo_beta: float | None = number_field(None, at_least=0, below=1)
    """Decay of the matrices whose eigenvectors are the bases; None means b2, as in the paper."""
    eps: float = number_field(1e-8, at_least=0)
    """Added to the root of the second moment."""
    precondition_frequency: int = number_field(10, at_least=1)
    """Steps between two refreshes of the bases."""
    max_precond_dim: int = number_field(LARGEST_DIMENSION, at_least=0)
    """The largest size of an axis that has a basis; 0 means that no axis has a basis."""
    weight_decay: float = number_field(0.01, at_least=0)
    """Coefficient of the decoupled decay, which is applied to the parameters in addition to SOAP's step."""

    def rule(self, hyperparameters: Hyperparameters, context: StepContext) -> optax.GradientTransformation:
        """See `Optimizer.rule`."""
        return _idle_at_first(super().rule(hyperparameters, context))

    def scale(self, hyperparameters: Hyperparameters, context: StepContext) -> optax.GradientTransformation:
        """See `RescalingOptimizer.scale`."""
        return scale_by_soap(
            hyperparameters["b1"],
            hyperparameters["b2"],
            hyperparameters.get("shampoo_beta"),
            hyperparameters["eps"],
            precondition_frequency=self.precondition_frequency,
            max_precond_dim=self.max_precond_dim,
        )


def _idle_at_first(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Returns SOAP with weight decay, but without the decay in the first step, as in the authors' code."""

    def update_fn(
        updates: PyTree[Array], state: optax.OptState, params: PyTree[Array] | None = None
    ) -> tuple[PyTree[Array], optax.OptState]:
        is_first = find_state(state, ScaleBySoapState).count == 0
        updates, new = inner.update(updates, state, params)
        return jax.tree.map(lambda u: jnp.where(is_first, 0, u), updates), new

    return optax.GradientTransformation(inner.init, update_fn)


def _refreshed(grams: Sequence[Squares], before: _Eigenspace, along: Sequence[tuple[int, ...]]) -> _Eigenspace:
    """Returns the moments and bases after one power iteration, for all parameter arrays."""
    after = _Eigenspace([], [], [])
    for mu, nu, own, bases, axes in zip(before.mu, before.nu, grams, before.bases, along, strict=True):
        new = []
        for gram, basis, axis in zip(own, bases, axes, strict=True):
            powers = _matmul(gram, basis)
            order = jnp.argsort(-jnp.sum(basis * powers, axis=0))  # by estimates of the eigenvalues
            nu = jnp.take(nu, order, axis)
            new.append(jnp.linalg.qr(powers[:, order])[0])
        after.mu.append(_turn(_turn_back(mu, bases, axes), new, axes).astype(mu.dtype))
        after.nu.append(nu)
        after.bases.append(tuple(new))
    return after


def _turn(array: Array, bases: Sequence[Array], axes: Sequence[int], back: bool = False) -> Array:
    """Transforms an array to the bases of some of its axes, or from these bases to the original ones."""
    for basis, axis in zip(bases, axes, strict=True):
        turned = jnp.tensordot(array, basis, axes=(axis, int(back)), precision=jax.lax.Precision.HIGHEST)
        array = jnp.moveaxis(turned, -1, axis)
    return array


def _turn_back(array: Array, bases: Sequence[Array], axes: Sequence[int]) -> Array:
    """Transforms an array from the bases of some of its axes to the original ones."""
    return _turn(array, bases, axes, back=True)


def _product(gradient: Array, axis: int) -> Float[Array, "size size"]:
    """Returns the product of an array with itself over all axes but one."""
    rows = jnp.moveaxis(gradient, axis, 0).reshape(gradient.shape[axis], -1)
    rows = rows.astype(jnp.promote_types(gradient.dtype, jnp.float32))
    return _matmul(rows, rows.T)


def _eigenvectors(gram: Float[Array, "size size"]) -> Float[Array, "size size"]:
    """Returns the eigenvectors as columns, by descending eigenvalue."""
    return jnp.linalg.eigh(gram)[1][:, ::-1]


def _matmul(one: Array, other: Array) -> Array:
    return jnp.matmul(one, other, precision=jax.lax.Precision.HIGHEST)  # otherwise GPUs round to ten bits
