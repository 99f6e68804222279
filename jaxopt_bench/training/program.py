"""The compiled program of a task: all computations on the device for runs that are trained together."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32, Integer, PyTree, UInt32

from jaxopt_bench import prng
from jaxopt_bench.problems import Examples, take_examples
from jaxopt_bench.training.batches import MaskedBatch, epoch_order
from jaxopt_bench.training.code_path import options_to_run_once
from jaxopt_bench.training.devices import divided, fetched, placed, rows, shardings
from jaxopt_bench.training.loop import make_loop
from jaxopt_bench.training.metrics import EvaluationMetrics, StepMetrics
from jaxopt_bench.training.population import over_members, repeat, required_bytes
from jaxopt_bench.training.side_by_side import Threads, part_count, part_size
from jaxopt_bench.training.state import TrainState, abstract_states
from jaxopt_bench.training.step import make_averages_step, make_evaluation_step, make_train_step
from jaxopt_bench.training.task import Task

STATISTICS_EXAMPLES = 5000  # training examples from which running averages are estimated for an evaluation

Order = Int32[Array, "members examples"]
Steps = Integer[Array, " members"]
Index = Integer[Array, ""]
Tree: TypeAlias = PyTree[Array]
Arrays = dict[str, np.ndarray]
Values = Mapping[str, Float[Array, " members"]]


class Program:
    """The computations for runs that are trained together. Each function is compiled when it is first used.

    Programs for as many members share compiled functions if their tasks do; see `Task.shared`.

    The arrays of the runs are stacked: the first axis is the member, in the same order everywhere.
    The members may differ in numbers and seeds, see `population.check_one_program`.

    Attributes:
      task: the task of one of the members.
      members: how many members there are.
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

    # Training

    def advance(
        self, states: TrainState, metrics: StepMetrics, data: Examples, order: Order, steps: Steps
    ) -> tuple[TrainState, StepMetrics]:
        """Makes some updates of each member, and returns the states after them and the metrics of these steps too.

        One compilation serves any number of updates. The division of updates into calls does not change any bit. The
        function returns before the updates are made.

        Args:
          states: of the members. They are donated: their buffers are reused and must not be read again.
          metrics: of earlier steps; those of the new steps are merged into them. See `empty_metrics`.
          data: the whole training split, on the device; the same for all.
          order: each member's order of the epoch; see `epoch_orders`.
          steps: int32, how many updates each member makes, which must not reach past the epoch's end. Members that are
            computed together make as many as the busiest.
        """
        if self._compiling is not None:
            self._compiling.join()
            self._compiling = None
        return self._advance(states, metrics, data, order, steps)

    def start_compiling(self, data: Examples) -> None:
        """Starts to compile `advance` in a thread, which does not keep the process from ending; `advance` waits for it.

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
        order = jax.ShapeDtypeStruct((self.members, self.task.train_examples), jnp.int32)
        steps = jax.ShapeDtypeStruct((self.members,), jnp.int32)
        arguments = states, self.abstract_metrics(), data, order, steps
        compiled: jax.stages.Compiled = self._advance.lower(*arguments).compile()  # type: ignore[attr-defined]
        return compiled

    @functools.cached_property
    def _advance(self) -> Callable[..., tuple[TrainState, StepMetrics]]:
        return self.task.shared(self._make_advance, "advance", self.members, self.task.trained)

    def _make_advance(self) -> Callable[..., tuple[TrainState, StepMetrics]]:
        task, path, members = self.task, self.task.code_path, self.members
        if self._threads is not None:
            return functools.partial(self._threads.advance, self._part._advance)
        train_step, size = make_train_step(task), task.experiment.workload.batch_size

        def step(
            carry: tuple[TrainState, StepMetrics], data: Examples, order: Int32[Array, " examples"]
        ) -> tuple[TrainState, StepMetrics]:
            state, metrics = carry
            indices = jax.lax.dynamic_slice_in_dim(order, (state.step % task.steps_per_epoch) * size, size)
            batch = divided(take_examples(data, indices), path, members)
            state, new = train_step(state, batch)
            return state, metrics.merge(new)

        return make_loop(step, path, members)

    def epoch_orders(self, seeds: UInt32[Array, " members"], epoch: int) -> Order:
        """Returns each member's order of the training examples in an epoch, counted from 0."""
        return self._epoch_orders(seeds, jnp.int32(epoch))

    @functools.cached_property
    def _epoch_orders(self) -> Callable[..., Order]:
        return self.task.shared(self._make_epoch_orders, "epoch_orders", self.members)

    def _make_epoch_orders(self) -> Callable[..., Order]:
        of_one = functools.partial(epoch_order, self.task)

        @functools.partial(jax.jit, in_shardings=(self._stacked, self._whole), out_shardings=self._stacked)
        def orders(seeds: UInt32[Array, " members"], epoch: Index) -> Order:
            return over_members(of_one, self.task.code_path, self.members)((epoch,), seeds)

        return orders

    def first_batch(self, data: Examples, seed: UInt32[Array, ""]) -> tuple[Examples, Examples]:
        """Returns the batch of a run's first step: as stored, and as input of the loss (augmented, for example)."""
        return self._first_batch(data, seed)

    @functools.cached_property
    def _first_batch(self) -> Callable[..., tuple[Examples, Examples]]:
        return self.task.shared(self._make_first_batch, "first_batch", self.members, self._batch_size)

    def _make_first_batch(self) -> Callable[..., tuple[Examples, Examples]]:
        @functools.partial(jax.jit, compiler_options=options_to_run_once())
        def first_batch(data: Examples, seed: UInt32[Array, ""]) -> tuple[Examples, Examples]:
            indices = epoch_order(self.task, seed, 0)[: self.task.experiment.workload.batch_size]
            batch = take_examples(data, indices)
            return batch, self.task.problem.prepared(batch, prng.Draw(seed, 0))

        return first_batch

    # Metrics of training steps

    def empty_metrics(self) -> StepMetrics:
        """Returns the metrics of no steps, on the devices that the task's code path uses."""
        return placed(self._no_metrics(), self._stacked)

    def abstract_metrics(self) -> StepMetrics:
        """Returns the shapes and types of the metrics of steps, computing nothing."""
        return jax.eval_shape(self._no_metrics)

    def _no_metrics(self) -> StepMetrics:
        return repeat(StepMetrics.empty(self.task.step_names), self.members)

    def step_values(self, metrics: StepMetrics) -> Values:
        """Returns the values of the metrics of steps, of each member, by name."""
        return self._step_values(metrics)

    @functools.cached_property
    def _step_values(self) -> Callable[[StepMetrics], Values]:
        return self.task.shared(self._make_step_values, "step_values", self.members, self._batch_size)

    def _make_step_values(self) -> Callable[[StepMetrics], Values]:
        measured = self.task.step_metrics
        return jax.jit(jax.vmap(lambda own: own.compute(measured)))

    # Evaluation

    def states_to_evaluate(
        self, states: TrainState, data: Examples, watched: Callable[[Iterator[int]], Iterator[int]] = iter
    ) -> TrainState:
        """Returns the states to evaluate, given the states that are trained.

        If the optimizer averages parameters, the averages replace them. If the problem's variables are running
        averages, they are estimated anew for the parameters that are evaluated: as means over the batches of the first
        training examples, drawn as in training. Those of training are not used: in the first steps they are mostly
        their initial values and those of earlier parameters, and averages of parameters have none.

        Args:
          states: of the members.
          data: the whole training split, on the device.
          watched: returns the iterator that it is given, and may raise instead of the next item.
        """
        if self.task.experiment.optimizer.averages:
            states = states.replace(params=self._average_parameters(states.opt_state, states.params))
        if not self.task.problem.running_averages or not jax.tree.leaves(states.variables):
            return states
        sums = states.variables  # the first call of `_add_variables` reads only their shapes
        for index in watched(iter(range(self.statistics_batches))):
            before, sums = sums, self._add_variables(states.params, sums, states.seed, data, jnp.int32(index))
            jax.block_until_ready(before)
        return states.replace(variables=sums)

    @property
    def statistics_batches(self) -> int:
        """The number of batches from which running averages are estimated for an evaluation."""
        return min(self.task.steps_per_epoch, max(1, STATISTICS_EXAMPLES // self.task.experiment.workload.batch_size))

    @functools.cached_property
    def _average_parameters(self) -> Callable[..., Tree]:
        return self.task.shared(self._make_average_parameters, "average_parameters", self.members, self.task.trained)

    def _make_average_parameters(self) -> Callable[..., Tree]:
        optimizer = self.task.experiment.optimizer

        @functools.partial(jax.jit, in_shardings=(self._stacked, self._stacked), out_shardings=self._stacked)
        def averages(opt_state: Any, params: Tree) -> Tree:
            of_all = over_members(optimizer.evaluation_parameters, self.task.code_path, self.members)
            return of_all((), opt_state, params)

        return averages

    @functools.cached_property
    def _add_variables(self) -> Callable[..., Tree]:
        return self.task.shared(self._make_add_variables, "add_variables", self.members, self._batch_size)

    def _make_add_variables(self) -> Callable[..., Tree]:
        """Adds the statistics of one batch to the means of the variables."""
        path, members, size = self.task.code_path, self.members, self.task.experiment.workload.batch_size
        averages_step, batches = make_averages_step(self.task), self.statistics_batches

        @functools.partial(
            jax.jit,
            compiler_options=path.compiler_options(),
            in_shardings=(self._stacked, self._stacked, self._stacked, self._whole, self._whole),
            out_shardings=self._stacked,
        )
        def add(params: Tree, sums: Tree, seeds: UInt32[Array, " members"], data: Examples, index: Index) -> Tree:
            batch = jax.tree.map(lambda array: jax.lax.dynamic_slice_in_dim(array, index * size, size), data)

            def of_one(params: Tree, sums: Tree, seed: UInt32[Array, ""], batch: Examples, index: Index) -> Tree:
                own = averages_step(params, sums, batch, seed, index)
                return jax.tree.map(lambda sum, s: jnp.where(index == 0, 0, sum) + s / batches, sums, own)

            return over_members(of_one, path, members)((divided(batch, path, members), index), params, sums, seeds)

        return add

    def evaluate(self, states: TrainState, batches: Iterable[MaskedBatch]) -> Values:
        """Returns the metrics of each member over a split, by name.

        It takes a batch when all before it but one are done, so that the iterator can stop the evaluation soon.

        Args:
          states: see `states_to_evaluate`.
          batches: those of `padded_batches`.
        """
        of_model = states.params, states.variables  # without the optimizer's state, so that all optimizers share it
        if self._threads is not None:
            return self._evaluate_in_threads(self._threads, of_model, batches)
        metrics = self._no_evaluation()
        for batch, mask in batches:
            before, metrics = metrics, self._add_evaluation(of_model, metrics, batch, mask)
            jax.block_until_ready(before)
        return self._evaluation_values(metrics)

    def _evaluate_in_threads(
        self, threads: Threads, of_model: tuple[Tree, Tree], batches: Iterable[MaskedBatch]
    ) -> Values:
        parts, join = threads.divide(of_model)
        metrics = [self._part._no_evaluation() for _ in parts]
        for batch, mask in batches:
            arguments = [(*own, batch, mask) for own in zip(parts, metrics, strict=True)]
            before, metrics = metrics, threads.call(self._part._add_evaluation, arguments)
            jax.block_until_ready(before)
        return self._evaluation_values(join(metrics))

    def _no_evaluation(self) -> EvaluationMetrics:
        return repeat(EvaluationMetrics.empty(self.task.problem.statistics), self.members)

    @functools.cached_property
    def _add_evaluation(self) -> Callable[..., EvaluationMetrics]:
        return self.task.shared(self._make_add_evaluation, "add_evaluation", self.members)

    def _make_add_evaluation(self) -> Callable[..., EvaluationMetrics]:
        path, members, evaluation_step = self.task.code_path, self.members, make_evaluation_step(self.task)

        @functools.partial(
            jax.jit,
            compiler_options=path.compiler_options(),
            in_shardings=(self._stacked, self._stacked, self._whole, self._whole),
            out_shardings=self._stacked,
        )
        def add(
            of_model: tuple[Tree, Tree], metrics: EvaluationMetrics, batch: Examples, mask: Bool[Array, " batch"]
        ) -> EvaluationMetrics:
            def of_one(
                of_model: tuple[Tree, Tree], metrics: EvaluationMetrics, batch: Examples, mask: Bool[Array, " batch"]
            ) -> EvaluationMetrics:
                return metrics.merge(evaluation_step(*of_model, batch, mask))

            return over_members(of_one, path, members)(divided((batch, mask), path, members), of_model, metrics)

        return add

    @functools.cached_property
    def _evaluation_values(self) -> Callable[[EvaluationMetrics], Values]:
        return self.task.shared(self._make_evaluation_values, "evaluation_values", self.members)

    def _make_evaluation_values(self) -> Callable[[EvaluationMetrics], Values]:
        measured = self.task.problem.measured
        return jax.jit(jax.vmap(lambda own: own.compute(measured)))

    def predict(self, states: TrainState, batches: Iterable[MaskedBatch]) -> tuple[Arrays, Arrays]:
        """Returns the problem's statistics of each example of a split, and what its function `outputs` returns.

        Both are dictionaries of arrays [members, examples, …] on the host.

        Args:
          states: see `states_to_evaluate`.
          batches: those of `padded_batches`; their padding has no rows.
        """
        parts = []
        for batch, mask in batches:
            kept = np.asarray(mask)
            found = fetched(self._predict_batch(states, batch))
            parts.append(jax.tree.map(lambda array, kept=kept: array[:, kept], found))
        return jax.tree.map(lambda *arrays: np.concatenate(arrays, axis=1), *parts)

    @functools.cached_property
    def _predict_batch(self) -> Callable[..., Any]:
        return self.task.shared(self._make_predict_batch, "predict_batch", self.members)

    def _make_predict_batch(self) -> Callable[..., Any]:
        problem, path, members = self.task.problem, self.task.code_path, self.members

        @functools.partial(
            jax.jit,
            compiler_options=path.compiler_options(),
            in_shardings=(self._stacked, self._whole),
            out_shardings=self._stacked,
        )
        def of_batch(states: TrainState, batch: Examples) -> Any:
            def of_one(state: TrainState, batch: Examples) -> Any:
                found = problem.evaluation(state.params, state.variables, batch)
                statistics = {name: found[name] for name in problem.statistics}
                return statistics, dict(problem.predictions(state.params, state.variables, batch))

            return over_members(of_one, path, members)((divided(batch, path, members),), states)

        return of_batch

    # Size

    def abstract_checkpoint(self) -> dict[str, Any]:
        """Returns the shapes and types in a checkpoint: the states, and the metrics of steps since the last line."""
        return {"state": abstract_states(self.task, self.members), "metrics": self.abstract_metrics()}

    def needed_bytes(self, data: Examples) -> int:
        """Returns the bytes of memory of one device that training needs, by the analysis of the compiled program.

        A second copy of the states is added, for the time in which a checkpoint is written, and a third, which a CPU
        needs. If members are trained side by side, each part needs as much as a population of its size, except that all
        share the examples, and the states are copied once more. If Python calls every step, nothing is known, and 0 is
        returned.

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
