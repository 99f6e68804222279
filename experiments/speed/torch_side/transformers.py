"""The transformers for images and for tokens in PyTorch. They use PyTorch's own attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from jaxopt_bench.models import Transformer, ViT
from jaxopt_bench.models.vit import positions


class TransformerBlock(nn.Module):
    """A pre-norm block: attention and two dense layers, each applied to its normalised input."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, causal: bool = False):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        for name in ("query", "key", "value", "out"):
            self.add_module(name, nn.Linear(width, width))
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.dense1 = nn.Linear(width, hidden)
        self.dense2 = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the block's output."""
        y = self.norm1(x)
        parts = (self.get_submodule(name)(y) for name in ("query", "key", "value"))
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        x = x + self.dropout(self.get_submodule("out")(attended.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.dense2(F.gelu(self.dense1(self.norm2(x)))))


class ViTTorch(nn.Module):
    """A vision transformer."""

    def __init__(self, config: ViT, num_classes: int, shape: tuple[int, ...]):
        super().__init__()
        height, width, channels = shape
        self.embed = nn.Conv2d(channels, config.width, config.patch, config.patch)
        places = positions(height // config.patch, width // config.patch, config.width)
        self.register_buffer("places", torch.from_numpy(places).flatten(0, 1), persistent=False)
        self.blocks = [f"block{i}" for i in range(1, config.depth + 1)]
        for name in self.blocks:
            self.add_module(name, TransformerBlock(config.width, config.heads, config.hidden, config.dropout))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        x = self.embed(x).flatten(2).transpose(1, 2) + self.get_buffer("places")
        for name in self.blocks:
            x = self.get_submodule(name)(x)
        return self.head(self.norm(x).mean(1))


class TransformerTorch(nn.Module):
    """A decoder-only transformer. Its hidden layers have four times the width of the network."""

    def __init__(self, config: Transformer, vocabulary: int, shape: tuple[int, ...]):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, config.width)
        self.positions = nn.Parameter(torch.zeros(shape[0], config.width))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = [f"block{i}" for i in range(1, config.depth + 1)]
        for name in self.blocks:
            block = TransformerBlock(config.width, config.heads, 4 * config.width, config.dropout, causal=True)
            self.add_module(name, block)
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Returns the logits of the token after each position."""
        x = self.dropout(self.embed(tokens) + self.positions)
        for name in self.blocks:
            x = self.get_submodule(name)(x)
        return self.head(self.norm(x))
