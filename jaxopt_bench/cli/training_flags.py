"""The flags that commands share which train: where data and runs are, on which devices, and what is recorded."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Annotated

import tyro

from jaxopt_bench.cli.processes import Processes
from jaxopt_bench.runs import Options, Recording
from jaxopt_bench.training import choose_code_path

MostRuns = Annotated[
    int | None,
    tyro.conf.arg(
        help="At most so many runs at once; else as many as fit into memory. Those begun in larger numbers are divided."
    ),
]
"""The type of the flag `--largest`, of commands that train several runs as one program."""


@dataclasses.dataclass(frozen=True)
class TrainingFlags:
    """The flags of every command that trains."""

    data_dir: pathlib.Path | None = None
    """Folder of TFDS data sets; else $TFDS_DATA_DIR, else TFDS's own default."""
    devices: int = 1
    """How many devices share the work: the runs of a population, or each batch of a run."""
    processes: Annotated[Processes, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Processes)


@dataclasses.dataclass(frozen=True)
class ExperimentFlags(TrainingFlags):
    """The flags of every command that trains an experiment."""

    recording: Annotated[Recording, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Recording)
    runs_dir: pathlib.Path = pathlib.Path("runs")
    """Folder of run directories."""
    fresh: bool = False
    """Begin new runs beside those there are."""
    deterministic: bool = False
    """Give up what makes repetitions differ on a GPU (autotuning, scatters), at a price in speed."""

    def options(self, runs_dir: pathlib.Path, largest: int | None = None) -> Options:
        """Returns the options with which runs are trained.

        Args:
          runs_dir: the folder in which this process reads and writes runs; see `one_writes`.
          largest: how many runs are trained at once at most.

        Raises:
          UserError: if there are fewer devices.
        """
        return Options(
            runs_dir=runs_dir,
            data_dir=self.data_dir,
            fresh=self.fresh,
            recording=self.recording,
            code_path=choose_code_path(deterministic=self.deterministic, devices=self.devices),
            largest=largest,
        )
