"""What `make bench` can be asked for. Nothing here imports JAX: the process may have to start anew first."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Literal

Section = Literal["networks", "updates", "populations", "epoch", "startup", "resume", "suite"]
SECTIONS: tuple[Section, ...] = ("networks", "updates", "populations", "epoch", "startup", "resume", "suite")


@dataclasses.dataclass(frozen=True)
class Flags:
    """Measure how fast the project trains, beside PyTorch."""

    only: tuple[Section, ...] = SECTIONS
    """Which sections; all by default."""
    workloads: tuple[str, ...] = ()
    """Networks (resnet20) or lines (alexnet-adamw-4) of the networks' section; all by default."""
    dtypes: tuple[Literal["float32", "bfloat16"], ...] = ()
    """What networks compute in; by default float32, on GPUs bfloat16 as well."""
    layers: tuple[Literal["plain", "native", "pure", "onednn"], ...] = ("plain", "native", "pure", "onednn")
    """The implementations of our layers to measure, each with the loop that suits it."""
    pythons: tuple[pathlib.Path, ...] = ()
    """Interpreters of environments with other versions of JAX. With each, the networks' section is measured too."""
    variants: tuple[str, ...] = ()
    """Which variants of PyTorch take part; by default all that fit the hardware."""
    rounds: int = 11
    """Blocks of each contender that count."""
    block_seconds: float = 1.0
    """How long a block lasts; it has one step at least."""
    members: tuple[int, ...] = (1, 4, 16, 64)
    """Sizes of the populations."""
    populations: tuple[str, ...] = ()
    """Lines of the populations' section; by default the digits' network, the MLP and alexnet_small, on GPUs
    ResNet-20."""
    optimizers: tuple[str, ...] = ()
    """Optimizers whose updates are timed; all by default."""
    epochs: int = 4
    """Epochs of a whole run, of which there are two; at least 3: the first, which compiles, does not count."""
    epoch_experiments: tuple[str, ...] = ()
    """Experiments to run whole; by default the digits' network and alexnet_small, on GPUs ResNet-20 as well."""
    startup_experiment: str = "cifar10_resnet20_sgd"
    """The experiment whose start is timed."""
    repeats: int = 3
    """How often a start is timed, with a cold and with a warm cache, and how often a population is resumed."""
    resumed_members: tuple[int, ...] = (100, 800, 10_000)
    """Sizes of the populations that are resumed."""
    suite_workloads: tuple[str, ...] = ()
    """Workloads of the suite; all by default."""
    data_dir: pathlib.Path | None = None
    """TFDS data directory; by default a temporary one, with CIFAR from $JAXOPT_BENCH_CIFAR_DIR, else noise."""
    out: pathlib.Path | None = None
    """The JSON document; by default experiments/speed/results/<hardware>.json."""
    quick: bool = False
    """Only see whether it runs: as few steps as can be, and marked so."""
