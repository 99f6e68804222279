"""The flags of all training commands: the folders of data and runs, the devices, and the recorded data."""

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
        help="Maximum number of runs that are trained at once; by default as many as fit into memory. If a stopped "
        "command trained more runs at once, they are divided into smaller groups."
    ),
]
"""The type of the flag `--largest`, for commands that train several runs as one program."""


@dataclasses.dataclass(frozen=True)
class TrainingFlags:
    """The flags of every training command."""

    data_dir: pathlib.Path | None = None
    """Folder of TFDS data sets; by default $TFDS_DATA_DIR, or TFDS's own default."""
    devices: int = 1
    """Number of devices that share the work: the runs of a population, or each batch of a run."""
    processes: Annotated[Processes, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Processes)


@dataclasses.dataclass(frozen=True)
class ExperimentFlags(TrainingFlags):
    """The flags of every command that trains an experiment."""

    recording: Annotated[Recording, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Recording)
    out: pathlib.Path = pathlib.Path("runs")
    """The folder for the directories of runs."""
    fresh: bool = False
    """Start new runs, and keep the existing ones."""
    deterministic: bool = False
    """Avoid operations that make repeated runs differ on a GPU (autotuning, scatters). Training is slower."""

    def options(self, runs_dir: pathlib.Path, largest: int | None = None) -> Options:
        """Returns the training options.

        Args:
          runs_dir: the folder in which this process reads and writes runs; see `writer_folder`.
          largest: the maximum number of runs that are trained at once; None for as many as fit into memory.

        Raises:
          UserError: if there are fewer devices than --devices.
        """
        return Options(
            runs_dir=runs_dir,
            data_dir=self.data_dir,
            fresh=self.fresh,
            recording=self.recording,
            code_path=choose_code_path(deterministic=self.deterministic, devices=self.devices),
            largest=largest,
            compile_in_background=True,
        )
