"""Fast training in PyTorch: images on the device, vectorised operations, fused optimizers.

A step does the same as the JAX step: it selects its batch from the order of the epoch, crops, flips and normalises it,
makes the forward and the backward pass, updates the parameters, and adds its loss to a sum on the device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from experiments.speed.inputs.workloads import Dtype, Images, classification
from experiments.speed.torch_side.networks import of_task
from jaxopt_bench.optimizers import SGD, AdamW, Optimizer
from jaxopt_bench.training import Task

PADDING = 4


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to run a network in PyTorch.

    Attributes:
      channels_last: whether images and weights have the memory layout NHWC.
      compiler: the mode of `torch.compile`; None means eager mode.
      gpu_only: whether the variant is useful only on GPUs.
    """

    channels_last: bool = False
    compiler: str | None = None
    gpu_only: bool = False


VARIANTS: Mapping[str, Variant] = {
    "eager": Variant(),
    "channels_last": Variant(channels_last=True),
    "compile": Variant(compiler="default"),
    "compile_channels_last": Variant(channels_last=True, compiler="default"),
    "compile_cuda_graphs": Variant(channels_last=True, compiler="reduce-overhead", gpu_only=True),
}


class Trainer:
    """A network in training."""

    def __init__(self, task: Task, images: Images, variant: Variant, device: torch.device):
        self.task, self.variant, self.device = task, variant, device
        self.network = of_task(task).to(device).train()
        if variant.channels_last:
            self.network.to(memory_format=torch.channels_last)
        self.forward = self._compiled()
        self.optimizer = make_optimizer(task.experiment.optimizer, self.network)
        self.images = torch.from_numpy(images.images).permute(0, 3, 1, 2).contiguous().to(device)
        self.labels = torch.from_numpy(images.labels).long().to(device)
        shape = (1, task.problem.facts["shape"][-1], 1, 1)
        self.mean, self.std = (
            torch.tensor(v, device=device).view(shape) for v in (task.problem.facts["mean"], task.problem.facts["std"])
        )
        self.loss = torch.zeros((), device=device)
        self.order, self.next = self._shuffled(), 0

    def run(self, steps: int) -> None:
        """Makes the given number of steps, and returns when the device has finished them."""
        allow_tf32(True)
        for _ in range(steps):
            self._step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _step(self) -> None:
        if self.variant.gpu_only:
            torch.compiler.cudagraph_mark_step_begin()  # the results of the last step may be overwritten
        images, labels = self._batch()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.forward(images, labels)
        loss.backward()
        self.optimizer.step()
        self.loss += loss.detach()

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Returns the next images of the epoch, augmented, and their labels."""
        if self.next == self.task.steps_per_epoch:
            self.order, self.next = self._shuffled(), 0
        size = self.task.experiment.workload.batch_size
        indices = self.order[self.next * size : (self.next + 1) * size]
        self.next += 1
        return self._augmented(indices), self.labels[indices]

    def _compiled(self) -> Callable[[Tensor, Tensor], Tensor]:
        def forward(images: Tensor, labels: Tensor) -> Tensor:
            return cross_entropy(self.network, images, labels, classification(self.task.experiment).dtype)

        if self.variant.compiler is None:
            return forward
        return torch.compile(forward, mode=self.variant.compiler, dynamic=False)

    def _shuffled(self) -> Tensor:
        return torch.randperm(self.task.train_examples, device=self.device)

    def _augmented(self, indices: Tensor) -> Tensor:
        """Returns a batch cropped, flipped and normalised."""
        batch = F.pad(self.images[indices], (PADDING,) * 4)
        count, (height, width) = len(indices), self.task.problem.facts["shape"][:2]
        windows = batch.unfold(2, height, 1).unfold(3, width, 1)
        top, left = torch.randint(0, 2 * PADDING + 1, (2, count), device=self.device)
        cropped = windows[torch.arange(count, device=self.device), :, top, left]
        flip = torch.rand(count, 1, 1, 1, device=self.device) < 0.5
        pixels = torch.where(flip, cropped.flip(3), cropped).float().div_(255).sub_(self.mean).div_(self.std)
        return pixels.contiguous(memory_format=torch.channels_last) if self.variant.channels_last else pixels


def make_optimizer(optimizer: Optimizer, network: torch.nn.Module) -> torch.optim.Optimizer:
    """Returns PyTorch's own optimizer with a configuration's hyperparameters, in its fused form.

    Raises:
      NotImplementedError: if the optimizer is not SGD or AdamW.
    """
    shared = {"lr": optimizer.learning_rate, "fused": True}
    decays: dict[bool, list[torch.nn.Parameter]] = {True: [], False: []}
    for parameter in network.parameters():
        decays[optimizer.decay_mask == "all" or parameter.ndim >= 2].append(parameter)
    decay = {True: optimizer.weight_decay, False: 0.0}
    groups = [{"params": found, "weight_decay": decay[which]} for which, found in decays.items() if found]
    if isinstance(optimizer, SGD):
        momentum = optimizer.momentum or 0.0
        return torch.optim.SGD(groups, momentum=momentum, nesterov=optimizer.nesterov, **shared)
    if isinstance(optimizer, AdamW):
        betas = (optimizer.b1, optimizer.b2)
        return torch.optim.AdamW(groups, betas=betas, eps=optimizer.eps, **shared)
    raise NotImplementedError(f"{optimizer} is not written in PyTorch.")


def cross_entropy(network: torch.nn.Module, images: Tensor, labels: Tensor, dtype: Dtype) -> Tensor:
    """Returns the mean cross-entropy of a batch. bfloat16 means mixed precision."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
        logits = network(images)
    return F.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), labels)


def allow_tf32(allowed: bool) -> None:
    """Sets whether float32 products on a GPU may use TensorFloat-32, which is the default of JAX."""
    for settings in (torch.backends.cuda.matmul, torch.backends.cudnn):
        settings.allow_tf32 = allowed
