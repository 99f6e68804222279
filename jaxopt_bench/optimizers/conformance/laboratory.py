"""Runs an optimizer for a few steps on random gradients."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Integer, Key, PyTree

from jaxopt_bench.optimizers.base import Hyperparameters, Optimizer, StepContext
from jaxopt_bench.optimizers.conformance.comparison import all_finite, same_bits, subtract

SAMPLE: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "conv": {"kernel": (3, 3, 4, 8), "bias": (8,)},
    "norm": {"scale": (8,)},
    "dense": {"kernel": (16, 8), "bias": (8,)},
    "gate": {"alpha": ()},
}
"""The small network's parameters, by layer and name, on which most facts are measured."""

_OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # compile fast
_SCALE = 1e3  # all gradients are multiplied and divided by it


class Laboratory:
    """Runs an optimizer for some steps on one network, at any of its settings.

    Attributes:
      optimizer: the optimizer at the settings to measure.
      shapes: the shapes of the network's parameters.
      names: the paths of the network's arrays, in the order of all lists here.
      params: the initial parameters.
      gradients: the random gradients of each array, stacked over all steps.
      loss: the loss that is passed to the optimizer.
      programs: how often the optimizer was traced.
      settings: the optimizers that were run.
    """

    def __init__(self, optimizer: Optimizer, shapes: PyTree[Any], steps: int):
        self.optimizer, self.shapes, self.steps = optimizer, shapes, steps
        leaves = jax.tree_util.tree_leaves_with_path(shapes)
        self.names = tuple("/".join(str(getattr(part, "key", part)) for part in path) for path, _ in leaves)
        generator = np.random.default_rng(0)
        self.params = [_initial(generator, leaf.shape) for _, leaf in leaves]
        self.gradients = [_gradients(generator, steps, leaf.shape) for _, leaf in leaves]
        self.loss = 2.3 * sum(float(np.sum(np.square(g[0]))) for g in self.gradients)  # as Polyak's step size expects
        self.programs = 0
        self.settings: list[Optimizer] = []
        self._compiled: dict[Optimizer, Callable[..., Any]] = {}

    def again(self) -> Laboratory:
        """Returns a new laboratory for the same optimizer and network, which shares nothing with this one."""
        return Laboratory(self.optimizer, self.shapes, self.steps)

    def state(self) -> PyTree[Any]:
        """Returns the shapes of the optimizer's state."""
        transform = self.optimizer.transform(self.optimizer.hyperparameters(), StepContext(key=jax.random.key(0)))
        return jax.eval_shape(transform.init, self.shapes)

    def run(
        self,
        optimizer: Optimizer | None = None,
        *,
        multipliers: Mapping[int, float] | float = 1.0,
        gradients: float = 1.0,
        params: float = 1.0,
        penalty: Mapping[str, float] | None = None,
        key: int = 0,
    ) -> list[np.ndarray]:
        """Returns the updates of each array, stacked over all steps. They are applied to the parameters.

        Args:
          optimizer: other settings of the optimizer.
          multipliers: the schedule's multiplier in all steps, or in some steps by their index.
          gradients: a factor on all gradients and, unless it is 0, on the loss.
          params: a factor on the initial parameters.
          penalty: by array, the factor with which its parameters are added to its gradients.
          key: the seed of the run's random key.
        """
        chosen = optimizer or self.optimizer
        if chosen not in self.settings:
            self.settings.append(chosen)
        schedule = np.full(self.steps, multipliers if isinstance(multipliers, float) else 1.0, np.float32)
        for step, multiplier in ({} if isinstance(multipliers, float) else multipliers).items():
            schedule[step] = multiplier
        factors = [np.float32((penalty or {}).get(name, 0.0)) for name in self.names]
        updates = self._program(chosen)(
            chosen.hyperparameters(),
            schedule,
            self._tree([np.float32(gradients) * g for g in self.gradients]),
            np.float32(self.loss * (gradients or 1.0)),
            self._tree([np.float32(params) * p for p in self.params]),
            self._tree(factors),
            jax.random.key(key),
        )
        return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(updates)]

    @functools.cached_property
    def base(self) -> list[np.ndarray]:
        """The updates at the optimizer's own settings."""
        return self.run()

    @functools.cached_property
    def first(self) -> int:
        """The index of the first step that changes anything."""
        return next((step for step in range(self.steps) if any(update[step].any() for update in self.base)), 0)

    @functools.cached_property
    def scaled(self) -> dict[float, list[np.ndarray]]:
        """By factor, the updates if all gradients and the loss are multiplied by this factor."""
        return {factor: self.run(gradients=factor) for factor in (_SCALE, 1 / _SCALE)}

    @functools.cached_property
    def draws(self) -> bool:
        """Whether the updates depend on the run's random key."""
        return not same_bits(self.base, self.run(key=1))

    def decayed_by_zero(self, optimizer: Optimizer, **more: Any) -> list[np.ndarray]:
        """Returns the updates for zero gradients, without random noise: the effect of weight decay alone."""
        found = self.run(optimizer, gradients=0.0, **more)
        noise = self.run(optimizer, gradients=0.0, params=0.0, **more)
        return subtract(found, noise) if all_finite(noise) else found

    def _program(self, optimizer: Optimizer) -> Callable[..., Any]:
        """Returns the compiled steps. Settings of the optimizer that differ only in arrays share one program."""
        arrays = optimizer.hyperparameters().keys() & self.optimizer.hyperparameters().keys()
        static = dataclasses.replace(optimizer, **{name: getattr(self.optimizer, name) for name in arrays})
        if static not in self._compiled:
            options = _OPTIONS if jax.default_backend() == "cpu" else None
            self._compiled[static] = jax.jit(functools.partial(self._steps, static), compiler_options=options)
        return self._compiled[static]

    def _steps(
        self,
        optimizer: Optimizer,
        hyperparameters: Hyperparameters,
        multipliers: Float[Array, " steps"],
        gradients: PyTree[Array],
        value: Float[Array, ""],
        params: PyTree[Array],
        penalty: PyTree[Array],
        key: Key[Array, ""],
    ) -> PyTree[Array]:
        self.programs += 1  # each time that JAX traces this function

        def transform(step: Integer[Array, ""] | int) -> optax.GradientTransformationExtraArgs:
            context = StepContext(
                multiplier=multipliers[step],
                progress=step / self.steps,
                ends_epoch=step == self.steps - 1,
                key=key,
                multiplier_at=lambda count: multipliers[jnp.minimum(count, self.steps - 1)],
            )
            return optimizer.transform(hyperparameters, context)

        def make_step(
            carry: tuple[PyTree[Array], optax.OptState], step: Integer[Array, ""]
        ) -> tuple[tuple[PyTree[Array], optax.OptState], PyTree[Array]]:
            params, state = carry
            grads = jax.tree.map(lambda g, factor, p: g[step] + factor * p, gradients, penalty, params)
            updates, state = transform(step).update(grads, state, params, value=value)
            return (optax.apply_updates(params, updates), state), updates

        begin = params, transform(0).init(params)
        return jax.lax.scan(make_step, begin, jnp.arange(self.steps))[1]

    def _tree(self, leaves: list[Any]) -> PyTree[Any]:
        return jax.tree.unflatten(jax.tree.structure(self.shapes), leaves)


def sample_network() -> PyTree[jax.ShapeDtypeStruct]:
    """Returns the shapes of the small network's parameters; see `SAMPLE`."""
    return {
        layer: {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in arrays.items()}
        for layer, arrays in SAMPLE.items()
    }


def _initial(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Returns random parameters: kernels with the scale of He's initialisation, other arrays with RMS 0.1."""
    scale = math.sqrt(2 / math.prod(shape[:-1])) if len(shape) > 1 else 0.1
    return np.float32(scale) * generator.standard_normal(shape, np.float32)


def _gradients(generator: np.random.Generator, steps: int, shape: tuple[int, ...]) -> np.ndarray:
    """Returns random gradients in which neighbours along each axis are similar in pairs.

    This prevents updates that are orthogonal by chance: random matrices with many more rows than columns are nearly
    orthogonal, and so are their signs.
    """
    noise = generator.standard_normal((steps, *shape), np.float32)
    if len(shape) < 2:
        return noise
    shared = generator.standard_normal((steps, *((size + 1) // 2 for size in shape)), np.float32)
    for axis, size in enumerate(shape, start=1):
        shared = np.take(shared, np.arange(size) // 2, axis)
    return shared + np.float32(0.3) * noise
