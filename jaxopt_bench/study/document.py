"""`study.json`: the study, its protocol, its runs, winners and timings."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from jaxopt_bench.errors import UnknownNameError, UserError
from jaxopt_bench.runs.load import newer
from jaxopt_bench.strict_json import read_json, write_json
from jaxopt_bench.study.entries import Entry, RunEntry, Selection, StudyRun, StudySize, Timing, UnitKey
from jaxopt_bench.study.protocol import protocol
from jaxopt_bench.study.study import Study

DOCUMENT = "study.json"
FORMAT = 1

E = TypeVar("E", bound=Entry)


@dataclasses.dataclass(frozen=True)
class Document:
    """The content of `study.json`.

    Attributes:
      study: the study.
      runs: its planned runs, and those that were superseded.
      selections: one for each unit whose trials have ended.
      timings: seconds a step of each contender on each workload, measured apart from the runs.
      history: the sizes that the study had, from the first on.
    """

    study: Study
    runs: tuple[RunEntry, ...] = ()
    selections: tuple[Selection, ...] = ()
    timings: tuple[Timing, ...] = ()
    history: tuple[StudySize, ...] = ()

    def selection(self, unit: UnitKey) -> Selection | None:
        """Returns the selection among a unit's trials, if it has been made."""
        return next((found for found in self.selections if found.unit == unit), None)

    def selections_of(self, workload: str, contender: str) -> list[Selection]:
        """Returns the selections among a contender's trials on a workload, those of all repetitions."""
        return [s for s in self.selections if (s.workload, s.contender) == (workload, contender)]

    def seconds_per_step(self, workload: str, contender: str) -> float | None:
        """Returns the time of a contender's training step on a workload, if it has been measured."""
        found = (t.seconds_per_step for t in self.timings if (t.workload, t.contender) == (workload, contender))
        return next(found, None)

    def study_runs(self) -> Iterator[StudyRun]:
        """Yields the runs, each with the study's name and whether its trial is a winner."""
        winners = {found.unit: found.trial for found in self.selections}
        for run in self.runs:
            yield StudyRun(run, self.study.name, selected=winners.get(run.unit) == run.trial)

    def write(self, path: pathlib.Path) -> None:
        """Writes the file whole or not at all."""
        head = {"format": FORMAT, "study": self.study.to_json(), "protocol": protocol(self.study)}
        lists: dict[str, Sequence[Entry]] = {
            "runs": self.runs,
            "selections": self.selections,
            "timings": self.timings,
            "history": self.history,
        }
        write_json(path, head | {name: [entry.to_json() for entry in entries] for name, entries in lists.items()})


def read_document(path: pathlib.Path) -> Document:
    """Reads a study's file.

    Raises:
      UserError: if it is damaged, or has a later format.
    """
    values = read_json(path)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        found = values.get("format") if isinstance(values, dict) else None
        raise UserError(f"{path} has the format {found!r}; accepted: {FORMAT}.")
    runs = _entries(path, values, "runs", RunEntry)
    selections = _entries(path, values, "selections", Selection)
    timings = _entries(path, values, "timings", Timing)
    history = _entries(path, values, "history", StudySize)
    for run in runs:
        check_within(path, run.path)
    try:
        study = Study.from_json(values.get("study", {}), "study")
    except UnknownNameError as error:
        raise newer(path, error) from error
    except UserError as error:
        raise UserError(f"{path} is damaged: {error}") from error
    return Document(study, runs, selections, timings, history)


def _entries(path: pathlib.Path, values: Mapping[str, object], name: str, kind: type[E]) -> tuple[E, ...]:
    items = values.get(name)
    if not isinstance(items, list):
        raise UserError(f"{path} is damaged: {name} is no list.")
    return tuple(kind.from_json(item, f"{path}: {name}[{i}]") for i, item in enumerate(items))


def check_within(file: pathlib.Path, path: str) -> None:
    """Checks that a path in a file does not lead out of the file's folder.

    Raises:
      UserError: naming the file, if the path leads out of it.
    """
    if ".." in pathlib.PurePosixPath(path).parts or path.startswith("/") or "\0" in path:
        raise UserError(f"{file} is damaged: the run {path!r} is not within its folder.")
