"""What both sides are asked before they are timed, and what they answer: losses and gradients from equal weights."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int32

Variables = dict[str, Float[np.ndarray, "..."]]
"""Arrays by name, in Flax's layout: `params/head/kernel`, `batch_stats/norm1/mean`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """Weights and a batch, for which each side computes losses and gradients.

    Attributes:
      variables: the network's.
      images: already normalised.
      labels: the classes.
    """

    variables: Variables
    images: Float[np.ndarray, "batch height width channels"]
    labels: Int32[np.ndarray, " batch"]


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What one side computes, dropout off.

    Attributes:
      evaluation_loss: the mean cross-entropy by running statistics.
      training_loss: the mean cross-entropy by the batch's own statistics.
      gradients: of the training loss, by the parameters' names.
    """

    evaluation_loss: float
    training_loss: float
    gradients: Variables
