"""Probes for both sides before the measurement, and their answers: losses and gradients from equal weights."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int32

Variables = dict[str, Float[np.ndarray, "..."]]
"""Arrays by name, in Flax's layout: `params/head/kernel`, `batch_stats/norm1/mean`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """Weights and a batch. Each side computes losses and gradients from them.

    Attributes:
      variables: the variables of the network.
      images: normalised images.
      labels: the classes.
    """

    variables: Variables
    images: Float[np.ndarray, "batch height width channels"]
    labels: Int32[np.ndarray, " batch"]


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """The results of one side without dropout.

    Attributes:
      evaluation_loss: the mean cross-entropy with running statistics.
      training_loss: the mean cross-entropy with the statistics of the batch.
      gradients: the gradients of the training loss, by parameter name.
    """

    evaluation_loss: float
    training_loss: float
    gradients: Variables
