"""Counter-based randomness: every draw is a function of the seed, its purpose and an epoch or step number.

No key is carried from step to step. So any step can be recomputed alone, and a resumed run needs no saved generator
state.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

import jax
from jaxtyping import Array, Integer, Key

IMPLEMENTATION = "threefry2x32"  # the same bits on every backend, unlike rbg


class Purpose(enum.IntEnum):
    """The purposes of draws. The numbers affect the results of experiments: append new ones, never renumber."""

    INITIALISATION = 0
    SHUFFLE = 1
    LOSS = 2  # dropout, noise
    CROP = 3
    FLIP = 4
    ROTATION = 5
    CUTOUT = 6
    OPTIMIZER = 7


def key(seed: Integer[Array, ""] | int, purpose: Purpose, index: Integer[Array, ""] | int = 0) -> Key[Array, ""]:
    """Returns the key of one draw: `fold_in(fold_in(key(seed), purpose), index)`.

    Args:
      seed: the run's seed, a non-negative 32-bit integer; may be traced.
      purpose: the purpose of the draw.
      index: the epoch (for shuffling) or the step (for all other draws in training); may be traced.
    """
    root = jax.random.key(seed, impl=IMPLEMENTATION)
    return jax.random.fold_in(jax.random.fold_in(root, int(purpose)), index)


class Draw(NamedTuple):
    """The source of randomness of one training step: it gives a key for each purpose.

    Attributes:
      seed: the run's seed.
      step: the step, counted from 0.
    """

    seed: Integer[Array, ""] | int
    step: Integer[Array, ""] | int

    def key(self, purpose: Purpose) -> Key[Array, ""]:
        """Returns the key of this step for a purpose; see `key`."""
        return key(self.seed, purpose, self.step)
