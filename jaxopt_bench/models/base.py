"""What every model is: a configuration that builds a Flax module. No architecture belongs here."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar, Literal

from flax import linen as nn

from jaxopt_bench.config import Config
from jaxopt_bench.models.layers import Layers

Inputs = Literal["images", "vectors", "sequences", "tokens"]
"""The kinds of examples that models take.

* "images": Float[Array, "batch height width channels"]
* "vectors": Float[Array, "batch features"]
* "sequences": Float[Array, "batch length channels"]
* "tokens": Integer[Array, "batch length"], numbers from 0 to `num_outputs` − 1
"""


@dataclasses.dataclass(frozen=True)
class Model(Config, abc.ABC):
    """A network, as data: its fields say which network `module` builds."""

    inputs: ClassVar[tuple[Inputs, ...]] = ("images",)
    """The kinds of examples that it takes."""

    @property
    def has_dropout(self) -> bool:
        """Whether training draws random numbers, as for dropout."""
        return getattr(self, "dropout", 0.0) > 0

    @abc.abstractmethod
    def module(self, num_outputs: int, layers: Layers = Layers()) -> nn.Module:
        """Builds the network.

        The module is called as `apply(variables, examples, train=...)` with examples of one of the kinds in `inputs`.
        It returns `Float32[Array, "batch outputs"]`, the logits of a classifier for example. Of tokens it returns
        `Float32[Array, "batch length outputs"]`: at each position the logits of the next token, which depend only on
        the tokens up to that position. Training draws from the rng collection "dropout" if the network has dropout,
        and updates the collection "batch_stats" if it has batch normalisation.

        Args:
          num_outputs: how many numbers it returns for each example; of tokens, the size of the vocabulary.
          layers: what it is made of: the type it computes in, and how. Parameters, running averages and outputs are
            float32 in any case.

        Returns:
          A linen module.
        """
