"""The order of training examples in an epoch, and the batches of a split for evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, Integer, UInt32

from jaxopt_bench import prng
from jaxopt_bench.problems import Examples, count_examples, take_examples
from jaxopt_bench.training.task import Task

EVALUATION_BATCH = 256  # 2, 4 or 8 devices can share it

MaskedBatch = tuple[Examples, Bool[Array, " batch"]]


def epoch_permutation(
    task: Task, seed: UInt32[Array, ""], epoch: Integer[Array, ""] | int
) -> Int32[Array, " examples"]:
    """Returns the permutation of the training examples for an epoch, counted from 0."""
    key = prng.key(seed, prng.Purpose.SHUFFLE, epoch)
    return jax.random.permutation(key, jnp.arange(task.train_examples, dtype=jnp.int32))


def padded_batches(examples: Examples, size: int = EVALUATION_BATCH) -> Iterator[MaskedBatch]:
    """Yields a split's examples in batches of one size, on the device; the mask is False for padding in the last."""
    count = count_examples(examples)
    for start in range(0, count, size):
        batch = take_examples(examples, slice(start, start + size))
        mask = np.arange(size) < count - start
        yield jax.tree.map(lambda array: _padded(array, size), batch), jnp.asarray(mask)


def _padded(array: np.ndarray, size: int) -> Array:
    return jnp.asarray(np.pad(array, [(0, size - len(array))] + [(0, 0)] * (array.ndim - 1)))
