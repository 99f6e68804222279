"""The benchmark's networks as one would write them in PyTorch, and the way between their weights and Flax's.

Modules have the names of the Flax modules, so that a parameter's place is found by its name alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from experiments.speed.inputs.probes import Variables
from experiments.speed.inputs.workloads import classification
from jaxopt_bench.models import CNN, VGG, AlexNet, AlexNetSmall, CifarResNet, Model, ResNet, ViT, WideResNet
from jaxopt_bench.models.vgg import CONVOLUTIONS, WIDTHS
from jaxopt_bench.models.vit import positions
from jaxopt_bench.training import Task

FLAX_NAMES = {
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
    "bias": ("params", "bias"),
}


class AlexNetTorch(nn.Module):
    """AlexNet with the "cifar" stem."""

    def __init__(self, config: AlexNet, num_classes: int):
        super().__init__()
        if config.stem != "cifar" or config.groups or config.local_response_normalization:
            raise NotImplementedError(f"{config} is not written in PyTorch; only the plain network for 32×32 images.")
        self.flattened = {"dense1": (256, 3, 3)}
        self.conv1 = nn.Conv2d(3, 96, 5, padding=2)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1)
        self.dense1 = nn.Linear(256 * 3 * 3, config.dense)
        self.dense2 = nn.Linear(config.dense, config.dense)
        self.head = nn.Linear(config.dense, num_classes)
        self.pool = nn.MaxPool2d(3, 2)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        x = self.pool(F.relu(self.conv1(x), inplace=True))
        x = self.pool(F.relu(self.conv2(x), inplace=True))
        x = F.relu(self.conv3(x), inplace=True)
        x = F.relu(self.conv4(x), inplace=True)
        x = self.pool(F.relu(self.conv5(x), inplace=True)).flatten(1)
        x = self.dropout(F.relu(self.dense1(x), inplace=True))
        x = self.dropout(F.relu(self.dense2(x), inplace=True))
        return self.head(x)


class AlexNetSmallTorch(nn.Module):
    """The small AlexNet; its poolings leave one pixel."""

    def __init__(self, config: AlexNetSmall, num_classes: int):
        super().__init__()
        self.flattened = {"head": (256, 1, 1)}
        self.conv1 = nn.Conv2d(3, 64, 11, stride=4, padding=5)
        self.conv2 = nn.Conv2d(64, 192, 5, padding=2)
        self.conv3 = nn.Conv2d(192, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 256, 3, padding=1)
        self.conv5 = nn.Conv2d(256, 256, 3, padding=1)
        self.head = nn.Linear(256, num_classes)
        self.pool = nn.MaxPool2d(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        x = self.pool(F.relu(self.conv1(x), inplace=True))
        x = self.pool(F.relu(self.conv2(x), inplace=True))
        x = F.relu(self.conv3(x), inplace=True)
        x = F.relu(self.conv4(x), inplace=True)
        x = self.pool(F.relu(self.conv5(x), inplace=True))
        return self.head(x.flatten(1))


class CNNTorch(nn.Module):
    """The small network for the digits."""

    def __init__(self, config: CNN, num_classes: int):
        super().__init__()
        sizes = (1, *config.channels)
        for i, (before, after) in enumerate(itertools.pairwise(sizes), start=1):
            self.add_module(f"conv{i}", nn.Conv2d(before, after, 3, padding=1))
        self.convolutions = [f"conv{i}" for i in range(1, len(sizes))]
        side = 8 // 2 ** len(config.channels)
        self.flattened = {"dense": (sizes[-1], side, side)}
        self.dense = nn.Linear(sizes[-1] * side * side, config.dense)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.dense, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        for name in self.convolutions:
            x = F.max_pool2d(F.relu(self.get_submodule(name)(x), inplace=True), 2)
        return self.head(self.dropout(F.relu(self.dense(x.flatten(1)), inplace=True)))


class Block(nn.Module):
    """A basic residual block; `project` says whether a shortcut that changes shape has weights (option B or A)."""

    def __init__(self, before: int, after: int, stride: int, project: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.stride, self.added = stride, after - before
        self.changes, self.project = stride != 1 or before != after, project
        if self.changes and project:
            self.conv_shortcut = nn.Conv2d(before, after, 1, stride, bias=False)
            self.norm_shortcut = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the block's output."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        return F.relu(y + self._shortcut(x), inplace=True)

    def _shortcut(self, x: Tensor) -> Tensor:
        if not self.changes:
            return x
        if self.project:
            return self.norm_shortcut(self.conv_shortcut(x))
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))


class ResNetTorch(nn.Module):
    """A residual network of basic blocks with a 3×3 stem."""

    def __init__(self, widths: tuple[int, ...], blocks: tuple[int, ...], project: bool, num_classes: int):
        super().__init__()
        self.flattened: dict[str, tuple[int, int, int]] = {}
        self.conv_stem = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.norm_stem = nn.BatchNorm2d(widths[0])
        self.blocks = []
        before = widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
            for block in range(1, count + 1):
                stride = 2 if stage > 1 and block == 1 else 1
                self.blocks.append(f"stage{stage}_block{block}")
                self.add_module(self.blocks[-1], Block(before, width, stride, project))
                before = width
        self.head = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        x = F.relu(self.norm_stem(self.conv_stem(x)), inplace=True)
        for name in self.blocks:
            x = self.get_submodule(name)(x)
        return self.head(x.mean((2, 3)))


class VGGTorch(nn.Module):
    """VGG with batch normalisation; its poolings leave one pixel."""

    def __init__(self, config: VGG, num_classes: int):
        super().__init__()
        self.flattened = {"head": (WIDTHS[-1], 1, 1)}
        self.stages: list[list[str]] = []
        before = 3
        for stage, (width, count) in enumerate(zip(WIDTHS, CONVOLUTIONS[config.depth], strict=True), start=1):
            self.stages.append([f"{stage}_{i}" for i in range(1, count + 1)])
            for name in self.stages[-1]:
                self.add_module(f"conv{name}", nn.Conv2d(before, width, 3, padding=1, bias=False))
                self.add_module(f"norm{name}", nn.BatchNorm2d(width))
                before = width
        self.head = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        for names in self.stages:
            for name in names:
                x = F.relu(self.get_submodule(f"norm{name}")(self.get_submodule(f"conv{name}")(x)), inplace=True)
            x = F.max_pool2d(x, 2)
        return self.head(x.flatten(1))


class PreActivationBlock(nn.Module):
    """A residual block that normalises before each convolution."""

    def __init__(self, before: int, after: int, stride: int, dropout: float):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.changes = stride != 1 or before != after
        if self.changes:
            self.conv_shortcut = nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the block's output."""
        active = F.relu(self.norm1(x), inplace=True)
        y = self.dropout(F.relu(self.norm2(self.conv1(active)), inplace=True))
        return self.conv2(y) + (self.conv_shortcut(active) if self.changes else x)


class WideResNetTorch(nn.Module):
    """A wide residual network."""

    def __init__(self, config: WideResNet, num_classes: int):
        super().__init__()
        self.flattened: dict[str, tuple[int, int, int]] = {}
        self.conv_stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.blocks = []
        before = 16
        for stage, width in enumerate((16, 32, 64), start=1):
            for block in range(1, (config.depth - 4) // 6 + 1):
                after, stride = width * config.width, 2 if stage > 1 and block == 1 else 1
                self.blocks.append(f"stage{stage}_block{block}")
                self.add_module(self.blocks[-1], PreActivationBlock(before, after, stride, config.dropout))
                before = after
        self.norm = nn.BatchNorm2d(before)
        self.head = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        x = self.conv_stem(x)
        for name in self.blocks:
            x = self.get_submodule(name)(x)
        return self.head(F.relu(self.norm(x), inplace=True).mean((2, 3)))


class TransformerBlock(nn.Module):
    """Attention and two dense layers, each of its normalised input."""

    def __init__(self, config: ViT):
        super().__init__()
        self.heads = config.heads
        self.norm1 = nn.LayerNorm(config.width, eps=1e-6)
        for name in ("query", "key", "value", "out"):
            self.add_module(name, nn.Linear(config.width, config.width))
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6)
        self.dense1 = nn.Linear(config.width, config.hidden)
        self.dense2 = nn.Linear(config.hidden, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the block's output."""
        y = self.norm1(x)
        parts = (self.get_submodule(name)(y) for name in ("query", "key", "value"))
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.get_submodule("out")(attended))
        return x + self.dropout(self.dense2(F.gelu(self.dense1(self.norm2(x)))))


class ViTTorch(nn.Module):
    """A vision transformer for images of 32×32 pixels."""

    def __init__(self, config: ViT, num_classes: int):
        super().__init__()
        self.flattened: dict[str, tuple[int, int, int]] = {}
        side = 32 // config.patch
        self.embed = nn.Conv2d(3, config.width, config.patch, config.patch)
        places = torch.from_numpy(positions(side, side, config.width)).flatten(0, 1)
        self.register_buffer("places", places, persistent=False)
        self.blocks = [f"block{i}" for i in range(1, config.depth + 1)]
        for name in self.blocks:
            self.add_module(name, TransformerBlock(config))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        x = self.embed(x).flatten(2).transpose(1, 2) + self.get_buffer("places")
        for name in self.blocks:
            x = self.get_submodule(name)(x)
        return self.head(self.norm(x).mean(1))


def of_task(task: Task) -> nn.Module:
    """Returns the PyTorch network of a task; see `build`."""
    return build(classification(task.experiment).model, task.problem.facts["num_classes"])


def build(model: Model, num_classes: int) -> nn.Module:
    """Returns the PyTorch network that a configuration describes.

    Raises:
      NotImplementedError: where it is not written in PyTorch.
    """
    if isinstance(model, AlexNet):
        return AlexNetTorch(model, num_classes)
    if isinstance(model, AlexNetSmall):
        return AlexNetSmallTorch(model, num_classes)
    if isinstance(model, CNN):
        return CNNTorch(model, num_classes)
    if isinstance(model, CifarResNet):
        return ResNetTorch((16, 32, 64), ((model.depth - 2) // 6,) * 3, False, num_classes)
    if isinstance(model, ResNet) and model.depth in (18, 34):
        blocks = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}[model.depth]
        return ResNetTorch((64, 128, 256, 512), blocks, True, num_classes)
    if isinstance(model, VGG):
        return VGGTorch(model, num_classes)
    if isinstance(model, WideResNet):
        return WideResNetTorch(model, num_classes)
    if isinstance(model, ViT):
        return ViTTorch(model, num_classes)
    raise NotImplementedError(f"{model} is not written in PyTorch.")


def load(network: nn.Module, variables: Variables) -> None:
    """Puts Flax's variables in the place of the network's own; every one must have a place.

    Raises:
      RuntimeError: where names or shapes differ.
    """
    state = network.state_dict()
    arrays = {name: _to_torch(network, name, variables) for name in state if not name.endswith("num_batches_tracked")}
    network.load_state_dict({**state, **arrays})
    if len(arrays) != len(variables):
        raise RuntimeError(f"Flax has {len(variables)} variables, the PyTorch network {len(arrays)}.")


def to_flax(network: nn.Module, name: str, tensor: Tensor) -> tuple[str, np.ndarray]:
    """Returns a parameter's (or its gradient's) name and value as Flax has them, the collection's name left out."""
    value = tensor.detach().float().cpu().numpy()
    module = name.rpartition(".")[0]
    if value.ndim == 4:
        value = value.transpose(2, 3, 1, 0)
    elif value.ndim == 2:
        if module in _flattened(network):
            channels, height, width = _flattened(network)[module]
            images = value.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
            value = images.reshape(len(value), -1)
        value = value.T
    return _flax_name(name, value.ndim).partition("/")[2], np.ascontiguousarray(value)


def _to_torch(network: nn.Module, name: str, variables: Variables) -> Tensor:
    """Returns the variable that belongs in the place `name`, HWIO as OIHW, rows of pixels as rows of channels."""
    value = variables[_flax_name(name, network.get_parameter(name).ndim if name.endswith("weight") else 1)]
    module = name.rpartition(".")[0]
    if value.ndim == 4:
        value = value.transpose(3, 2, 0, 1)
    elif value.ndim == 2:
        value = value.T
        if module in _flattened(network):
            channels, height, width = _flattened(network)[module]
            images = value.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
            value = images.reshape(len(value), -1)
    return torch.from_numpy(np.array(value, np.float32, order="C"))


def _flax_name(name: str, dimensions: int) -> str:
    module, _, leaf = name.rpartition(".")
    collection, last = FLAX_NAMES.get(leaf) or ("params", "kernel" if dimensions > 1 else "scale")
    return "/".join((collection, *module.split("."), last))


def _flattened(network: nn.Module) -> Mapping[str, tuple[int, int, int]]:
    """Returns the shapes (channels, height, width) that were flattened before a dense layer, by its name."""
    return network.flattened
