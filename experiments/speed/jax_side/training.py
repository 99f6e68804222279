"""Training steps on the JAX side: the project's own compiled program, called as a run calls it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from experiments.speed.inputs.workloads import Images, task_on_images
from jaxopt_bench.problems.classification import Labelled
from jaxopt_bench.training import (
    CodePath,
    Program,
    Task,
    everywhere,
    initial_states,
)


class Trainer:
    """A network in training, or a population of it."""

    def __init__(self, task: Task, images: Images, path: CodePath, members: int = 1):
        """Args: the task, its training split, how it is computed, and how many members with a seed each."""
        self.task, self.members = task_on_images(task.experiment, task.train_examples, path), members
        self._program = Program(self.task, members)
        experiments = [dataclasses.replace(self.task.experiment, seed=seed) for seed in range(members)]
        self.states = initial_states([dataclasses.replace(self.task, experiment=each) for each in experiments])
        self.metrics, self.step = self._program.empty_metrics(), 0
        arrays = jnp.asarray(images.images), jnp.asarray(images.labels)
        self.data = Labelled(*jax.device_put(arrays, everywhere(path)))
        self._epoch, self._order = 0, self._program.epoch_orders(self.states.seed, 0)

    def run(self, steps: int) -> None:
        """Makes some steps of each member, and returns when the device has finished them."""
        for part in within_epochs(self.step, steps, self.task.steps_per_epoch):
            epoch = self.step // self.task.steps_per_epoch
            if self._epoch != epoch:
                self._epoch, self._order = epoch, self._program.epoch_orders(self.states.seed, epoch)
            counts = jnp.full(self.members, part, jnp.int32)
            self.states, self.metrics = self._program.advance(self.states, self.metrics, self.data, self._order, counts)
            self.step += part
        jax.block_until_ready((self.states, self.metrics))


def within_epochs(step: int, steps: int, steps_per_epoch: int) -> Sequence[int]:
    """Returns the steps in parts that do not reach past the end of an epoch, where a new order begins."""
    parts = []
    while steps:
        parts.append(min(steps, steps_per_epoch - step % steps_per_epoch))
        step, steps = step + parts[-1], steps - parts[-1]
    return parts


def peak_bytes() -> int | None:
    """Returns the most device memory that was in use so far; None where the device does not say."""
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
