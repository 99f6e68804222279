"""Training steps on the JAX side: the project's own compiled program, called as a run calls it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from experiments.speed.inputs.workloads import Images, task_on_images
from jaxopt_bench.problems import Examples
from jaxopt_bench.problems.classification import Labelled
from jaxopt_bench.training import CodePath, Program, Task, everywhere, initial_states
from jaxopt_bench.training.evaluator import Values


class Population:
    """A task in training, with members of the seeds 0, 1, …, that one program trains."""

    def __init__(self, task: Task, data: Examples, members: int = 1):
        """Args: the task, its training split, and how many members."""
        self.task, self.members = task, members
        self._program = Program(task, members)
        experiments = [dataclasses.replace(task.experiment, seed=seed) for seed in range(members)]
        self.states = initial_states([dataclasses.replace(task, experiment=each) for each in experiments])
        self.metrics, self.step = self._program.empty_metrics(), 0
        self.data = jax.device_put(jax.tree.map(jnp.asarray, data), everywhere(task.code_path))
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

    def forget_metrics(self) -> None:
        """Begins new means of metrics."""
        self.metrics = self._program.empty_metrics()

    def values(self) -> Values:
        """Returns the means of the metrics over steps, of each member, by name."""
        return self._program.step_values(self.metrics)


class Trainer(Population):
    """A network in training on noise, or a population of it."""

    def __init__(self, task: Task, images: Images, path: CodePath, members: int = 1):
        """Args: the task, its training split, how it is computed, and how many members with a seed each."""
        task = task_on_images(task.experiment, task.train_examples, path)
        super().__init__(task, Labelled(images.images, images.labels), members)


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
