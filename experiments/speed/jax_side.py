"""The project's side: the one module that knows how `jaxopt_bench` builds and drives its compiled programs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from experiments.speed.agreement import Answer, Probe, Variables
from experiments.speed.workloads import Images, without_dropout
from jaxopt_bench.training import Batch, StepMetrics, Task, initial_state, make_advance, make_module
from jaxopt_bench.training.step import cross_entropy


@dataclasses.dataclass(frozen=True)
class Path:
    """One way to run a network in JAX.

    Attributes:
      layers: the implementation of its layers.
      loop: what calls the step.
      members: how the members of a population are gone through.
    """

    layers: str = "plain"
    loop: str = "python"
    members: str = "map"


def backend() -> str:
    """Returns what JAX runs on."""
    return jax.default_backend()


def paths() -> tuple[Path, ...]:
    """Returns the paths worth timing on this backend, the first being the plainest."""
    return (Path(),)


def population_paths() -> tuple[Path, ...]:
    """Returns the paths on which populations are worth timing on this backend."""
    return ()


def default_path() -> Path:
    """Returns the path that runs take on this backend."""
    return paths()[0]


def initial_variables(task: Task) -> Variables:
    """Returns the network's variables before training, by name."""
    state = initial_state(task)
    return _by_name({"params": state.params, "batch_stats": state.batch_stats})


def answerer(task: Task, layers: str) -> Callable[[Probe], Answer]:
    """Returns what computes, from a probe's weights, the network's losses and gradients.

    Dropout is off, and products are as exact as the device can make them.
    """
    module = make_module(without_dropout(task))

    def loss(variables: Any, images: Any, labels: Any, train: bool) -> Any:
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


class Trainer:
    """A network, or a population of it, in training, from the project's own compiled steps."""

    def __init__(self, task: Task, images: Images, path: Path, members: int = 1):
        if members != 1:
            raise NotImplementedError("populations")
        self.task, self.path = task, path
        self.advance = make_advance(task, Batch(jnp.asarray(images.images), jnp.asarray(images.labels)))
        self.state, self.metrics, self.step = initial_state(task), StepMetrics.empty(), 0

    def run(self, steps: int) -> None:
        """Makes some steps, and returns when the device has finished them."""
        for part in within_epochs(self.step, steps, self.task.steps_per_epoch):
            self.state, self.metrics = self.advance(self.state, self.metrics, part)
            self.step += part
        jax.block_until_ready((self.state, self.metrics))


def within_epochs(step: int, steps: int, steps_per_epoch: int) -> Sequence[int]:
    """Returns the steps in parts that do not reach past the end of an epoch, where a new order begins."""
    parts = []
    while steps:
        parts.append(min(steps, steps_per_epoch - step % steps_per_epoch))
        step, steps = step + parts[-1], steps - parts[-1]
    return parts


def forward_jaxpr(task: Task) -> Any:
    """Returns the jaxpr of the network's forward pass on one batch, of plain layers, to count its products."""
    state = jax.eval_shape(lambda: initial_state(task))
    module = make_module(task)
    images = jax.ShapeDtypeStruct((task.experiment.batch_size, *task.image_shape), jnp.float32)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return jax.make_jaxpr(lambda variables, images: module.apply(variables, images, train=False))(variables, images)


def peak_bytes() -> int | None:
    """Returns the most device memory that was in use so far; None where the device does not say."""
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def _by_name(tree: Any) -> Variables:
    return {name: np.asarray(value) for name, value in traverse_util.flatten_dict(dict(tree), sep="/").items()}
