"""A task's network on the JAX side: its variables, its losses and gradients, its forward pass as a jaxpr."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from jax.extend.core import ClosedJaxpr
from jaxtyping import Array, Float, Int32

from experiments.speed.inputs.probes import Answer, Probe, Variables
from experiments.speed.inputs.workloads import classification, without_dropout
from jaxopt_bench.models import Layers
from jaxopt_bench.models.layers import LayersPath
from jaxopt_bench.problems.classification import cross_entropy
from jaxopt_bench.training import Task, abstract_states, initial_state, member


def initial_variables(task: Task) -> Variables:
    """Returns the network's variables before training, by name."""
    state = initial_state(task)
    return _by_name({"params": state.params, "batch_stats": state.variables})


def answerer(task: Task, layers: LayersPath) -> Callable[[Probe], Answer]:
    """Returns a function that computes the network's losses and gradients from a probe's weights.

    Dropout is off, and products have the highest precision of the device.
    """
    module = _module(without_dropout(task), layers)

    def loss(
        variables: Any, images: Float[Array, "batch height width channels"], labels: Int32[Array, " batch"], train: bool
    ) -> Float[Array, ""]:
        logits, _ = module.apply(variables, images, train=train, mutable=["batch_stats"])
        return cross_entropy(logits, labels).mean()

    evaluate = jax.jit(functools.partial(loss, train=False))
    differentiate = jax.jit(jax.value_and_grad(functools.partial(loss, train=True)))

    def answer(probe: Probe) -> Answer:
        variables = traverse_util.unflatten_dict({n: jnp.asarray(v) for n, v in probe.variables.items()}, sep="/")
        images, labels = jnp.asarray(probe.images), jnp.asarray(probe.labels)
        with jax.default_matmul_precision("highest"):
            training, gradients = differentiate(variables, images, labels)
            evaluation = evaluate(variables, images, labels)
        return Answer(float(evaluation), float(training), _by_name(gradients["params"]))

    return answer


def forward_jaxpr(task: Task) -> ClosedJaxpr:
    """Returns the jaxpr of the network's forward pass on one batch, with plain layers, to count its products."""
    state = jax.eval_shape(lambda states: member(states, 0), abstract_states(task))
    module = _module(task, "plain")
    images = jax.ShapeDtypeStruct((task.experiment.workload.batch_size, *task.problem.facts["shape"]), jnp.float32)
    variables = {"params": state.params, "batch_stats": state.variables}
    return jax.make_jaxpr(lambda variables, images: module.apply(variables, images, train=False))(variables, images)


def _module(task: Task, layers: LayersPath) -> nn.Module:
    problem = classification(task.experiment)
    return problem.model.module(task.problem.facts["num_classes"], Layers(problem.dtype, layers))


def _by_name(tree: Mapping[str, Any]) -> Variables:
    return {name: np.asarray(value) for name, value in traverse_util.flatten_dict(dict(tree), sep="/").items()}
