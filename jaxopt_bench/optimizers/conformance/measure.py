"""Measures all facts about an optimizer."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxopt_bench.errors import UserError, in_one_line
from jaxopt_bench.optimizers.base import Optimizer
from jaxopt_bench.optimizers.conformance.arrays import measure_arrays
from jaxopt_bench.optimizers.conformance.comparison import all_finite, same_bits
from jaxopt_bench.optimizers.conformance.decay import measure_decay, measure_own_decay
from jaxopt_bench.optimizers.conformance.facts import KINDS, Conformance
from jaxopt_bench.optimizers.conformance.hyperparameters import measure_hyperparameters, measure_learning_rate
from jaxopt_bench.optimizers.conformance.laboratory import Laboratory, sample_network
from jaxopt_bench.optimizers.conformance.scale import measure_scale
from jaxopt_bench.optimizers.custom import ImportedOptimizer
from jaxopt_bench.optimizers.equivalence import ParametersError
from jaxopt_bench.optimizers.partitions import inner_rules, make_parameter_group

STEPS = 8
"""Steps on the small network: RAdam begins to divide by the second moment in the sixth step."""
NETWORK_STEPS = 2
"""Steps on the real network that change parameters: from the second on, Adam's updates differ from signs."""


def measure_optimizer(optimizer: Optimizer, network: PyTree[Any]) -> Conformance:
    """Measures the behaviour of an optimizer, and returns the facts.

    Args:
      optimizer: the optimizer at the settings to measure.
      network: the parameters of a real network, or their shapes.

    Raises:
      UserError: if the optimizer cannot be used, or has a line search.
    """
    if optimizer.line_search:
        raise UserError(
            f"{type(optimizer).__name__.lower()} evaluates the loss several times in a step (line search), but a "
            "measurement on random gradients has no loss function. Expected an optimizer without a line search."
        )
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float32), network)
    if isinstance(optimizer, ImportedOptimizer):
        try:
            optimizer.examine()
        except ParametersError:  # the function may need the network's names
            optimizer.examine(shapes)
    try:
        small = Laboratory(optimizer, sample_network(), STEPS)
        small.run()
    except Exception:  # the optimizer may need the network's names
        small = Laboratory(optimizer, shapes, STEPS)
    try:
        return _measure(small, Laboratory(optimizer, shapes, NETWORK_STEPS + small.first))
    except UserError:
        raise
    except Exception as error:
        name = getattr(optimizer, "reference", type(optimizer).__name__)
        raise UserError(f"the optimizer {name} fails in an update: {in_one_line(error)}") from error


def _measure(small: Laboratory, real: Laboratory) -> Conformance:
    base = small.base
    doubles, static, unused = measure_hyperparameters(small)
    network = measure_arrays(real)
    zero = small.run(gradients=0.0)
    state = real.state()
    return Conformance(
        learning_rate=measure_learning_rate(small, doubles),
        called=small.optimizer.in_words if isinstance(small.optimizer, ImportedOptimizer) else None,
        decay=measure_decay(small),
        own_decay=measure_own_decay(small),
        scale=measure_scale(small),
        deterministic=same_bits(base, small.run()) and same_bits(base, small.again().base),
        draws=small.draws,
        own_draws=not small.draws and any(map(_is_noise, small.run(gradients=0.0, params=0.0))),
        finite_at_zero=all_finite(zero),
        programs=small.programs,
        settings=len(small.settings),
        static=static,
        unused=unused,
        state_bytes=sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)),
        numbers=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(real.shapes)),
        arrays=measure_arrays(small),
        network=network,
        rules=inner_rules(state, real.shapes),
        kinds=tuple(
            make_parameter_group(kind, [i for i, array in enumerate(network) if array.kind == kind], real.shapes)
            for kind in KINDS
            if any(array.kind == kind for array in network)
        ),
        sample=small.shapes is not real.shapes,
    )


def _is_noise(updates: np.ndarray) -> bool:
    """Returns whether an array's updates for zero gradients and zero parameters differ between its numbers."""
    return bool(np.isfinite(updates).all()) and any(np.ptp(update) > 0 for update in updates)
