"""The project's side: the one module that knows how `jaxopt_bench` builds and drives its compiled programs."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import traverse_util

from experiments.speed.agreement import Answer, Probe, Variables
from experiments.speed.workloads import UPDATE_WEIGHT_DECAY, Images, classification, task_on_images, without_dropout
from jaxopt_bench.models import Layers, onednn
from jaxopt_bench.models.layers import LayersPath
from jaxopt_bench.optimizers import OPTIMIZERS, Moment
from jaxopt_bench.problems.classification import Labelled, cross_entropy
from jaxopt_bench.training import (
    CodePath,
    Program,
    Task,
    abstract_states,
    choose_code_path,
    everywhere,
    initial_state,
    initial_states,
    member,
)

EVERY: tuple[LayersPath, ...] = ("plain", "native", "pure", "onednn")


def backend() -> str:
    """Returns what JAX runs on."""
    return jax.default_backend()


def paths(of: Sequence[str] = EVERY) -> tuple[CodePath, ...]:
    """Returns the code paths with such layers worth timing on this backend; XLA's own layers come first.

    On CPUs those go with a loop in Python, and not one by one in a loop over members either: in a compiled loop XLA's
    convolutions are tens of times slower.
    """
    if backend() == "cpu":
        found = [CodePath("plain", "python", "vmap"), *(CodePath(layers, "compiled", "map") for layers in _fast())]
    else:
        found = [CodePath(layers, "compiled", "vmap") for layers in EVERY if layers != "onednn"]
    return tuple(path for path in found if path.layers in of)


def population_paths(of: Sequence[str] = EVERY) -> tuple[CodePath, ...]:
    """Returns the code paths with such layers on which populations are worth timing on this backend."""
    layers = _fast() if backend() == "cpu" else [one for one in EVERY if one != "onednn"]
    ways: tuple[Any, ...] = ("map", "vmap")
    return tuple(CodePath(one, "compiled", how) for one in layers if one in of for how in ways)


def _fast() -> list[LayersPath]:
    """Returns the layers that are fast on CPUs: oneDNN's where they are built."""
    return ["pure"] if onednn.version() is None else ["pure", "onednn"]


def default_path() -> CodePath:
    """Returns the code path that runs take on this backend."""
    return choose_code_path()


def device_count() -> int:
    """Returns how many devices there are."""
    return len(jax.devices())


def path_of(devices: int) -> CodePath:
    """Returns the code path of runs on so many devices; on CPUs that of several, so that nothing else differs."""
    path = choose_code_path(devices=devices)
    return dataclasses.replace(path, layers="pure") if backend() == "cpu" else path


def version() -> str:
    """Returns that of the compiler and its runtime."""
    return importlib.metadata.version("jaxlib")


def initial_variables(task: Task) -> Variables:
    """Returns the network's variables before training, by name."""
    state = initial_state(task)
    return _by_name({"params": state.params, "batch_stats": state.variables})


def answerer(task: Task, layers: LayersPath) -> Callable[[Probe], Answer]:
    """Returns what computes, from a probe's weights, the network's losses and gradients.

    Dropout is off, and products are as exact as the device can make them.
    """
    module = _module(without_dropout(task), layers)

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
    """A network, or a population of it, in training: the project's own compiled program, called as a run calls it."""

    def __init__(self, task: Task, images: Images, path: CodePath, members: int = 1):
        """Args: the task, its training split, how it is computed, and how many members with a seed each."""
        self.task, self.members = task_on_images(task.experiment, task.train_examples, path), members
        self._program = Program(self.task, members)
        self.states = initial_states([_with_seed(self.task, seed) for seed in range(members)])
        self.metrics, self.step = self._program.empty_metrics(), 0
        arrays = jnp.asarray(images.images), jnp.asarray(images.labels)
        self.data = Labelled(*jax.device_put(arrays, everywhere(path)))
        self._order: tuple[int, Any] = (-1, None)  # an epoch, and the members' orders of it

    def run(self, steps: int) -> None:
        """Makes some steps of each member, and returns when the device has finished them."""
        for part in within_epochs(self.step, steps, self.task.steps_per_epoch):
            epoch = self.step // self.task.steps_per_epoch
            if self._order[0] != epoch:
                self._order = (epoch, self._program.epoch_orders(self.states.seed, epoch))
            counts = jnp.full(self.members, part, jnp.int32)
            self.states, self.metrics = self._program.advance(
                self.states, self.metrics, self.data, self._order[1], counts
            )
            self.step += part
        jax.block_until_ready((self.states, self.metrics))


class Updater:
    """A network's parameters under an optimizer, with a gradient that stays: its updates alone."""

    def __init__(self, task: Task, name: str):
        """Args: the task whose network it is, and the optimizer's name."""
        optimizer = dataclasses.replace(OPTIMIZERS[name], weight_decay=UPDATE_WEIGHT_DECAY)
        self.hyperparameters, key = optimizer.hyperparameters(), jax.random.key(0)
        shapes = jax.eval_shape(lambda states: member(states, 0), abstract_states(task)).params
        self.params = jax.tree.map(lambda leaf: 0.1 * jax.random.normal(key, leaf.shape), shapes)
        self.gradient = jax.tree.map(lambda leaf: 1e-3 * jax.random.normal(key, leaf.shape), shapes)

        def transform(hyperparameters: Any, step: Any) -> Any:
            return optimizer.transform(hyperparameters, Moment(0.1 / (step + 1), 0.5, False, key))

        @functools.partial(jax.jit, donate_argnums=(1, 2))
        def update(hyperparameters: Any, params: Any, state: Any, gradient: Any, step: Any) -> Any:
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
        """Returns how many parameters there are, and the bytes of the optimizer's state."""
        return {"parameters": _size(self.params), "state_bytes": _bytes(self.opt_state)}


def _size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def within_epochs(step: int, steps: int, steps_per_epoch: int) -> Sequence[int]:
    """Returns the steps in parts that do not reach past the end of an epoch, where a new order begins."""
    parts = []
    while steps:
        parts.append(min(steps, steps_per_epoch - step % steps_per_epoch))
        step, steps = step + parts[-1], steps - parts[-1]
    return parts


def forward_jaxpr(task: Task) -> Any:
    """Returns the jaxpr of the network's forward pass on one batch, of plain layers, to count its products."""
    state = jax.eval_shape(lambda states: member(states, 0), abstract_states(task))
    module = _module(task, "plain")
    images = jax.ShapeDtypeStruct((task.experiment.workload.batch_size, *task.problem.facts["shape"]), jnp.float32)
    variables = {"params": state.params, "batch_stats": state.variables}
    return jax.make_jaxpr(lambda variables, images: module.apply(variables, images, train=False))(variables, images)


def _module(task: Task, layers: LayersPath) -> nn.Module:
    problem = classification(task.experiment)
    return problem.model.module(task.problem.facts["num_classes"], Layers(problem.dtype, layers))


def peak_bytes() -> int | None:
    """Returns the most device memory that was in use so far; None where the device does not say."""
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def _with_seed(task: Task, seed: int) -> Task:
    return dataclasses.replace(task, experiment=dataclasses.replace(task.experiment, seed=seed))


def _by_name(tree: Any) -> Variables:
    return {name: np.asarray(value) for name, value in traverse_util.flatten_dict(dict(tree), sep="/").items()}
