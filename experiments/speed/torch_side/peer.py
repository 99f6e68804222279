"""PyTorch as the benchmark asks it: which variants there are, what a network computes, and trainers to time."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from experiments.speed.inputs.probes import Answer, Probe
from experiments.speed.inputs.suite import FirstSteps
from experiments.speed.inputs.workloads import Dtype, Images, classification, without_dropout
from experiments.speed.torch_side import networks, suite, updates, weights
from experiments.speed.torch_side.loader import LoaderTrainer
from experiments.speed.torch_side.training import VARIANTS, Trainer, allow_tf32, cross_entropy
from jaxopt_bench.training import Task

LOADER = "dataloader"
"""The variant of `LoaderTrainer`; the others keep the images on the device."""


class TorchPeer:
    """PyTorch, as the benchmark asks it: the variants it has, what it computes, and trainers to time."""

    name = "torch"

    def __init__(self, backend: str, variants: tuple[str, ...] | None = None):
        """Args: the JAX backend beside which it runs; the variants to try, by default all that fit it."""
        self.device = torch.device("cuda" if backend == "gpu" else "cpu")
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("JAX sees a GPU and PyTorch none: install a PyTorch that is built for it.")
        fitting = [name for name, variant in VARIANTS.items() if backend == "gpu" or not variant.gpu_only]
        self.variants = tuple(fitting if variants is None else variants)
        loader = backend == "gpu" and variants is None
        self.extras: Mapping[str, tuple[str, ...]] = {"cifar10_resnet20_sgd": (LOADER,)} if loader else {}
        torch.backends.cudnn.benchmark = True

    @property
    def version(self) -> str:
        """PyTorch's version."""
        return torch.__version__

    def answer(self, task: Task, probe: Probe, exactly: bool = False) -> Answer:
        """Returns what the network computes from the probe's weights, dropout off, as exactly as the device can.

        With `exactly` that is in float64, whatever the task's type.
        """
        parameters = torch.float64 if exactly else torch.float32
        dtype: Dtype = "float32" if exactly else classification(task.experiment).dtype
        allow_tf32(False)
        network = networks.of_task(without_dropout(task))
        weights.load(network, probe.variables)
        network.to(self.device, parameters)
        images = torch.from_numpy(probe.images).permute(0, 3, 1, 2).to(self.device, parameters)
        labels = torch.from_numpy(probe.labels).long().to(self.device)
        with torch.no_grad():
            evaluation = cross_entropy(network.eval(), images, labels, dtype)
        training = cross_entropy(network.train(), images, labels, dtype)
        training.backward()
        gradients = dict(weights.to_flax(network, n, p.grad) for n, p in network.named_parameters())
        return Answer(evaluation.item(), training.item(), gradients)

    @property
    def suite_variants(self) -> tuple[str, ...]:
        """The variants in which it trains the suite's workloads."""
        return tuple(variant for variant in suite.SUITE_VARIANTS if variant in self.variants)

    def first_losses(self, task: Task, first: FirstSteps) -> list[float]:
        """Returns the losses of a task's first steps; see `suite.first_losses`."""
        allow_tf32(False)
        return suite.first_losses(task, first, self.device)

    def suite_trainer(self, task: Task, variant: str) -> suite.SuiteTrainer:
        """Returns a workload of the suite in training."""
        allow_tf32(True)
        return suite.SuiteTrainer(task, variant, self.device)

    def update_form(self, optimizer: str) -> str | None:
        """Returns in which form it has an optimizer of ours, by our name; None where it has none."""
        return updates.form(optimizer)

    def trainer(self, task: Task, images: Images, variant: str) -> Trainer:
        """Returns the network in training."""
        if variant == LOADER:
            return LoaderTrainer(task, images, self.device)
        return Trainer(task, images, VARIANTS[variant], self.device)

    def updater(self, task: Task, optimizer: str) -> updates.Updater:
        """Returns the network's parameters under an optimizer of ours, by our name."""
        return updates.Updater(task, optimizer, self.device)

    def peak_bytes(self) -> int | None:
        """Returns the most device memory that tensors took so far; None where the device is the host."""
        return torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None
