"""The interface of the benchmark to PyTorch: its variants, the answers of networks, and trainers to time."""

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
"""The variant of `LoaderTrainer`. The other variants keep the images on the device."""


class TorchPeer:
    """The interface to PyTorch: its variants, the answers of networks, and trainers to time."""

    name = "torch"

    def __init__(self, backend: str, variants: tuple[str, ...] | None = None):
        """Args: the JAX backend to which it is compared; the variants to try, by default all that fit this backend."""
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
        """The version of PyTorch."""
        return torch.__version__

    def answer(self, task: Task, probe: Probe, exactly: bool = False) -> Answer:
        """Returns the answer of the network with the probe's weights, without dropout, in the device's best precision.

        With `exactly` the computation is in float64, independent of the type of the task.
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
        """The variants for the training of the suite's workloads."""
        return tuple(variant for variant in suite.SUITE_VARIANTS if variant in self.variants)

    def first_losses(self, task: Task, first: FirstSteps) -> list[float]:
        """Returns the losses of the first steps of a task; see `suite.first_losses`."""
        allow_tf32(False)
        return suite.first_losses(task, first, self.device)

    def suite_trainer(self, task: Task, variant: str) -> suite.SuiteTrainer:
        """Returns a workload of the suite in training."""
        allow_tf32(True)
        return suite.SuiteTrainer(task, variant, self.device)

    def update_form(self, optimizer: str) -> str | None:
        """Returns the form of its version of our optimizer, given our name; None if it has no such optimizer."""
        return updates.form(optimizer)

    def trainer(self, task: Task, images: Images, variant: str) -> Trainer:
        """Returns the network in training."""
        if variant == LOADER:
            return LoaderTrainer(task, images, self.device)
        return Trainer(task, images, VARIANTS[variant], self.device)

    def updater(self, task: Task, optimizer: str) -> updates.Updater:
        """Returns an updater of the network's parameters with PyTorch's version of our optimizer, given our name."""
        return updates.Updater(task, optimizer, self.device)

    def peak_bytes(self) -> int | None:
        """Returns the peak device memory of tensors so far; None if the device is the host."""
        return torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None
