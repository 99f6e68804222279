"""What is measured: networks of the project's own experiments, on images that are only noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Int32, UInt8

from jaxopt_bench import Experiment, catalog
from jaxopt_bench.data import Augmentation, dataset
from jaxopt_bench.errors import unknown_name
from jaxopt_bench.optimizers import Constant
from jaxopt_bench.training import Task

Dtype = Literal["float32", "bfloat16"]

LEARNING_RATE = 1e-3  # low enough that no network diverges on noise; a step costs the same at any
MEAN, STD = 0.5, 0.29  # of uniform noise


@dataclasses.dataclass(frozen=True)
class Workload:
    """One line of the benchmark.

    Attributes:
      network: what rows call the network.
      optimizer: what rows call the optimizer.
      batch_size: images a step.
      experiment: the experiment whose network and optimizer these are.
    """

    network: str
    optimizer: str
    batch_size: int
    experiment: str

    @property
    def label(self) -> str:
        """A name that no other line has."""
        return f"{self.network}-{self.optimizer}-{self.batch_size}"


WORKLOADS = (
    Workload("alexnet_small", "sgd", 128, "cifar100_alexnet_small_sgd"),
    Workload("alexnet_small", "adamw", 128, "cifar100_alexnet_small_adamw"),
    Workload("alexnet", "sgd", 128, "cifar100_alexnet_sgd_modern"),
    Workload("alexnet", "adamw", 128, "cifar100_alexnet_adamw_modern"),
    Workload("alexnet", "sgd", 4, "cifar100_alexnet_sgd"),
    Workload("alexnet", "adamw", 4, "cifar100_alexnet_adamw"),
    Workload("resnet20", "sgd", 128, "cifar10_resnet20_sgd"),
    Workload("resnet18", "sgd", 128, "cifar10_resnet18_sgd"),
    Workload("vgg16", "sgd", 128, "cifar10_vgg16_sgd"),
    Workload("wrn16_4", "sgd", 128, "cifar10_wrn16_4_sgd"),
    Workload("wrn28_10", "sgd", 128, "cifar10_wrn28_10_sgd"),
    Workload("vit_tiny", "adamw", 128, "cifar10_vit_tiny_adamw"),
)

DIGITS = Workload("cnn", "adamw", 32, "digits_cnn_adamw")
"""No line of its own: it is small enough to try things with."""

ALL = (DIGITS, *WORKLOADS)
UPDATES = next(workload for workload in WORKLOADS if workload.network == "resnet18")
"""The network whose 11 million parameters single updates are timed with."""

UPDATE_WEIGHT_DECAY = 5e-4  # on both sides, which PyTorch leaves out where it is nothing


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """A training split of noise."""

    images: UInt8[np.ndarray, "examples height width channels"]
    labels: Int32[np.ndarray, " examples"]


def make_task(workload: Workload, dtype: Dtype, examples: int) -> Task:
    """Returns the workload as training takes it: crops and flips, a constant learning rate.

    Args:
      workload: the line of the benchmark.
      dtype: what the network computes in.
      examples: images of the training split.
    """
    found = catalog.find(workload.experiment)
    experiment: Experiment = dataclasses.replace(
        found,
        optimizer=dataclasses.replace(found.optimizer, learning_rate=LEARNING_RATE),
        schedule=Constant(),
        augmentation=Augmentation(crop_padding=4, flip=True),
        batch_size=workload.batch_size,
        dtype=dtype,
    )
    spec = dataset(experiment.dataset)
    channels = spec.image_shape[-1]
    return Task(
        experiment=experiment,
        image_shape=spec.image_shape,
        num_classes=spec.num_classes,
        train_examples=examples,
        mean=(MEAN,) * channels,
        std=(STD,) * channels,
    )


def without_dropout(task: Task) -> Task:
    """Returns the task with a network that drops nothing."""
    model: Any = task.experiment.model
    if not hasattr(model, "dropout"):
        return task
    experiment = dataclasses.replace(task.experiment, model=dataclasses.replace(model, dropout=0.0))
    return dataclasses.replace(task, experiment=experiment)


def noise(task: Task, seed: int = 0) -> Images:
    """Returns a task's training split: uniform noise with random labels."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (task.train_examples, *task.image_shape), np.uint8)
    return Images(images, rng.integers(0, task.num_classes, task.train_examples, np.int32))


def find(workloads: Sequence[Workload], names: Sequence[str]) -> tuple[Workload, ...]:
    """Returns the lines of these networks or labels.

    Raises:
      UserError: for a name that is neither, with the nearest.
    """
    known = {name for workload in workloads for name in (workload.network, workload.label)}
    for name in names:
        if name not in known:
            raise unknown_name("workload", name, sorted(known))
    return tuple(workload for workload in workloads if {workload.network, workload.label} & set(names))
