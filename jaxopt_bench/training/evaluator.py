"""The compiled functions that evaluate runs that were trained together."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, PyTree, UInt32

from jaxopt_bench.problems import Examples
from jaxopt_bench.training.batches import MaskedBatch
from jaxopt_bench.training.devices import fetch_to_host, shard_batch, shardings
from jaxopt_bench.training.metrics import EvaluationMetrics
from jaxopt_bench.training.population import map_over_members, repeat
from jaxopt_bench.training.side_by_side import Threads, part_size
from jaxopt_bench.training.state import TrainState
from jaxopt_bench.training.step import make_averages_step, make_evaluation_step
from jaxopt_bench.training.task import Task

STATISTICS_EXAMPLES = 5000  # the number of training examples for estimating running averages for an evaluation

Index = Integer[Array, ""]
Tree: TypeAlias = PyTree[Array]
Arrays = dict[str, np.ndarray]
Values = Mapping[str, Float[Array, " members"]]


class Evaluator:
    """Evaluates runs that were trained together. Each function is compiled when it is first used.

    Attributes:
      task: the task of one of the members.
      members: how many members there are.
    """

    def __init__(self, task: Task, members: int, threads: Threads | None = None):
        """Stores the arguments.

        Args:
          task: the task of one of the members.
          members: the number of members.
          threads: the threads that evaluate parts of the members at the same time, if there are any.
        """
        self.task, self.members, self._threads = task, members, threads
        self._stacked, self._whole = shardings(task.code_path, members)

    @functools.cached_property
    def _part(self) -> Evaluator:
        """The evaluator of the members of one thread."""
        path = dataclasses.replace(self.task.code_path, side_by_side=1)
        return Evaluator(dataclasses.replace(self.task, code_path=path), part_size(self.task.code_path, self.members))

    def states_to_evaluate(
        self, states: TrainState, data: Examples, watched: Callable[[Iterator[int]], Iterator[int]] = iter
    ) -> TrainState:
        """Returns the states to evaluate, given the states that are trained.

        If the optimizer averages parameters, the averages replace the parameters. If the problem's variables are
        running averages, they are estimated again for the parameters to evaluate: as means over the batches of the
        first training examples, with the same random draws as in training. The running averages of training are not
        used: in the first steps they mostly consist of their initial values and of values for earlier parameters, and
        averages of parameters have no running averages.

        Args:
          states: the states of the members.
          data: the whole training split, on the device.
          watched: wraps an iterator; the result yields the same items, and may raise an exception to stop.
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
        """The number of batches for estimating running averages for an evaluation."""
        return min(self.task.steps_per_epoch, max(1, STATISTICS_EXAMPLES // self.task.experiment.workload.batch_size))

    @functools.cached_property
    def _average_parameters(self) -> Callable[..., Tree]:
        return self.task.make_once(
            self._make_average_parameters, "average_parameters", self.members, self.task.compiled_fields
        )

    def _make_average_parameters(self) -> Callable[..., Tree]:
        optimizer = self.task.experiment.optimizer

        @functools.partial(jax.jit, in_shardings=(self._stacked, self._stacked), out_shardings=self._stacked)
        def averages(opt_state: Any, params: Tree) -> Tree:
            of_all = map_over_members(optimizer.evaluation_parameters, self.task.code_path, self.members)
            return of_all((), opt_state, params)

        return averages

    @functools.cached_property
    def _add_variables(self) -> Callable[..., Tree]:
        return self.task.make_once(
            self._make_add_variables, "add_variables", self.members, self.task.experiment.workload.batch_size
        )

    def _make_add_variables(self) -> Callable[..., Tree]:
        """Returns the function that adds the statistics of one batch to the means of the variables."""
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

            return map_over_members(of_one, path, members)(
                (shard_batch(batch, path, members), index), params, sums, seeds
            )

        return add

    def evaluate(self, states: TrainState, batches: Iterable[MaskedBatch]) -> Values:
        """Returns the metrics of each member over a split, by name.

        At most two batches are in flight, so that the iterator can stop the evaluation quickly.

        Args:
          states: see `states_to_evaluate`.
          batches: the batches from `padded_batches`.
        """
        return self._evaluate(states, batches, lambda statistics, mask: None)

    def evaluate_examples(self, states: TrainState, batches: Iterable[MaskedBatch]) -> tuple[Values, Arrays]:
        """Returns the result of `evaluate`, and the problem's statistics of each example.

        The statistics are a dictionary of arrays [members, examples] on the host. The program of `evaluate` computes
        them, so nothing else is compiled.
        """
        parts: list[Arrays] = []

        def add(statistics: Arrays, mask: Bool[Array, " batch"]) -> None:
            kept = np.asarray(mask)
            parts.append({name: array[:, kept] for name, array in fetch_to_host(statistics).items()})

        values = self._evaluate(states, batches, add)
        return values, {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}

    def _evaluate(
        self, states: TrainState, batches: Iterable[MaskedBatch], add: Callable[[Any, Bool[Array, " batch"]], None]
    ) -> Values:
        """Returns the metrics. `add` is called with the statistics of each batch's examples and their mask."""
        of_model = states.params, states.variables  # without the optimizer's state, so all optimizers share the program
        if self._threads is not None:
            return self._evaluate_in_threads(self._threads, of_model, batches, add)
        metrics = self._no_evaluation()
        for batch, mask in batches:
            before, (metrics, statistics) = metrics, self._add_evaluation(of_model, metrics, batch, mask)
            add(statistics, mask)
            jax.block_until_ready(before)
        return self._evaluation_values(metrics)

    def _evaluate_in_threads(
        self,
        threads: Threads,
        of_model: tuple[Tree, Tree],
        batches: Iterable[MaskedBatch],
        add: Callable[[Any, Bool[Array, " batch"]], None],
    ) -> Values:
        parts, join = threads.divide(of_model)
        metrics = [self._part._no_evaluation() for _ in parts]
        for batch, mask in batches:
            arguments = [(*own, batch, mask) for own in zip(parts, metrics, strict=True)]
            before, found = metrics, threads.call(self._part._add_evaluation, arguments)
            metrics = [own for own, _ in found]
            add(join([statistics for _, statistics in found]), mask)
            jax.block_until_ready(before)
        return self._evaluation_values(join(metrics))

    def _no_evaluation(self) -> EvaluationMetrics:
        return repeat(EvaluationMetrics.empty(self.task.problem.statistics), self.members)

    @functools.cached_property
    def _add_evaluation(self) -> Callable[..., tuple[EvaluationMetrics, Any]]:
        return self.task.make_once(self._make_add_evaluation, "add_evaluation", self.members)

    def _make_add_evaluation(self) -> Callable[..., tuple[EvaluationMetrics, Any]]:
        path, members, evaluation_step = self.task.code_path, self.members, make_evaluation_step(self.task)

        @functools.partial(
            jax.jit,
            compiler_options=path.compiler_options(),
            in_shardings=(self._stacked, self._stacked, self._whole, self._whole),
            out_shardings=self._stacked,
        )
        def add(
            of_model: tuple[Tree, Tree], metrics: EvaluationMetrics, batch: Examples, mask: Bool[Array, " batch"]
        ) -> tuple[EvaluationMetrics, Any]:
            def of_one(
                of_model: tuple[Tree, Tree], metrics: EvaluationMetrics, batch: Examples, mask: Bool[Array, " batch"]
            ) -> tuple[EvaluationMetrics, Any]:
                found, statistics = evaluation_step(*of_model, batch, mask)
                return metrics.merge(found), statistics

            return map_over_members(of_one, path, members)(shard_batch((batch, mask), path, members), of_model, metrics)

        return add

    @functools.cached_property
    def _evaluation_values(self) -> Callable[[EvaluationMetrics], Values]:
        return self.task.make_once(self._make_evaluation_values, "evaluation_values", self.members)

    def _make_evaluation_values(self) -> Callable[[EvaluationMetrics], Values]:
        measured = self.task.problem.all_metrics
        return jax.jit(jax.vmap(lambda own: own.compute(measured)))

    def predict(self, states: TrainState, batches: Iterable[MaskedBatch]) -> tuple[Arrays, Arrays]:
        """Returns the problem's statistics of each example of a split, and the results of its function `outputs`.

        Both are dictionaries of arrays [members, examples, …] on the host.

        Args:
          states: see `states_to_evaluate`.
          batches: the batches from `padded_batches`; the results have no rows for their padding.
        """
        parts = []
        for batch, mask in batches:
            kept = np.asarray(mask)
            found = fetch_to_host(self._predict_batch(states, batch))
            parts.append(jax.tree.map(lambda array, kept=kept: array[:, kept], found))
        return jax.tree.map(lambda *arrays: np.concatenate(arrays, axis=1), *parts)

    @functools.cached_property
    def _predict_batch(self) -> Callable[..., Any]:
        return self.task.make_once(self._make_predict_batch, "predict_batch", self.members)

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

            return map_over_members(of_one, path, members)((shard_batch(batch, path, members),), states)

        return of_batch
