"""What every model is: a configuration that builds a Flax module. No architecture belongs here."""

from __future__ import annotations

import abc
import dataclasses

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxopt_bench.config import Config


@dataclasses.dataclass(frozen=True)
class Model(Config, abc.ABC):
    """An image classifier, as data: its fields say which network `module` builds."""

    @abc.abstractmethod
    def module(self, num_classes: int, dtype: DTypeLike = jnp.float32) -> nn.Module:
        """Builds the network.

        The module is called as `apply(variables, images, train=...)` with
        `images: Float[Array, "batch height width channels"]` and returns
        `logits: Float32[Array, "batch classes"]`. Training draws from the rng collection "dropout" where the
        network has dropout, and updates the collection "batch_stats" where it has batch normalisation.

        Args:
          num_classes: how many logits it returns per image.
          dtype: what it computes in; parameters, running averages and logits are float32 in any case.

        Returns:
          A linen module.
        """
