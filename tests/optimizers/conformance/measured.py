"""The network on which the tests in this folder measure optimizers, and functions that measure them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxopt_bench.optimizers import OPTIMIZERS, Conformance, measure_optimizer, wrap_optimizer

NETWORK: dict[str, Any] = {
    "conv1": {"kernel": jnp.zeros((3, 3, 3, 16)), "bias": jnp.zeros(16)},
    "conv2": {"kernel": jnp.zeros((3, 3, 16, 32)), "bias": jnp.zeros(32)},
    "norm": {"scale": jnp.zeros(32), "bias": jnp.zeros(32)},
    "dense": {"kernel": jnp.zeros((256, 128)), "bias": jnp.zeros(128)},
    "head": {"kernel": jnp.zeros((128, 10)), "bias": jnp.zeros(10)},
}
NUMBERS = sum(leaf.size for leaf in jax.tree.leaves(NETWORK))
TRAINED = {"conv/kernel", "conv/bias", "norm/scale", "dense/kernel", "dense/bias", "gate/alpha"}


@functools.cache
def measured(name: str) -> Conformance:
    return measure_optimizer(OPTIMIZERS[name], NETWORK)


def of_function(
    function: Callable[..., optax.GradientTransformation], network: dict[str, Any] = NETWORK
) -> Conformance:
    return measure_optimizer(wrap_optimizer(function)(), network)


def kinds(facts: Conformance) -> dict[str, str]:
    return {array.name: array.kind for array in facts.network}


def scaling(facts: Conformance) -> set[tuple[str, str]]:
    return {(scale.first, scale.last) for scale in facts.scale.values()}
