"""The small convolutional network for sequences in PyTorch."""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from jaxopt_bench.models import CNN1D


class CNN1DTorch(nn.Module):
    """Convolutions over the length with stride 2, each followed by ReLU, then a dense layer on the remaining values."""

    def __init__(self, config: CNN1D, num_outputs: int, shape: tuple[int, ...]):
        super().__init__()
        length, features = shape
        sizes = (features, *config.channels)
        for i, (before, after) in enumerate(itertools.pairwise(sizes), start=1):
            padding, use_bias = config.kernel // 2, not config.batch_norm
            self.add_module(f"conv{i}", nn.Conv1d(before, after, config.kernel, 2, padding=padding, bias=use_bias))
            self.add_module(f"norm{i}", nn.BatchNorm1d(after) if config.batch_norm else nn.Identity())
            length = (length + 2 * (config.kernel // 2) - config.kernel) // 2 + 1
        self.layers = range(1, len(sizes))
        self.flattened = {"head": (sizes[-1], length)}
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(sizes[-1] * length, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the outputs for sequences [batch, length, channels]."""
        x = x.transpose(1, 2)
        for i in self.layers:
            x = F.relu(self.get_submodule(f"norm{i}")(self.get_submodule(f"conv{i}")(x)))
        return self.head(self.dropout(x.flatten(1)))
