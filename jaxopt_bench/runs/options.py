"""Options of training and of recording. They do not change which experiment a run belongs to."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

from rich.console import Console

from jaxopt_bench.config import Config, number_field
from jaxopt_bench.errors import UserError
from jaxopt_bench.runs.problems import Problems
from jaxopt_bench.runs.progress import Reporter, reporter_for
from jaxopt_bench.training import CodePath


@dataclasses.dataclass(frozen=True)
class Recording(Config):
    """The files that a run writes, and how often. These options do not change any computation."""

    log_every: int = number_field(50, at_least=1)
    """Steps between two lines of training metrics; every epoch also ends with a line."""
    checkpoint_every: int | None = number_field(None, at_least=1)
    """Steps between two checkpoints within an epoch. If it is given, every epoch also ends with a checkpoint."""
    checkpoint_seconds: float = number_field(5.0, at_least=0)
    """If `checkpoint_every` is not given: a checkpoint is written at the end of an epoch if the last one is at least
    this many seconds old. The checkpoint of the best epoch is kept in memory until then. A checkpoint is always written
    at the last step, and at the step at which a signal stops the run."""
    keep_checkpoints: int = number_field(2, at_least=1)
    """The number of latest checkpoints to keep. The checkpoint of the best epoch is kept too. In a population, the
    checkpoints of the members' best epochs are kept only if the test split will be evaluated with them."""
    tensorboard: bool = True
    """Write TensorBoard event files."""
    evaluation: bool = False
    """Write evaluation.npz at the end: the model's outputs and losses for each example of the evaluated splits, and
    views of examples and of a training batch."""
    test_examples: bool = False
    """If the test split is evaluated, write test_examples.npz: the result for each test example, such as whether it is
    classified correctly. From these results, studies compute how much the choice of test examples matters."""


def _default_reporter() -> Reporter:
    return reporter_for(Console())


def _nothing() -> None:
    pass


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings for training: folders, recording, code path and limits.

    Attributes:
      runs_dir: the folder of all runs; each run's directory is `<runs_dir>/<experiment.name>/<experiment.digest>`.
      data_dir: the folder of TFDS data sets; TFDS's own default if it is None.
      fresh: start new runs beside existing ones.
      recording: the files to write, and how often.
      reporter: receives the progress; by default it shows a live display on a terminal, and plain lines elsewhere.
      code_path: how to compute; the code path for the backend if it is None.
      largest: the largest number of runs that are trained together; as many as fit into memory if it is None.
        Populations that were started with more runs are divided.
      until_epoch: train up to the end of this epoch, with a checkpoint there. Runs with more epochs get the status
        "stopped", and a later training continues them with bit-identical results. A run that is already beyond this
        epoch is trained to the end of its current epoch. None trains to the end.
      problems: loads the problems. If several trainings share it, each problem is loaded, and its functions are
        compiled, only once. If it is None, each training loads its own problems.
      compile_in_background: whether a thread compiles the program of a single run while its states are made or
        restored. The process must then be able to end while the compiler runs, as the command line can: see
        `interrupts.install_interrupt_handlers`.
      on_training_start: called when the training of a population starts. The program of a new population of several
        runs has usually been compiled by then, to determine its memory, but not if `largest` is given.

    Raises:
      UserError: if `largest` or `until_epoch` is less than 1.
    """

    runs_dir: str | pathlib.Path = "runs"
    data_dir: str | pathlib.Path | None = None
    fresh: bool = False
    recording: Recording = Recording()
    reporter: Reporter = dataclasses.field(default_factory=_default_reporter)
    code_path: CodePath | None = None
    largest: int | None = None
    until_epoch: int | None = None
    problems: Problems | None = None
    compile_in_background: bool = False
    on_training_start: Callable[[], None] = _nothing

    def __post_init__(self) -> None:
        for name in ("largest", "until_epoch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"Options.{name} is {value}. Expected at least 1, or None.")

    @property
    def data_path(self) -> pathlib.Path | None:
        """The folder of data sets as a path."""
        return None if self.data_dir is None else pathlib.Path(self.data_dir)
