"""Optimizer updates alone on the JAX side: the gradient stays the same."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from experiments.speed.inputs.workloads import UPDATE_WEIGHT_DECAY
from jaxopt_bench.models import count_parameters
from jaxopt_bench.optimizers import OPTIMIZERS, Hyperparameters, Moment
from jaxopt_bench.training import Task, abstract_states, member


class Updater:
    """A network's parameters under an optimizer, with a constant gradient."""

    def __init__(self, task: Task, name: str):
        """Args: the task whose network it is, and the optimizer's name."""
        optimizer = dataclasses.replace(OPTIMIZERS[name], weight_decay=UPDATE_WEIGHT_DECAY)
        self.hyperparameters, key = optimizer.hyperparameters(), jax.random.key(0)
        shapes = jax.eval_shape(lambda states: member(states, 0), abstract_states(task)).params
        self.params = jax.tree.map(lambda leaf: 0.1 * jax.random.normal(key, leaf.shape), shapes)
        self.gradient = jax.tree.map(lambda leaf: 1e-3 * jax.random.normal(key, leaf.shape), shapes)

        def transform(
            hyperparameters: Hyperparameters, step: Float[Array, ""] | float
        ) -> optax.GradientTransformationExtraArgs:
            return optimizer.transform(hyperparameters, Moment(0.1 / (step + 1), 0.5, False, key))

        @functools.partial(jax.jit, donate_argnums=(1, 2))
        def update(
            hyperparameters: Hyperparameters,
            params: optax.Params,
            state: optax.OptState,
            gradient: optax.Updates,
            step: Float[Array, ""],
        ) -> tuple[optax.Params, optax.OptState, Float[Array, ""]]:
            updates, state = transform(hyperparameters, step).update(gradient, state, params, value=jnp.float32(1))
            return optax.apply_updates(params, updates), state, step + 1

        self.opt_state = jax.jit(lambda h, p: transform(h, 0.0).init(p))(self.hyperparameters, self.params)
        self._update, self.step = update, jnp.float32(0)

    def run(self, steps: int) -> None:
        """Makes some updates, and returns when the device has finished them."""
        for _ in range(steps):
            made = self._update(self.hyperparameters, self.params, self.opt_state, self.gradient, self.step)
            self.params, self.opt_state, self.step = made
        jax.block_until_ready(self.params)

    def state(self) -> dict[str, int]:
        """Returns the number of parameters, and the bytes of the optimizer's state."""
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(self.opt_state))
        return {"parameters": count_parameters(self.params), "state_bytes": size}
