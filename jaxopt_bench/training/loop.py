"""Loops composed from the two steps: advancing a state by some steps, evaluating it on a split.

The one place that decides how steps are driven. Today Python calls the compiled step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, UInt32

from jaxopt_bench import prng
from jaxopt_bench.data import Split
from jaxopt_bench.training.metrics import EvaluationMetrics, StepMetrics
from jaxopt_bench.training.state import TrainState
from jaxopt_bench.training.step import Batch, make_evaluation_step, make_train_step
from jaxopt_bench.training.task import Task

CODE_PATH = "python-loop"  # recorded with each run: another path may round differently
EVALUATION_BATCH = 250

Advance = Callable[[TrainState, StepMetrics, int], tuple[TrainState, StepMetrics]]
Evaluate = Callable[[TrainState, Split], EvaluationMetrics]


def make_advance(task: Task, data: Batch) -> Advance:
    """Returns `advance(state, metrics, steps) -> (state, metrics)`.

    It makes `steps` updates, which must not reach past the end of the state's epoch, and merges their metrics into
    those given. Both arguments are donated: their buffers are reused and must not be read again.

    Args:
      task: what is trained.
      data: the whole training split, on the device.
    """
    train_step = make_train_step(task)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def indexed_step(
        state: TrainState, metrics: StepMetrics, data: Batch, order: Int32[Array, " examples"]
    ) -> tuple[TrainState, StepMetrics]:
        size = task.experiment.batch_size
        start = (state.step % task.steps_per_epoch) * size
        indices = jax.lax.dynamic_slice_in_dim(order, start, size)
        state, new = train_step(state, Batch(data.images[indices], data.labels[indices]))
        return state, metrics.merge(new)

    @functools.lru_cache(maxsize=1)
    def order_of(seed: int, epoch: int) -> Int32[Array, " examples"]:
        return epoch_order(task, jnp.uint32(seed), epoch)

    def advance(state: TrainState, metrics: StepMetrics, steps: int) -> tuple[TrainState, StepMetrics]:
        order = order_of(int(state.seed), int(state.step) // task.steps_per_epoch)
        for _ in range(steps):
            state, metrics = indexed_step(state, metrics, data, order)
        return state, metrics

    return advance


def epoch_order(task: Task, seed: UInt32[Array, ""], epoch: int) -> Int32[Array, " examples"]:
    """Returns the permutation of the training examples in which an epoch, counted from 0, goes through them."""
    key = prng.key(seed, prng.Purpose.SHUFFLE, epoch)
    return jax.random.permutation(key, jnp.arange(task.train_examples, dtype=jnp.int32))


def make_evaluate(task: Task) -> Evaluate:
    """Returns `evaluate(state, split) -> metrics`: means over all of a split, which stays on the host.

    The last batch is padded and the padding masked, so that every example counts once.
    """
    evaluation_step = jax.jit(make_evaluation_step(task))
    merge = jax.jit(lambda one, other: one.merge(other))

    def evaluate(state: TrainState, split: Split) -> EvaluationMetrics:
        metrics = EvaluationMetrics.empty()
        for batch, mask in padded_batches(split, EVALUATION_BATCH):
            metrics = merge(metrics, evaluation_step(state.params, state.batch_stats, batch, mask))
        return metrics

    return evaluate


def padded_batches(split: Split, size: int) -> Iterator[tuple[Batch, Bool[Array, " size"]]]:
    """Yields a split's examples in batches of one size; the mask is False on the last one's padding."""
    for start in range(0, len(split.labels), size):
        images, labels = split.images[start : start + size], split.labels[start : start + size]
        mask = np.arange(size) < len(labels)
        yield Batch(_padded(images, size), _padded(labels, size)), jnp.asarray(mask)


def _padded(array: np.ndarray, size: int) -> Array:
    return jnp.asarray(np.pad(array, [(0, size - len(array))] + [(0, 0)] * (array.ndim - 1)))
