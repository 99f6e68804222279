"""The measured workloads: networks of the project's own experiments, on images (or sequences) of noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float32, Int32, UInt8

from jaxopt_bench import Experiment, catalog
from jaxopt_bench.data import Augmentation, dataset
from jaxopt_bench.errors import unknown_name
from jaxopt_bench.models import MODELS
from jaxopt_bench.optimizers import OPTIMIZERS, Constant
from jaxopt_bench.problems.classification import Classification, LabelledInputs
from jaxopt_bench.training import CodePath, Task

Dtype = Literal["float32", "bfloat16"]

LEARNING_RATE = 1e-3  # low enough that no network diverges on noise; it does not affect the time of a step
MEAN, STD = 0.5, 0.29  # of uniform noise


@dataclasses.dataclass(frozen=True)
class Workload:
    """One line of the benchmark.

    Attributes:
      network: the name of the network in rows.
      optimizer: the name of the optimizer in rows.
      batch_size: number of images in a step.
      experiment: the experiment that contains this network and optimizer.
    """

    network: str
    optimizer: str
    batch_size: int
    experiment: str

    @property
    def label(self) -> str:
        """A unique name of the line."""
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
"""A small network for tests of the benchmark. It is not in `WORKLOADS`."""
PERCEPTRON = Workload("mlp", "adamw", 100, "mnist1d_mlp_adamw")
"""A network with little work for one core, only for populations. It is not in `WORKLOADS`."""

ALL = (DIGITS, PERCEPTRON, *WORKLOADS)
UPDATES = next(workload for workload in WORKLOADS if workload.network == "resnet18")
"""The network for the measurement of single updates, with 11 million parameters."""

UPDATE_WEIGHT_DECAY = 5e-4  # on both sides; not zero, because PyTorch skips a weight decay of zero


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """A training split of noise."""

    images: UInt8[np.ndarray, "examples height width channels"] | Float32[np.ndarray, "examples length channels"]
    labels: Int32[np.ndarray, " examples"]


def make_task(workload: Workload, dtype: Dtype, examples: int) -> Task:
    """Returns the training task of a workload, with crops and flips of images and a constant learning rate.

    Args:
      workload: the line of the benchmark.
      dtype: the type of the network's computations.
      examples: number of images in the training split.
    """
    found = catalog.find(workload.experiment)
    images = dataset(classification(found).dataset).inputs == "images"
    augmentation = Augmentation(crop_padding=4, flip=True) if images else Augmentation()
    experiment: Experiment = dataclasses.replace(
        found,
        workload=dataclasses.replace(
            found.workload,
            problem=dataclasses.replace(classification(found), augmentation=augmentation, dtype=dtype),
            batch_size=workload.batch_size,
        ),
        optimizer=dataclasses.replace(found.optimizer, learning_rate=LEARNING_RATE),
        schedule=Constant(),
    )
    return task_on_images(experiment, examples)


def task_on_images(experiment: Experiment, examples: int, code_path: CodePath | None = None) -> Task:
    """Returns the task of an experiment with a training split of black images (or zeros).

    Args:
      experiment: the experiment, with a network for images or sequences.
      examples: number of images in the training split.
      code_path: the code path; the plainest one if it is None.
    """
    problem, path = classification(experiment), code_path or CodePath()
    spec = dataset(problem.dataset)
    images = np.broadcast_to(np.zeros((), np.uint8 if spec.inputs == "images" else np.float32), (examples, *spec.shape))
    train = LabelledInputs(images, np.broadcast_to(np.int32(0), (examples,)))
    channels = spec.shape[-1]
    loaded = problem.on_examples(
        train,
        class_names=[str(i) for i in range(spec.num_classes)],
        mean=(MEAN,) * channels,
        std=(STD,) * channels,
        layers=path.layers,
    )
    return Task(experiment, loaded, path)


def classification(experiment: Experiment) -> Classification:
    """Returns the problem of an experiment that trains a network on images."""
    problem = experiment.workload.problem
    assert isinstance(problem, Classification), "the benchmark is of networks for images"
    return problem


def workload_of(experiment: Experiment) -> Workload:
    """Returns the line of the benchmark for an experiment of the catalog."""
    network = MODELS.name_of(classification(experiment).model)
    return Workload(network, OPTIMIZERS.name_of(experiment.optimizer), experiment.workload.batch_size, experiment.name)


def without_dropout(task: Task) -> Task:
    """Returns the task with a network without dropout."""
    problem = classification(task.experiment)
    model: Any = problem.model
    if not hasattr(model, "dropout"):
        return task
    problem = dataclasses.replace(problem, model=dataclasses.replace(model, dropout=0.0))
    return task_on_images(task.experiment.replace(problem=problem), task.train_examples, task.code_path)


def noise(task: Task, seed: int = 0) -> Images:
    """Returns the training split of a task: uniform noise with random labels."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (task.train_examples, *task.problem.facts["shape"]), np.uint8)
    images = images.astype(jax.tree.leaves(task.problem.train)[0].dtype)
    return Images(images, rng.integers(0, task.problem.facts["num_classes"], task.train_examples, np.int32))


def find(workloads: Sequence[Workload], names: Sequence[str]) -> tuple[Workload, ...]:
    """Returns the lines with the given networks or labels.

    Raises:
      UserError: if a name is neither a network nor a label. The message lists similar names.
    """
    known = {name for workload in workloads for name in (workload.network, workload.label)}
    for name in names:
        if name not in known:
            raise unknown_name("workload", name, sorted(known))
    return tuple(workload for workload in workloads if {workload.network, workload.label} & set(names))
