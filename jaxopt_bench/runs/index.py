"""The runs that a command trains, as they are on the disk. Each file is read once, and again if it has changed."""

from __future__ import annotations

import collections
import dataclasses
import os
import pathlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax

from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.files import file_version
from jaxopt_bench.runs import checkpoints
from jaxopt_bench.runs.directory import choose_directories
from jaxopt_bench.runs.load import (
    TRAIN_AGAIN,
    CheckpointLocation,
    Run,
    checkpoint_location,
    finished,
    has_finished,
    load_config,
    load_run,
    load_summary,
    run_of_files,
)
from jaxopt_bench.runs.processes import broadcast_from_first_process, run_on_first_process

CONFIG, SUMMARY = "config.json", "summary.json"


@dataclasses.dataclass
class IndexedRun:
    """A run's directory, with the content of its files when they were last read.

    Attributes:
      directory: the run's directory.
      experiment: the experiment of the run.
      until_epoch: see `Options.until_epoch`.
      config: the content of `config.json`; None if there is no such file.
      summary: the content of `summary.json`; None if there is none.
      location: the location of its checkpoints; its own folder if `config.json` was lost; None if the run was never
        started.
    """

    directory: pathlib.Path
    experiment: Experiment
    until_epoch: int | None = None
    config: dict[str, Any] | None = None
    summary: dict[str, Any] | None = None
    location: CheckpointLocation | None = None
    _versions: tuple[Any, ...] = ()

    def read(self) -> None:
        """Reads the files that are in the directory now.

        Raises:
          UserError: if a file is damaged.
        """
        self._versions = self._found()
        config, summary = (self.directory / name for name in (CONFIG, SUMMARY))
        self.config = load_config(config) if config.exists() else None
        self.summary = load_summary(summary) if summary.exists() else None
        begun = self.config is not None or (self.directory / "metrics.jsonl").exists()
        self.location = checkpoint_location(self.directory, self.config or {}) if begun else None

    def has_changed(self) -> bool:
        """Returns whether `config.json` or `summary.json` was replaced, made or removed after it was read."""
        return self._found() != self._versions

    @property
    def finished(self) -> bool:
        """Whether the run completed or diverged."""
        return has_finished(self.summary)

    @property
    def trained(self) -> bool:
        """Whether the run finished, or was stopped at the requested epoch or later."""
        return has_finished(self.summary, self.until_epoch)

    def run(self) -> Run:
        """Returns the run, after reading its metrics; see `load_run`."""
        if self.config is None or self.has_changed():
            return load_run(self.directory)
        return run_of_files(self.directory, self.config, self.summary)

    def _found(self) -> tuple[Any, ...]:
        return tuple(file_version(self.directory / name) for name in (CONFIG, SUMMARY))


class RunIndex:
    """The runs that a command trains. Only the index knows which of them share checkpoints."""

    def __init__(self, entries: Sequence[IndexedRun]):
        self.entries = entries
        self._begun: dict[pathlib.Path, bool] = {}  # by folder of checkpoints: whether one is complete

    @classmethod
    def read(
        cls,
        experiments: Sequence[Experiment],
        runs_dir: str | pathlib.Path,
        fresh: bool = False,
        until_epoch: int | None = None,
    ) -> RunIndex:
        """Reads the directories of the experiments' runs; see `Options` for the arguments.

        Raises:
          UserError: if two experiments are the same, or a file is damaged.
        """
        directories = choose_directories(experiments, pathlib.Path(runs_dir), fresh)
        if len(set(directories)) < len(directories):
            same = next(each for each in directories if directories.count(each) > 1)
            raise UserError(
                f"two of the {len(experiments)} experiments are the same: both have the directory {same}. Remove one "
                "of them."
            )
        entries = [IndexedRun(d, e, until_epoch) for d, e in zip(directories, experiments, strict=True)]
        for entry in entries:
            entry.read()
        return cls(entries)

    @property
    def unfinished(self) -> list[IndexedRun]:
        """The runs that still have to be trained."""
        return [entry for entry in self.entries if not entry.trained]

    def reread(self, entries: Iterable[IndexedRun]) -> None:
        """Reads entries again whose files this process has changed."""
        for entry in entries:
            entry.read()
        self._begun.clear()

    def reread_changed(self, entries: Sequence[IndexedRun]) -> bool:
        """Reads entries again whose files another process has changed, and returns whether there are any."""
        changed = [entry for entry in entries if entry.has_changed()]
        if not broadcast_from_first_process(len(changed)):
            return False
        if jax.process_count() > 1:  # the other processes have copies of the first one's folder
            raise UserError(
                "another command has changed the runs that these processes train. Start the same command again for all "
                "processes."
            )
        self.reread(changed)
        return True

    def checkpoints_of(self, entry: IndexedRun) -> CheckpointLocation | None:
        """Returns the location of a run's checkpoints; None if none was completed, so that the run starts again.

        Raises:
          UserError: if the run was trained in a population whose folder is missing.
        """
        location = entry.location
        if location is None:
            return None
        if location.folder not in self._begun:
            self._begun[location.folder] = run_on_first_process(
                lambda: _has_checkpoint(entry.directory, location.folder)
            )
        return location if self._begun[location.folder] else None

    def sharing(self, location: CheckpointLocation) -> Mapping[int, IndexedRun]:
        """Returns the runs whose checkpoints are in a folder, by their indices in the checkpoint arrays.

        Raises:
          UserError: if two runs have the same index, or record different numbers of members.
        """
        found: dict[int, IndexedRun] = {}
        for entry in self.entries:
            own = entry.location
            if own is None or own.folder != location.folder:
                continue
            if own.member in found or own.members != location.members:
                reason = f"other runs record {location.members} members"
                if (other := found.get(own.member)) is not None:
                    reason = f"{other.directory} is the same member"
                raise UserError(
                    f"{entry.directory / CONFIG} is damaged: it records that the run is member {own.member} of "
                    f"{own.members} in {own.folder}, but {reason}. Perhaps a run was copied. Put the original back, or "
                    f"{TRAIN_AGAIN}."
                )
            found[own.member] = entry
        return found


def discard_checkpoints(directories: Sequence[pathlib.Path]) -> None:
    """Removes the checkpoints of finished or stopped runs. A stopped run will then start from step 0.

    The checkpoints of a population stay as long as one of its runs is unfinished, or is stopped and not among
    `directories`. The other files of the runs stay.
    """
    members: dict[pathlib.Path, int] = {}
    known: dict[pathlib.Path, set[pathlib.Path]] = collections.defaultdict(set)
    for directory in directories:
        if finished(directory, until_epoch=0) and (directory / CONFIG).exists():
            location = checkpoint_location(directory, load_config(directory / CONFIG))
            members[location.folder] = location.members
            known[location.folder].add(pathlib.Path(os.path.normpath(directory)))
    for folder, count in members.items():
        if len(known[folder]) == count or not _has_unfinished(folder, known[folder]):
            checkpoints.remove_checkpoints(folder)


def remove_unused_checkpoints(folder: pathlib.Path) -> None:
    """Removes the checkpoints in a population's folder if no run has its checkpoints there any more."""
    if not any(True for _ in _runs_with_checkpoints_in(folder, known=())):
        checkpoints.remove_checkpoints(folder)


def _has_unfinished(folder: pathlib.Path, known: Collection[pathlib.Path]) -> bool:
    """Returns whether an unfinished run, other than the known ones, has its checkpoints in a population's folder."""
    others = _runs_with_checkpoints_in(folder, known)
    return any(directory is None or not finished(directory) for directory in others)


def _runs_with_checkpoints_in(folder: pathlib.Path, known: Collection[pathlib.Path]) -> Iterator[pathlib.Path | None]:
    """Yields the runs, other than the known ones, that have their checkpoints in a population's folder.

    It yields None for a run with a damaged `config.json`, which may be such a run.
    """
    for path in folder.parents[2].glob(f"*/*/{CONFIG}"):
        if path.parent not in known:
            try:
                location = checkpoint_location(path.parent, load_config(path))
            except UserError:
                yield None
                continue
            if location.folder == folder:
                yield path.parent


def _has_checkpoint(directory: pathlib.Path, folder: pathlib.Path) -> bool:
    own = pathlib.Path(os.path.normpath(directory))
    if folder.parent != own and not folder.parent.is_dir():
        raise UserError(
            f"{directory} was trained in the population {folder.parent}, which holds its checkpoints and is missing. "
            f"Copy that folder too, to the same place relative to the run, or {TRAIN_AGAIN}."
        )
    return bool(checkpoints.checkpoint_steps(folder))
