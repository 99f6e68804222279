"""The networks of the benchmark in PyTorch. This module contains the networks for images except the transformer.

Modules have the names of the Flax modules; see `weights`.
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from experiments.speed.inputs.workloads import classification
from experiments.speed.torch_side.convolution1d import CNN1DTorch
from experiments.speed.torch_side.perceptron import MLPTorch
from experiments.speed.torch_side.recurrent import GRUTorch
from experiments.speed.torch_side.transformers import TransformerTorch, ViTTorch
from jaxopt_bench.models import (
    CNN,
    CNN1D,
    GRU,
    MLP,
    VGG,
    AlexNet,
    AlexNetSmall,
    CifarResNet,
    Model,
    ResNet,
    Transformer,
    ViT,
    WideResNet,
)
from jaxopt_bench.models.vgg import CONVOLUTIONS, WIDTHS
from jaxopt_bench.training import Task


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
    """The small AlexNet. Its poolings reduce the image to one pixel."""

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

    def __init__(self, config: CNN, num_classes: int, shape: tuple[int, ...]):
        super().__init__()
        height, width, channels = shape
        sizes = (channels, *config.channels)
        for i, (before, after) in enumerate(itertools.pairwise(sizes), start=1):
            self.add_module(f"conv{i}", nn.Conv2d(before, after, 3, padding=1))
        self.convolutions = [f"conv{i}" for i in range(1, len(sizes))]
        sides = height // 2 ** len(config.channels), width // 2 ** len(config.channels)
        self.flattened = {"dense": (sizes[-1], *sides)}
        self.dense = nn.Linear(sizes[-1] * sides[0] * sides[1], config.dense)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.dense, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        for name in self.convolutions:
            x = F.max_pool2d(F.relu(self.get_submodule(name)(x), inplace=True), 2)
        return self.head(self.dropout(F.relu(self.dense(x.flatten(1)), inplace=True)))


class Block(nn.Module):
    """A basic residual block. `project` sets whether a shortcut that changes the shape has weights (option B or A)."""

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

    def __init__(
        self, widths: tuple[int, ...], blocks: tuple[int, ...], project: bool, num_classes: int, channels: int
    ):
        super().__init__()
        self.conv_stem = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
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
    """VGG with batch normalisation. Its poolings reduce the image to one pixel."""

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

    def __init__(self, config: WideResNet, num_classes: int, channels: int):
        super().__init__()
        self.conv_stem = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
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


def of_task(task: Task) -> nn.Module:
    """Returns the PyTorch network of a task; see `build`."""
    facts = task.problem.facts
    return build(classification(task.experiment).model, facts["num_classes"], facts["shape"])


def build(model: Model, num_outputs: int, shape: tuple[int, ...]) -> nn.Module:
    """Returns the PyTorch network that a configuration describes.

    Args:
      model: the configuration.
      num_outputs: see `Model.module`.
      shape: the shape of one example for the Flax network. For the PyTorch network, images are
        [batch, channels, height, width]. Other inputs have the same layout in both.

    Raises:
      NotImplementedError: if the network is not implemented in PyTorch.
    """
    match model:
        case CNN():
            return CNNTorch(model, num_outputs, shape)
        case MLP():
            return MLPTorch(model, num_outputs, shape)
        case CNN1D():
            return CNN1DTorch(model, num_outputs, shape)
        case GRU():
            return GRUTorch(model, num_outputs, shape)
        case Transformer():
            return TransformerTorch(model, num_outputs, shape)
        case ViT():
            return ViTTorch(model, num_outputs, shape)
        case CifarResNet():
            return ResNetTorch((16, 32, 64), ((model.depth - 2) // 6,) * 3, False, num_outputs, shape[-1])
        case ResNet() if model.depth in (18, 34):
            blocks = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}[model.depth]
            return ResNetTorch((64, 128, 256, 512), blocks, True, num_outputs, shape[-1])
        case WideResNet():
            return WideResNetTorch(model, num_outputs, shape[-1])
    if shape == (32, 32, 3):
        match model:
            case AlexNet():
                return AlexNetTorch(model, num_outputs)
            case AlexNetSmall():
                return AlexNetSmallTorch(model, num_outputs)
            case VGG():
                return VGGTorch(model, num_outputs)
    raise NotImplementedError(f"{model} is not written in PyTorch for examples of shape {shape}.")
