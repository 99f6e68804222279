"""The suite's problems in PyTorch: the storage of examples, and the training loss of a batch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from experiments.speed.torch_side.derivatives import second_derivative
from experiments.speed.torch_side.networks import build
from jaxopt_bench.data import Augmentation
from jaxopt_bench.data.tokens import BOUNDARY, PAD
from jaxopt_bench.problems import (
    Autoencoder,
    Classification,
    Language,
    ModularAddition,
    NoisyQuadratic,
    Poisson,
    ProblemConfig,
    Regression,
    VariationalAutoencoder,
)
from jaxopt_bench.training import Task


class Objective(nn.Module):
    """A problem's training loss.

    Attributes:
      network: the network; its modules have the names of the Flax modules.
    """

    network: nn.Module

    def store(self, train: Any) -> tuple[Tensor, ...]:
        """Returns the training examples for the device. Integers become int64, the type of indices in PyTorch."""
        arrays = [torch.from_numpy(np.array(leaf)) for leaf in jax.tree.leaves(train)]
        return tuple(array if array.is_floating_point() else array.long() for array in arrays)

    def draw(self, count: int, device: torch.device) -> Tensor | None:
        """Returns the random numbers of one step for a batch, except those of dropout; None if there are none."""
        del count, device
        return None

    def forward(self, batch: tuple[Tensor, ...], drawn: Tensor | None) -> Tensor:
        """Returns the loss of a stored batch."""
        raise NotImplementedError


class ClassificationObjective(Objective):
    """Mean cross-entropy. Images are stored as bytes, channels first."""

    def __init__(self, config: Classification, task: Task):
        super().__init__()
        if config.augmentation != Augmentation():
            raise NotImplementedError("augmentation of the suite's images is not written in PyTorch.")
        facts = task.problem.facts
        shape = tuple(facts["shape"])
        self.images, self.smoothing = len(shape) == 3, config.label_smoothing
        self.network = build(config.model, facts["num_classes"], shape)
        over = (1, -1, 1, 1) if self.images else (-1,)
        self.register_buffer("mean", torch.tensor(facts["mean"]).view(over))
        self.register_buffer("std", torch.tensor(facts["std"]).view(over))

    def store(self, train: Any) -> tuple[Tensor, ...]:
        """See `Objective.store`."""
        inputs, labels = (torch.from_numpy(np.array(leaf)) for leaf in jax.tree.leaves(train))
        return inputs.permute(0, 3, 1, 2).contiguous() if self.images else inputs, labels.long()

    def forward(self, batch: tuple[Tensor, ...], drawn: Tensor | None) -> Tensor:
        """See `Objective.forward`."""
        inputs, labels = batch
        inputs = inputs.float() / 255 if self.images else inputs
        logits = self.network((inputs - self.get_buffer("mean")) / self.get_buffer("std"))
        return F.cross_entropy(logits, labels, label_smoothing=self.smoothing)


class RegressionObjective(Objective):
    """Mean squared error of standardised targets."""

    def __init__(self, config: Regression, task: Task):
        super().__init__()
        self.network = build(config.model, 1, task.problem.train.features.shape[1:])

    def forward(self, batch: tuple[Tensor, ...], drawn: Tensor | None) -> Tensor:
        """See `Objective.forward`."""
        features, targets = batch
        return F.mse_loss(self.network(features)[:, 0], targets)


class LanguageObjective(Objective):
    """Mean cross-entropy of all tokens except padding."""

    def __init__(self, config: Language, task: Task):
        super().__init__()
        self.network = build(config.model, task.problem.facts["vocabulary"], (task.problem.facts["length"],))

    def forward(self, batch: tuple[Tensor, ...], drawn: Tensor | None) -> Tensor:
        """See `Objective.forward`."""
        (sequences,) = batch
        given = sequences[:, :-1]
        logits = self.network(torch.where(given == PAD, BOUNDARY, given))
        return F.cross_entropy(logits.flatten(0, 1), sequences[:, 1:].flatten(), ignore_index=PAD)


class ModularAdditionObjective(Objective):
    """Mean cross-entropy of the sums, at the last position."""

    def __init__(self, config: ModularAddition, task: Task):
        super().__init__()
        self.modulus = config.modulus
        self.network = build(config.model, config.modulus + 1, task.problem.train.terms.shape[1:])

    def forward(self, batch: tuple[Tensor, ...], drawn: Tensor | None) -> Tensor:
        """See `Objective.forward`."""
        terms, sums = batch
        return F.cross_entropy(self.network(terms)[:, -1, : self.modulus], sums)


class AutoencoderObjective(Objective):
    """Cross-entropy of the pixels, summed over an image."""

    def __init__(self, config: Autoencoder | VariationalAutoencoder, task: Task):
        super().__init__()
        self.levels, self.divisor, self.code = config.levels, config.divisor, config.code
        pixels = task.problem.train.shape[1:]
        mirrored = dataclasses.replace(config.encoder, widths=config.encoder.widths[::-1])
        self.encoder = build(config.encoder, config.encoded, pixels)
        self.decoder = build(mirrored, pixels[0], (config.code,))
        self.network = nn.ModuleDict({"encoder": self.encoder, "decoder": self.decoder})

    def forward(self, batch: tuple[Tensor, ...], drawn: Tensor | None) -> Tensor:
        """See `Objective.forward`."""
        (pixels,) = batch
        logits = self.decoder(self.encoder(pixels))
        return F.binary_cross_entropy_with_logits(logits, pixels, reduction="sum") / (len(pixels) * self.divisor)


class VariationalAutoencoderObjective(AutoencoderObjective):
    """The negative evidence lower bound, with one draw of the code of each image.

    Source: Kingma and Welling, 2014 (arXiv 1312.6114), appendix B.
    """

    def draw(self, count: int, device: torch.device) -> Tensor:
        """See `Objective.draw`."""
        return torch.randn(count, self.code, device=device)

    def forward(self, batch: tuple[Tensor, ...], drawn: Tensor | None) -> Tensor:
        """See `Objective.forward`."""
        (pixels,) = batch
        assert drawn is not None, "the code is drawn"
        mean, log_variance = self.encoder(pixels).chunk(2, -1)
        logits = self.decoder(mean + (log_variance / 2).exp() * drawn)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
        counts = self.levels * pixels
        ways = math.lgamma(self.levels + 1) - torch.lgamma(counts + 1) - torch.lgamma(self.levels - counts + 1)
        reconstruction = self.levels * F.binary_cross_entropy_with_logits(logits, pixels, reduction="sum")
        return (divergence + reconstruction - ways.sum()) / (len(pixels) * self.divisor)


class PoissonObjective(Objective):
    """The weighted squared residuals of −u″ = f, and the squared errors on the boundary."""

    def __init__(self, config: Poisson, task: Task):
        super().__init__()
        self.weights = config.residual_weight, config.boundary_weight
        self.frequency = config.frequency
        self.network = build(config.model, 1, (1,))

    def forward(self, batch: tuple[Tensor, ...], drawn: Tensor | None) -> Tensor:
        """See `Objective.forward`. The solution in the interior is used only for metrics."""
        interior, _, boundary, boundary_values = batch
        slow, fast = math.pi, self.frequency * math.pi
        force = slow**2 * torch.sin(slow * interior) + 0.5 * fast**2 * torch.sin(fast * interior)
        residuals = -second_derivative(self.network, interior) - force
        errors = self.network(boundary)[:, 0] - boundary_values
        return self.weights[0] * (residuals**2).mean() + self.weights[1] * (errors**2).mean()


class Point(nn.Module):
    """The parameters of a function that is not a network."""

    def __init__(self, dimensions: int):
        super().__init__()
        self.values = nn.Parameter(torch.zeros(dimensions))


class NoisyQuadraticObjective(Objective):
    """½ Σ hᵢ (θᵢ − c)², and noise of its gradient with covariance diag(h) / batch size."""

    def __init__(self, config: NoisyQuadratic, task: Task):
        super().__init__()
        self.batch_size = task.experiment.workload.batch_size
        self.center = config.center
        self.network = Point(config.dimensions)
        self.register_buffer("curvature", 1 / torch.arange(1, config.dimensions + 1))

    def draw(self, count: int, device: torch.device) -> Tensor:
        """See `Objective.draw`."""
        del count
        return torch.randn(len(self.get_buffer("curvature")), device=device)

    def forward(self, batch: tuple[Tensor, ...], drawn: Tensor | None) -> Tensor:
        """See `Objective.forward`."""
        assert drawn is not None, "the gradient is noisy"
        curvature, values = self.get_buffer("curvature"), self.network.get_parameter("values")
        noise = (curvature / self.batch_size).sqrt() * drawn
        return 0.5 * (curvature * (values - self.center) ** 2).sum() + (noise * values).sum()


OBJECTIVES: Mapping[type[ProblemConfig], Callable[[Any, Task], Objective]] = {
    Autoencoder: AutoencoderObjective,
    Classification: ClassificationObjective,
    Language: LanguageObjective,
    ModularAddition: ModularAdditionObjective,
    NoisyQuadratic: NoisyQuadraticObjective,
    Poisson: PoissonObjective,
    Regression: RegressionObjective,
    VariationalAutoencoder: VariationalAutoencoderObjective,
}


def make_objective(task: Task) -> Objective:
    """Returns the training loss of a task in PyTorch, for networks in float32.

    Raises:
      NotImplementedError: if its problem or its network is not implemented in PyTorch.
    """
    problem = task.experiment.workload.problem
    if type(problem) not in OBJECTIVES or getattr(problem, "dtype", "float32") != "float32":
        raise NotImplementedError(f"{task.experiment.workload.name}: {problem} is not written in PyTorch.")
    return OBJECTIVES[type(problem)](problem, task)
