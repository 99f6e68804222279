"""The flags of `make bench`. This module does not import JAX, because the process may have to be restarted first."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Literal

Section = Literal["networks", "updates", "populations", "epoch", "startup", "resume", "suite"]
SECTIONS: tuple[Section, ...] = ("networks", "updates", "populations", "epoch", "startup", "resume", "suite")


@dataclasses.dataclass(frozen=True)
class Flags:
    """Compare the training speed of the project with PyTorch."""

    only: tuple[Section, ...] = SECTIONS
    """The sections to measure; all by default."""
    workloads: tuple[str, ...] = ()
    """Networks (resnet20) or lines (alexnet-adamw-4) of the networks' section; all by default."""
    dtypes: tuple[Literal["float32", "bfloat16"], ...] = ()
    """The types of the networks' computations; by default float32, on GPUs also bfloat16."""
    layers: tuple[Literal["plain", "native", "pure", "onednn"], ...] = ("plain", "native", "pure", "onednn")
    """The implementations of our layers to measure, each with a suitable loop."""
    pythons: tuple[pathlib.Path, ...] = ()
    """Interpreters of environments with other versions of JAX. The networks' section is also measured with each."""
    variants: tuple[str, ...] = ()
    """The variants of PyTorch to measure; by default all that fit the hardware."""
    rounds: int = 11
    """Number of measured blocks of each contender."""
    block_seconds: float = 1.0
    """The duration of a block. A block has at least one step."""
    members: tuple[int, ...] = (1, 4, 16, 64)
    """Sizes of the populations."""
    populations: tuple[str, ...] = ()
    """Lines of the populations' section; by default the digits' network, the MLP and alexnet_small, on GPUs
    ResNet-20."""
    optimizers: tuple[str, ...] = ()
    """The optimizers for the measurement of updates; all by default."""
    epochs: int = 4
    """Number of epochs in each of the two complete runs; at least 3, because the first, which compiles, does not
    count."""
    epoch_experiments: tuple[str, ...] = ()
    """The experiments for complete runs; by default the digits' network and alexnet_small, on GPUs also ResNet-20."""
    startup_experiment: str = "cifar10_resnet20_sgd"
    """The experiment for the measurement of the start."""
    repeats: int = 3
    """Number of measured starts, each with a cold and with a warm cache, and number of resumptions of a population."""
    resumed_members: tuple[int, ...] = (100, 800, 10_000)
    """Sizes of the populations that are resumed."""
    suite_workloads: tuple[str, ...] = ()
    """Workloads of the suite; all by default."""
    data_dir: pathlib.Path | None = None
    """TFDS data directory; by default a temporary one, with CIFAR from $JAXOPT_BENCH_CIFAR_DIR, else noise."""
    out: pathlib.Path | None = None
    """The JSON document; by default experiments/speed/results/<hardware>.json."""
    quick: bool = False
    """Only check that the benchmark runs, with as few steps as possible. The results are marked as quick."""
