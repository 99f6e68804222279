"""Training steps on the JAX side: the project's own compiled program, called in the same way as in a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from experiments.speed.inputs.workloads import Images, task_on_images
from jaxopt_bench.problems import Examples
from jaxopt_bench.problems.classification import LabelledInputs
from jaxopt_bench.training import CodePath, Program, Task, initial_states, replicated_sharding
from jaxopt_bench.training.evaluator import Values


class Population:
    """A task in training. One program trains members with the seeds 0, 1, …"""

    def __init__(self, task: Task, data: Examples, members: int = 1):
        """Args: the task, its training split, and the number of members."""
        self.task, self.members = task, members
        self._program = Program(task, members)
        experiments = [dataclasses.replace(task.experiment, seed=seed) for seed in range(members)]
        self.states = initial_states([dataclasses.replace(task, experiment=each) for each in experiments])
        self.metrics, self.step = self._program.empty_metrics(), 0
        self.data = jax.device_put(jax.tree.map(jnp.asarray, data), replicated_sharding(task.code_path))
        self._epoch, self._order = 0, self._program.epoch_permutations(self.states.seed, 0)

    def run(self, steps: int) -> None:
        """Makes the given number of steps of each member, and returns when the device has finished them."""
        for part in within_epochs(self.step, steps, self.task.steps_per_epoch):
            epoch = self.step // self.task.steps_per_epoch
            if self._epoch != epoch:
                self._epoch, self._order = epoch, self._program.epoch_permutations(self.states.seed, epoch)
            counts = jnp.full(self.members, part, jnp.int32)
            self.states, self.metrics = self._program.advance(self.states, self.metrics, self.data, self._order, counts)
            self.step += part
        jax.block_until_ready((self.states, self.metrics))

    def forget_metrics(self) -> None:
        """Resets the means of the metrics."""
        self.metrics = self._program.empty_metrics()

    def values(self) -> Values:
        """Returns the means of the metrics over steps for each member, by name."""
        return self._program.step_values(self.metrics)


class Trainer(Population):
    """A network, or a population of networks, in training on noise."""

    def __init__(self, task: Task, images: Images, path: CodePath, members: int = 1):
        """Args: the task, its training split, the code path, and the number of members, which have different seeds."""
        task = task_on_images(task.experiment, task.train_examples, path)
        super().__init__(task, LabelledInputs(images.images, images.labels), members)


def within_epochs(step: int, steps: int, steps_per_epoch: int) -> Sequence[int]:
    """Returns the steps in parts that each stay within an epoch, because each epoch has a new order."""
    parts = []
    while steps:
        parts.append(min(steps, steps_per_epoch - step % steps_per_epoch))
        step, steps = step + parts[-1], steps - parts[-1]
    return parts


def peak_bytes() -> int | None:
    """Returns the peak of the device memory so far; None if the device does not report it."""
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
