"""Options of training and of recording. They do not change which experiment a run is of."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

from rich.console import Console

from jaxopt_bench.config import Config, number
from jaxopt_bench.errors import UserError
from jaxopt_bench.runs.problems import Problems
from jaxopt_bench.runs.progress import Reporter, reporter_for
from jaxopt_bench.training import CodePath


@dataclasses.dataclass(frozen=True)
class Recording(Config):
    """What a run writes and how often. This changes nothing that it computes."""

    log_every: int = number(50, at_least=1)
    """Steps between two lines of training metrics; every epoch's end has one."""
    checkpoint_every: int | None = number(None, at_least=1)
    """Steps between two checkpoints within an epoch. If it is given, every epoch's end has a checkpoint, too."""
    checkpoint_seconds: float = number(5.0, at_least=0)
    """If `checkpoint_every` is not given: the end of an epoch has a checkpoint if the last one is at least this many
    seconds old. That of the best epoch is kept in memory until then. The last step always has a checkpoint, and so has
    the step at which a signal stops the run."""
    keep_checkpoints: int = number(2, at_least=1)
    """How many of the last checkpoints stay. That of the best epoch stays too; in a population, those of the members'
    best epochs stay only if the test split will be read at them."""
    tensorboard: bool = True
    """Write TensorBoard event files."""
    evaluation: bool = False
    """Write evaluation.npz at the end: the model's outputs and losses for each example of the evaluated splits, and
    views of examples and of a training batch."""
    test_examples: bool = False
    """If the test split is read, write test_examples.npz: the result for each test example, such as whether it is
    classified correctly. From these, studies compute how much the choice of test examples matters."""


def _default_reporter() -> Reporter:
    return reporter_for(Console())


def _nothing() -> None:
    pass


@dataclasses.dataclass(frozen=True)
class Options:
    """Where and how runs are trained.

    Attributes:
      runs_dir: each run's directory is `<runs_dir>/<experiment.name>/<experiment.digest>`.
      data_dir: where TFDS keeps its data sets; TFDS's own default if it is None.
      fresh: begin new runs beside those that exist.
      recording: what is written and how often.
      reporter: receives the progress; by default it shows a live display on a terminal, else plain lines.
      code_path: how to compute; the one for the backend if it is None.
      largest: the largest number of runs that are trained together; as many as fit into memory if it is None.
        Populations that were begun with more are divided.
      until_epoch: train up to the end of this epoch, with a checkpoint there; runs with more epochs get the status
        "stopped", and a later training continues them to the same bits. A run that is beyond this epoch already is
        trained to the end of its current epoch. None trains to the end.
      problems: loads the problems. If several trainings share it, a problem is loaded, and its functions are compiled,
        only once. If it is None, each training loads its own.
      ahead: whether threads compile what is needed later. This process must then be able to end while the compiler
        works, as the command line is: see `interrupts.take_over`.
      begun: called when the training of a population begins, after its program was compiled to find out its memory.

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
    ahead: bool = False
    begun: Callable[[], None] = _nothing

    def __post_init__(self) -> None:
        for name in ("largest", "until_epoch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"Options.{name} is {value}. Expected at least 1, or None.")

    @property
    def data_path(self) -> pathlib.Path | None:
        """The folder of data sets as a path."""
        return None if self.data_dir is None else pathlib.Path(self.data_dir)
