"""The compiled program of a task: all computations on the device for runs that are trained together."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int32, Integer, PyTree, UInt32

from jaxopt_bench import prng
from jaxopt_bench.problems import Examples, take_examples
from jaxopt_bench.training.batches import epoch_permutation
from jaxopt_bench.training.code_path import options_to_run_once
from jaxopt_bench.training.devices import rows, shard_batch, shard_over_devices, shardings
from jaxopt_bench.training.evaluator import Evaluator, Values
from jaxopt_bench.training.loop import make_loop
from jaxopt_bench.training.metrics import StepMetrics
from jaxopt_bench.training.population import map_over_members, repeat, required_bytes
from jaxopt_bench.training.side_by_side import Threads, part_count, part_size
from jaxopt_bench.training.state import TrainState, abstract_states
from jaxopt_bench.training.step import make_train_step
from jaxopt_bench.training.task import Task

Permutations = Int32[Array, "members examples"]
Steps = Integer[Array, " members"]
Index = Integer[Array, ""]
Tree: TypeAlias = PyTree[Array]


class Program:
    """The computations for runs that are trained together. Each function is compiled when it is first used.

    Programs for the same number of members share compiled functions if their tasks do; see `Task.make_once`.

    The arrays of the runs are stacked: the first axis is the member, in the same order everywhere.
    The members may differ in names, seeds and float hyperparameters, see `population.check_one_program`.

    Attributes:
      task: the task of one of the members.
      members: the number of members.
    """

    def __init__(self, task: Task, members: int = 1):
        self.task, self.members = task, members
        self._stacked, self._whole = shardings(task.code_path, members)
        parts = part_count(task.code_path, members)
        self._threads = Threads(members, parts) if parts > 1 else None
        self._compiling: threading.Thread | None = None

    @property
    def _batch_size(self) -> int:
        return self.task.experiment.workload.batch_size

    def for_one(self) -> Program:
        """Returns the program of a single member."""
        return self if self.members == 1 else self._for_one

    @functools.cached_property
    def _for_one(self) -> Program:
        return Program(self.task)

    @functools.cached_property
    def _part(self) -> Program:
        """The program of the members of one thread, if members are trained side by side."""
        path = dataclasses.replace(self.task.code_path, side_by_side=1)
        return Program(dataclasses.replace(self.task, code_path=path), part_size(self.task.code_path, self.members))

    @functools.cached_property
    def evaluator(self) -> Evaluator:
        """The evaluator of the members."""
        return Evaluator(self.task, self.members, self._threads)

    # Training

    def advance(
        self, states: TrainState, metrics: StepMetrics, data: Examples, permutations: Permutations, steps: Steps
    ) -> tuple[TrainState, StepMetrics]:
        """Makes some updates of each member, and returns the new states and the metrics with these steps merged in.

        One compilation serves any number of updates. The division of updates into calls does not change any bit. The
        function returns before the updates are made.

        Args:
          states: the states of the members. They are donated: their buffers are reused and must not be read again.
          metrics: the metrics of earlier steps; those of the new steps are merged into them. See `empty_metrics`.
          data: the whole training split, on the device; the same for all.
          permutations: each member's permutation of the examples in this epoch; see `epoch_permutations`.
          steps: int32, the number of updates for each member, which must not go beyond the end of the epoch. Members
            that are computed together all make the largest of these numbers.
        """
        if self._compiling is not None:
            self._compiling.join()
            self._compiling = None
        return self._advance(states, metrics, data, permutations, steps)

    def start_compiling(self, data: Examples) -> None:
        """Starts to compile `advance` in a thread. `advance` waits for the thread; the end of the process does not.

        Args:
          data: the training split.
        """
        if self.task.code_path.loop == "compiled":
            self._compiling = threading.Thread(target=self._try_to_compile, args=[data], name="compiling", daemon=True)
            self._compiling.start()

    def _try_to_compile(self, data: Examples) -> None:
        with contextlib.suppress(Exception):  # `advance` will fail in the same way
            self._compile(data)

    def _compile(self, data: Examples) -> jax.stages.Compiled:
        states = abstract_states(self.task, self.members)
        permutations = jax.ShapeDtypeStruct((self.members, self.task.train_examples), jnp.int32)
        steps = jax.ShapeDtypeStruct((self.members,), jnp.int32)
        arguments = states, self.abstract_metrics(), data, permutations, steps
        compiled: jax.stages.Compiled = self._advance.lower(*arguments).compile()  # type: ignore[attr-defined]
        return compiled

    @functools.cached_property
    def _advance(self) -> Callable[..., tuple[TrainState, StepMetrics]]:
        return self.task.make_once(self._make_advance, "advance", self.members, self.task.compiled_fields)

    def _make_advance(self) -> Callable[..., tuple[TrainState, StepMetrics]]:
        task, path, members = self.task, self.task.code_path, self.members
        if self._threads is not None:
            return functools.partial(self._threads.advance, self._part._advance)
        train_step, size = make_train_step(task), task.experiment.workload.batch_size

        def step(
            carry: tuple[TrainState, StepMetrics], data: Examples, permutation: Int32[Array, " examples"]
        ) -> tuple[TrainState, StepMetrics]:
            state, metrics = carry
            indices = jax.lax.dynamic_slice_in_dim(permutation, (state.step % task.steps_per_epoch) * size, size)
            batch = shard_batch(take_examples(data, indices), path, members)
            state, new = train_step(state, batch)
            return state, metrics.merge(new)

        return make_loop(step, path, members)

    def epoch_permutations(self, seeds: UInt32[Array, " members"], epoch: int) -> Permutations:
        """Returns each member's permutation of the training examples in an epoch, counted from 0."""
        return self._epoch_permutations(seeds, jnp.int32(epoch))

    @functools.cached_property
    def _epoch_permutations(self) -> Callable[..., Permutations]:
        return self.task.make_once(self._make_epoch_permutations, "epoch_permutations", self.members)

    def _make_epoch_permutations(self) -> Callable[..., Permutations]:
        of_one = functools.partial(epoch_permutation, self.task)

        @functools.partial(jax.jit, in_shardings=(self._stacked, self._whole), out_shardings=self._stacked)
        def permutations(seeds: UInt32[Array, " members"], epoch: Index) -> Permutations:
            return map_over_members(of_one, self.task.code_path, self.members)((epoch,), seeds)

        return permutations

    def first_batch(self, data: Examples, seed: UInt32[Array, ""]) -> tuple[Examples, Examples]:
        """Returns the batch of a run's first step: as stored, and as input of the loss (for example, augmented)."""
        return self._first_batch(data, seed)

    @functools.cached_property
    def _first_batch(self) -> Callable[..., tuple[Examples, Examples]]:
        return self.task.make_once(self._make_first_batch, "first_batch", self.members, self._batch_size)

    def _make_first_batch(self) -> Callable[..., tuple[Examples, Examples]]:
        @functools.partial(jax.jit, compiler_options=options_to_run_once())
        def first_batch(data: Examples, seed: UInt32[Array, ""]) -> tuple[Examples, Examples]:
            indices = epoch_permutation(self.task, seed, 0)[: self.task.experiment.workload.batch_size]
            batch = take_examples(data, indices)
            return batch, self.task.problem.prepared(batch, prng.Draw(seed, 0))

        return first_batch

    # Metrics of training steps

    def empty_metrics(self) -> StepMetrics:
        """Returns the metrics of no steps, on the devices that the task's code path uses."""
        return shard_over_devices(self._no_metrics(), self._stacked)

    def abstract_metrics(self) -> StepMetrics:
        """Returns the shapes and types of the metrics of steps, without any computation."""
        return jax.eval_shape(self._no_metrics)

    def _no_metrics(self) -> StepMetrics:
        return repeat(StepMetrics.empty(self.task.step_names), self.members)

    def step_values(self, metrics: StepMetrics) -> Values:
        """Returns the values of the metrics of steps for each member, by name."""
        return self._step_values(metrics)

    @functools.cached_property
    def _step_values(self) -> Callable[[StepMetrics], Values]:
        return self.task.make_once(self._make_step_values, "step_values", self.members, self._batch_size)

    def _make_step_values(self) -> Callable[[StepMetrics], Values]:
        measured = self.task.step_metrics
        return jax.jit(jax.vmap(lambda own: own.compute(measured)))

    # Size

    def abstract_checkpoint(self) -> dict[str, Any]:
        """Returns the shapes and types in a checkpoint: the states, and the metrics of steps since the last line."""
        return {"state": abstract_states(self.task, self.members), "metrics": self.abstract_metrics()}

    def needed_bytes(self, data: Examples) -> int:
        """Returns the bytes of memory of one device that training needs, from the analysis of the compiled program.

        A second copy of the states is added for the time in which a checkpoint is written, and a third one, which a CPU
        needs. If members are trained side by side, each part needs as much as a population of its size, except that all
        parts share the examples, and the states are copied once more. If Python calls every step, the memory is not
        known, and 0 is returned.

        Args:
          data: the training split.
        """
        if self.task.code_path.loop == "python":
            return 0
        states = abstract_states(self.task, self.members)
        if self._threads is not None:
            parts = self._threads.parts
            return parts * self._part.needed_bytes(data) - (parts - 1) * _bytes(data) + _bytes(states)
        return required_bytes(self._compile(data)) + 2 * (_bytes(states) // rows(self.task.code_path, self.members))


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
