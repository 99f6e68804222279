"""The base class of models: a configuration that builds a Flax module. Architectures do not belong in this module."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar, Literal

from flax import linen as nn

from jaxopt_bench.config import Config
from jaxopt_bench.models.layers import Layers

Inputs = Literal["images", "vectors", "sequences", "tokens"]
"""The kinds of examples that models accept.

* "images": Float[Array, "batch height width channels"]
* "vectors": Float[Array, "batch features"]
* "sequences": Float[Array, "batch length channels"]
* "tokens": Integer[Array, "batch length"], numbers from 0 to `num_outputs` − 1
"""


@dataclasses.dataclass(frozen=True)
class Model(Config, abc.ABC):
    """The configuration of a network. Its fields determine the network that `module` builds."""

    inputs: ClassVar[tuple[Inputs, ...]] = ("images",)
    """The kinds of examples that it accepts."""

    @property
    def has_dropout(self) -> bool:
        """Whether training draws random numbers, as for dropout."""
        return getattr(self, "dropout", 0.0) > 0

    @abc.abstractmethod
    def module(self, num_outputs: int, layers: Layers = Layers()) -> nn.Module:
        """Builds the network.

        The module is called as `apply(variables, examples, train=...)` with examples of one of the kinds in `inputs`.
        It returns `Float32[Array, "batch outputs"]`, for example the logits of a classifier. For tokens it returns
        `Float32[Array, "batch length outputs"]`: at each position the logits of the next token, which depend only on
        the tokens up to that position. Training draws from the rng collection "dropout" if the network has dropout,
        and updates the collection "batch_stats" if it has batch normalisation.

        Args:
          num_outputs: the number of outputs for each example; for tokens, the size of the vocabulary.
          layers: the dtype and the implementation of its layers. Parameters, running averages and outputs are always
            float32.

        Returns:
          A linen module.
        """
