"""The gated recurrent unit in PyTorch: its own layer, `nn.GRU`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jaxopt_bench.models import GRU


class GRUTorch(nn.Module):
    """Layers of gated recurrent units, and a dense layer on the states of the last layer.

    `nn.GRU` has a second bias for each gate. Only the second bias of the new state has an effect. The other two are
    redundant and stay zero here, because the project's layer does not have them.
    """

    def __init__(self, config: GRU, num_outputs: int, shape: tuple[int, ...]):
        super().__init__()
        self.of_tokens = len(shape) == 1
        if self.of_tokens:
            self.embed = nn.Embedding(num_outputs, config.width)
        self.layers = [f"gru{i}" for i in range(1, config.depth + 1)]
        features = config.width if self.of_tokens else shape[-1]
        for name in self.layers:
            layer = nn.GRU(features, config.width, batch_first=True)
            with torch.no_grad():
                layer.bias_hh_l0[: 2 * config.width] = 0
            used = torch.arange(3 * config.width) >= 2 * config.width
            layer.bias_hh_l0.register_hook(lambda gradient, used=used: gradient * used)
            self.add_module(name, layer)
            features = config.width
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.width, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the outputs for the last state or, for tokens, the logits of the token after each position."""
        x = self.embed(x) if self.of_tokens else x
        for name in self.layers:
            x = self.dropout(self.get_submodule(name)(x)[0])
        return self.head(x if self.of_tokens else x[:, -1])
