"""What every model is: a configuration that builds a Flax module. No architecture belongs here."""

from __future__ import annotations

import abc
import dataclasses

from flax import linen as nn

from jaxopt_bench.config import Config
from jaxopt_bench.models.layers import Layers


@dataclasses.dataclass(frozen=True)
class Model(Config, abc.ABC):
    """An image classifier, as data: its fields say which network `module` builds."""

    @abc.abstractmethod
    def module(self, num_classes: int, layers: Layers = Layers()) -> nn.Module:
        """Builds the network.

        The module is called as `apply(variables, images, train=...)` with
        `images: Float[Array, "batch height width channels"]` and returns
        `logits: Float32[Array, "batch classes"]`. Training draws from the rng collection "dropout" where the
        network has dropout, and updates the collection "batch_stats" where it has batch normalisation.

        Args:
          num_classes: how many logits it returns per image.
          layers: what it is made of: the type it computes in, and how. Parameters, running averages and logits are
            float32 in any case.

        Returns:
          A linen module.
        """
