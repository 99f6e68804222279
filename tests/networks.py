"""A small network with batch normalisation, which compiles quickly."""

from __future__ import annotations

import dataclasses

from flax import linen as nn

from jaxopt_bench.models import Model
from jaxopt_bench.models.layers import HE_NORMAL, Layers, flatten


@dataclasses.dataclass(frozen=True)
class Normed(Model):
    """A convolution, batch normalisation with momentum 0.7, and a head."""

    def module(self, num_outputs: int, layers: Layers = Layers()) -> nn.Module:
        return NormedModule(num_outputs, layers)


class NormedModule(nn.Module):
    num_outputs: int
    layers: Layers

    @nn.compact
    def __call__(self, images, *, train):
        x = self.layers.conv(4, 3, use_bias=True, kernel_init=HE_NORMAL, name="conv")(images)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.7, name="norm")(x))
        return self.layers.dense(self.num_outputs, kernel_init=HE_NORMAL, name="head")(flatten(x))
