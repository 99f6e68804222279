"""The multilayer perceptron in PyTorch."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from jaxopt_bench.models import MLP

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": functools.partial(F.gelu, approximate="tanh"),
    "tanh": torch.tanh,
}


class MLPTorch(nn.Module):
    """Dense layers, each followed by an activation function, and a dense layer for the outputs."""

    def __init__(self, config: MLP, num_outputs: int, shape: tuple[int, ...]):
        super().__init__()
        self.layers = [f"dense{i}" for i in range(1, len(config.widths) + 1)]
        self.flattened = {[*self.layers, "head"][0]: (shape[-1], *shape[:-1])} if len(shape) == 3 else {}
        sizes = (math.prod(shape), *config.widths)
        for i, (before, after) in enumerate(itertools.pairwise(sizes), start=1):
            self.add_module(f"dense{i}", nn.Linear(before, after))
            if config.layer_norm:
                self.add_module(f"norm{i}", nn.LayerNorm(after, eps=1e-6))
        self.layer_norm, self.activation = config.layer_norm, ACTIVATIONS[config.activation]
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(sizes[-1], num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the outputs."""
        x = x.flatten(1)
        for name in self.layers:
            x = self.get_submodule(name)(x)
            if self.layer_norm:
                x = self.get_submodule(name.replace("dense", "norm"))(x)
            x = self.dropout(self.activation(x))
        return self.head(x)
