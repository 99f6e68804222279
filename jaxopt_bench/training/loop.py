"""Loops composed from the two steps, for a population at a time: advancing it, and evaluating it on a split."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, Integer, PyTree, UInt32

from jaxopt_bench import prng
from jaxopt_bench.problems import Examples, count_examples, take_examples
from jaxopt_bench.training.code_path import CodePath, options_to_run_once
from jaxopt_bench.training.devices import divided, fetched, placed, rows, shardings
from jaxopt_bench.training.metrics import EvaluationMetrics, StepMetrics
from jaxopt_bench.training.population import over_members, required_bytes, stack, update_members
from jaxopt_bench.training.state import TrainState, abstract_states
from jaxopt_bench.training.step import make_averages_step, make_evaluation_step, make_train_step
from jaxopt_bench.training.task import Task

EVALUATION_BATCH = 256  # which 2, 4 or 8 devices can share
STATISTICS_EXAMPLES = 5000  # training examples from which running averages are estimated for an evaluation

Order = Int32[Array, "members examples"]
Steps = Integer[Array, " members"]
MaskedBatch = tuple[Examples, Bool[Array, " batch"]]
Made = tuple[TrainState, StepMetrics]

Advance = Callable[[TrainState, StepMetrics, Examples, Order, Steps], Made]
Orders = Callable[[UInt32[Array, " members"], int], Order]
Evaluate = Callable[[TrainState, Iterable[MaskedBatch]], EvaluationMetrics]
Arrays = dict[str, np.ndarray]
Predictions = Callable[[TrainState, Iterable[MaskedBatch]], tuple[Arrays, Arrays]]
Evaluated = Callable[..., TrainState]
FirstBatch = Callable[[Examples, UInt32[Array, ""]], tuple[Examples, Examples]]


def make_advance(task: Task, members: int = 1) -> Advance:
    """Returns `advance(states, metrics, data, order, steps) -> (states, metrics)` for a population.

    It makes some updates of each member and merges their metrics into those given. One compilation serves any number
    of updates, and how they are divided among calls changes no bit. It returns before they are made. The states are
    donated: their buffers are reused and must not be read again.

    The arguments of `advance`:
      states, metrics: stacked; see `initial_states` and `empty_metrics`.
      data: the whole training split, on the device; the same for all.
      order: each member's order of the epoch; see `make_orders`.
      steps: int32, how many updates each member makes, which must not reach past the epoch's end. Members that are
        computed together make as many as the busiest.
    """
    train_step, path = make_train_step(task), task.code_path

    def step(made: Made, data: Examples, order: Int32[Array, " examples"]) -> Made:
        state, metrics = made
        size = task.experiment.batch_size
        indices = jax.lax.dynamic_slice_in_dim(order, (state.step % task.steps_per_epoch) * size, size)
        batch = divided(take_examples(data, indices), path, members)
        state, new = train_step(state, batch)
        return state, metrics.merge(new)

    return make_loop(step, path, members)


def make_loop(step: Callable[[Any, Any, Any], Any], path: CodePath, members: int = 1) -> Callable[..., Any]:
    """Returns `advance(states, metrics, data, order, steps)` for any `step(made, data, order) -> made`, compiled as
    training is; see `make_advance`. `made` is a state with its metrics.
    """

    stacked, whole = shardings(path, members)
    compiled = functools.partial(
        jax.jit, donate_argnums=0, compiler_options=path.compiler_options(), out_shardings=stacked
    )

    @functools.partial(compiled, in_shardings=(stacked, stacked, whole, stacked, stacked))
    def advance(states: Any, metrics: Any, data: Any, order: Any, steps: Steps) -> Any:
        def several(made: Any, order: Any, count: Integer[Array, ""], data: Any) -> Any:
            return jax.lax.fori_loop(0, count, lambda _, now: step(now, data, order), made)

        if path.members == "vmap":  # a count for each member would make every step a choice between old and new
            return update_members(several, path, members)((steps.max(), data), (states, metrics), order)
        return update_members(several, path, members)((data,), (states, metrics), order, steps)

    @functools.partial(compiled, in_shardings=(stacked, stacked, whole, stacked))
    def advance_by_one(states: Any, metrics: Any, data: Any, order: Any) -> Any:
        one = update_members(lambda made, order, data: step(made, data, order), path, members)
        return one((data,), (states, metrics), order)

    def advance_in_python(states: Any, metrics: Any, data: Any, order: Any, steps: Steps) -> Any:
        for _ in range(int(np.max(steps))):
            states, metrics = advance_by_one(states, metrics, data, order)
        return states, metrics

    return advance if path.loop == "compiled" else advance_in_python


def empty_metrics(task: Task, members: int = 1) -> StepMetrics:
    """Returns the metrics of no steps, stacked, on the devices that the task's code path uses."""
    return placed(_stacked_metrics(task, members), shardings(task.code_path, members)[0])


def abstract_metrics(task: Task, members: int = 1) -> StepMetrics:
    """Returns the shapes and types of the stacked metrics, computing nothing."""
    return jax.eval_shape(lambda: _stacked_metrics(task, members))


def _stacked_metrics(task: Task, members: int) -> StepMetrics:
    return stack([StepMetrics.empty(task.step_names)] * members)


def needed_bytes(task: Task, data: Examples, members: int) -> int:
    """Returns the memory in which a population is trained, by what its compiled program says.

    It is that of one device. Beside what the program needs, the states are kept a second time while a checkpoint is
    written; on a CPU a third. Where Python calls every step nothing is known, and 0 returned.
    """
    if task.code_path.loop == "python":
        return 0
    states = abstract_states(task, members)
    order = jax.ShapeDtypeStruct((members, task.train_examples), jnp.int32)
    steps = jax.ShapeDtypeStruct((members,), jnp.int32)
    metrics = abstract_metrics(task, members)
    compiled = make_advance(task, members).lower(states, metrics, data, order, steps).compile()  # type: ignore[attr-defined]
    kept = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(states)) // rows(task.code_path, members)
    return required_bytes(compiled) + 2 * kept


def make_orders(task: Task, members: int = 1) -> Orders:
    """Returns `orders(seeds, epoch) -> order`: each member's order of an epoch, counted from 0."""
    of_one = functools.partial(epoch_order, task)
    stacked, whole = shardings(task.code_path, members)

    @functools.partial(jax.jit, in_shardings=(stacked, whole), out_shardings=stacked)
    def orders(seeds: UInt32[Array, " members"], epoch: Integer[Array, ""]) -> Order:
        return over_members(of_one, task.code_path, members)((epoch,), seeds)

    return lambda seeds, epoch: orders(seeds, jnp.int32(epoch))


def epoch_order(task: Task, seed: UInt32[Array, ""], epoch: Integer[Array, ""] | int) -> Int32[Array, " examples"]:
    """Returns the permutation of the training examples in which an epoch, counted from 0, goes through them."""
    key = prng.key(seed, prng.Purpose.SHUFFLE, epoch)
    return jax.random.permutation(key, jnp.arange(task.train_examples, dtype=jnp.int32))


def make_evaluated(task: Task, members: int = 1) -> Evaluated:
    """Returns `evaluated(states, data, watched) -> states`: what is evaluated in place of the states that are trained.

    If the optimizer averages parameters, the averages replace them. If the problem's variables are running averages,
    they are estimated anew for the parameters that are evaluated: as means over the batches of the first training
    examples, drawn as in training. Those of training are not used: in the first steps they are mostly their initial
    values and those of earlier parameters, and averages of parameters have none.

    The arguments of `evaluated`:
      states: stacked.
      data: the whole training split, on the device.
      watched: returns the iterator that it is given, and may raise instead of the next item.
    """
    optimizer = task.experiment.optimizer
    path, size = task.code_path, task.experiment.batch_size
    batches = min(task.steps_per_epoch, max(1, STATISTICS_EXAMPLES // size))
    averages_step = make_averages_step(task)
    stacked, whole = shardings(path, members)

    @functools.partial(jax.jit, in_shardings=(stacked, stacked), out_shardings=stacked)
    def averages(opt_state: Any, params: PyTree[Array]) -> PyTree[Array]:
        return over_members(optimizer.evaluation_parameters, path, members)((), opt_state, params)

    @functools.partial(
        jax.jit,
        compiler_options=path.compiler_options(),
        in_shardings=(stacked, stacked, stacked, whole, whole),
        out_shardings=stacked,
    )
    def add(
        params: PyTree[Array],
        sums: PyTree[Array],
        seeds: UInt32[Array, " members"],
        data: Examples,
        index: Integer[Array, ""],
    ) -> PyTree[Array]:
        batch = jax.tree.map(lambda array: jax.lax.dynamic_slice_in_dim(array, index * size, size), data)

        def of_one(
            params: PyTree[Array],
            sums: PyTree[Array],
            seed: UInt32[Array, ""],
            batch: Examples,
            index: Integer[Array, ""],
        ) -> PyTree[Array]:
            own = averages_step(params, sums, batch, seed, index)
            return jax.tree.map(lambda sum, s: jnp.where(index == 0, 0, sum) + s / batches, sums, own)

        return over_members(of_one, path, members)((divided(batch, path, members), index), params, sums, seeds)

    def evaluated(
        states: TrainState, data: Examples, watched: Callable[[Iterator[int]], Iterator[int]] = iter
    ) -> TrainState:
        if optimizer.averages:
            states = states.replace(params=averages(states.opt_state, states.params))
        if not task.problem.running_averages or not jax.tree.leaves(states.variables):
            return states
        sums = states.variables  # of which `add` reads nothing but the shapes at first
        for index in watched(iter(range(batches))):
            before, sums = sums, add(states.params, sums, states.seed, data, jnp.int32(index))
            jax.block_until_ready(before)
        return states.replace(variables=sums)

    return evaluated


def make_evaluate(task: Task, members: int = 1) -> Evaluate:
    """Returns `evaluate(states, batches) -> metrics`: each member's means over a split's batches, stacked.

    A batch is asked for once that before the last is done, so that whoever gives them can stop it soon. They are those
    of `padded_batches`.
    """
    evaluation_step, path = make_evaluation_step(task), task.code_path
    stacked, whole = shardings(path, members)

    @functools.partial(
        jax.jit,
        compiler_options=path.compiler_options(),
        in_shardings=(stacked, stacked, whole, whole),
        out_shardings=stacked,
    )
    def add(
        states: TrainState, metrics: EvaluationMetrics, batch: Examples, mask: Bool[Array, " batch"]
    ) -> EvaluationMetrics:
        def of_one(
            state: TrainState, metrics: EvaluationMetrics, batch: Examples, mask: Bool[Array, " batch"]
        ) -> EvaluationMetrics:
            return metrics.merge(evaluation_step(state.params, state.variables, batch, mask))

        return over_members(of_one, path, members)(divided((batch, mask), path, members), states, metrics)

    def evaluate(states: TrainState, batches: Iterable[MaskedBatch]) -> EvaluationMetrics:
        metrics = stack([EvaluationMetrics.empty(task.problem.statistics)] * members)
        for batch, mask in batches:
            before, metrics = metrics, add(states, metrics, batch, mask)
            jax.block_until_ready(before)
        return metrics

    return evaluate


def make_predictions(task: Task, members: int = 1) -> Predictions:
    """Returns `predictions(states, batches) -> (statistics, outputs)` of each example of a split, on the host.

    Both are dictionaries of arrays [members, examples, …]: the problem's statistics, and what `outputs` returns. The
    batches are those of `padded_batches`; their padding has no rows.
    """
    problem, path = task.problem, task.code_path
    stacked, whole = shardings(path, members)

    @functools.partial(
        jax.jit, compiler_options=path.compiler_options(), in_shardings=(stacked, whole), out_shardings=stacked
    )
    def of_batch(states: TrainState, batch: Examples) -> Any:
        def of_one(state: TrainState, batch: Examples) -> Any:
            found = problem.evaluation(state.params, state.variables, batch)
            statistics = {name: found[name] for name in problem.statistics}
            return statistics, dict(problem.predictions(state.params, state.variables, batch))

        return over_members(of_one, path, members)((divided(batch, path, members),), states)

    def predictions(states: TrainState, batches: Iterable[MaskedBatch]) -> tuple[Arrays, Arrays]:
        rows = []
        for batch, mask in batches:
            kept = np.asarray(mask)
            rows.append(jax.tree.map(lambda array, kept=kept: array[:, kept], fetched(of_batch(states, batch))))
        return jax.tree.map(lambda *arrays: np.concatenate(arrays, axis=1), *rows)

    return predictions


def make_first_batch(task: Task) -> FirstBatch:
    """Returns `first_batch(data, seed) -> (batch, prepared)`: the batch of a run's first step.

    `batch` holds the stored examples, `prepared` the inputs of the loss: augmented, for example.
    """

    @functools.partial(jax.jit, compiler_options=options_to_run_once())
    def first_batch(data: Examples, seed: UInt32[Array, ""]) -> tuple[Examples, Examples]:
        indices = epoch_order(task, seed, 0)[: task.experiment.batch_size]
        batch = take_examples(data, indices)
        return batch, task.problem.prepared(batch, prng.Draw(seed, 0))

    return first_batch


def padded_batches(examples: Examples, size: int = EVALUATION_BATCH) -> Iterator[MaskedBatch]:
    """Yields a split's examples in batches of one size, on the device; the mask is False on the last one's padding."""
    count = count_examples(examples)
    for start in range(0, count, size):
        batch = take_examples(examples, slice(start, start + size))
        mask = np.arange(size) < count - start
        yield jax.tree.map(lambda array: _padded(array, size), batch), jnp.asarray(mask)


def _padded(array: np.ndarray, size: int) -> Array:
    return jnp.asarray(np.pad(array, [(0, size - len(array))] + [(0, 0)] * (array.ndim - 1)))
