"""Optimizer updates alone on the JAX side, with a constant gradient."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer

from experiments.speed.inputs.workloads import UPDATE_WEIGHT_DECAY
from jaxopt_bench.models import count_parameters
from jaxopt_bench.optimizers import OPTIMIZERS, Hyperparameters, StepContext
from jaxopt_bench.training import Task, abstract_states, member, update_parameters

Carry = tuple[optax.Params, optax.OptState, Float[Array, ""]]
"""Parameters, the optimizer's state, and the number of updates made."""


class Updater:
    """A network's parameters under an optimizer, with a constant gradient."""

    def __init__(self, task: Task, name: str, fused: bool, checked: bool):
        """Args: the task with the network, the optimizer's name, and two arguments of `update_parameters`."""
        optimizer = dataclasses.replace(OPTIMIZERS[name], weight_decay=UPDATE_WEIGHT_DECAY)
        self.hyperparameters, key = optimizer.hyperparameters(), jax.random.key(0)
        shapes = jax.eval_shape(lambda states: member(states, 0), abstract_states(task)).params
        self.gradient = jax.tree.map(lambda leaf: 1e-3 * jax.random.normal(key, leaf.shape), shapes)

        def context(step: Float[Array, ""] | float) -> StepContext:
            return StepContext(0.1 / (step + 1), 0.5, False, key)

        def update(
            _: Integer[Array, ""], carry: Carry, hyperparameters: Hyperparameters, gradient: optax.Updates
        ) -> Carry:
            params, state, step = carry
            made = update_parameters(
                optimizer,
                hyperparameters,
                context(step),
                gradient,
                state,
                params,
                jnp.float32(1),
                fused=fused,
                checked=checked,
            )
            return made.params, made.opt_state, step + 1

        @functools.partial(jax.jit, donate_argnums=0)
        def several(
            carry: Carry, hyperparameters: Hyperparameters, gradient: optax.Updates, steps: Integer[Array, ""]
        ) -> Carry:
            one = functools.partial(update, hyperparameters=hyperparameters, gradient=gradient)
            return jax.lax.fori_loop(0, steps, one, carry)

        params = jax.tree.map(lambda leaf: 0.1 * jax.random.normal(key, leaf.shape), shapes)
        state = jax.jit(lambda h, p: optimizer.transform(h, context(0.0)).init(p))(self.hyperparameters, params)
        self._several, self._carry = several, (params, state, jnp.float32(0))

    def run(self, steps: int) -> None:
        """Makes updates in a compiled loop, like training, and returns when the device has finished them."""
        self._carry = self._several(self._carry, self.hyperparameters, self.gradient, jnp.int32(steps))
        jax.block_until_ready(self._carry)

    def state(self) -> dict[str, int]:
        """Returns the number of parameters, and the bytes of the optimizer's state."""
        params, state, _ = self._carry
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
        return {"parameters": count_parameters(params), "state_bytes": size}
