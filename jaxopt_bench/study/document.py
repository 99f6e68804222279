"""`study.json`: the study, its protocol, its runs, winners and timings."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from jaxopt_bench.errors import UnknownNameError, UserError
from jaxopt_bench.runs.load import newer
from jaxopt_bench.strict_json import read_json, write_json
from jaxopt_bench.study.entries import Entry, RunEntry, Selection, StudyRun, StudySize, Timing, UnitKey
from jaxopt_bench.study.protocol import protocol
from jaxopt_bench.study.study import Study

DOCUMENT = "study.json"
FORMAT = 2
"""The format of new documents. In format 1, each contender drew its own points, and there were no finalists."""

_FORMATS = (1, FORMAT)
_NOT_IN_1: Mapping[str, dict[str, Any]] = {
    "study": {"finalists": 0, "finalist_seeds": 2},
    "selections": {"finalists": {}},
}
"""The fields that objects in format 1 do not have, each with its meaning there."""

E = TypeVar("E", bound=Entry)


@dataclasses.dataclass(frozen=True)
class Document:
    """The content of `study.json`.

    Attributes:
      study: the study.
      runs: its planned runs, and the superseded runs.
      selections: one selection for each unit in which all runs of trials and of finalists have ended.
      timings: the seconds per step of each contender on each workload, measured separately from the runs.
      history: all sizes of the study, from the first to the present one.
      format: the format of the file; a document is written in the same format as it was read.
    """

    study: Study
    runs: tuple[RunEntry, ...] = ()
    selections: tuple[Selection, ...] = ()
    timings: tuple[Timing, ...] = ()
    history: tuple[StudySize, ...] = ()
    format: int = FORMAT

    @property
    def shares_points(self) -> bool:
        """Whether all contenders drew the same points of the unit cube, see `points`."""
        return self.format > 1

    @property
    def protocol(self) -> list[str]:
        """The rules of the study, in sentences."""
        return protocol(self.study, shares_points=self.shares_points)

    def trials(self, unit: UnitKey) -> list[RunEntry]:
        """Returns the trials of a unit."""
        return [run for run in self.runs if run.phase == "trial" and run.unit == unit]

    def finalists(self, unit: UnitKey) -> tuple[int, ...]:
        """Returns the trials of a unit that are trained again, the best first; none if they are not chosen yet."""
        return tuple(dict.fromkeys(run.trial for run in self.runs if run.phase == "finalist" and run.unit == unit))

    def selection(self, unit: UnitKey) -> Selection | None:
        """Returns the selection among a unit's trials, if it has been made."""
        return next((found for found in self.selections if found.unit == unit), None)

    def selections_of(self, workload: str, contender: str) -> list[Selection]:
        """Returns the selections among a contender's trials on a workload, for all repetitions."""
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
        """Writes the whole file, or nothing."""
        head = {"format": self.format, "study": self.study.to_json(), "protocol": self.protocol}
        lists: dict[str, Sequence[Entry]] = {
            "runs": self.runs,
            "selections": self.selections,
            "timings": self.timings,
            "history": self.history,
        }
        values = head | {name: [entry.to_json() for entry in entries] for name, entries in lists.items()}
        if self.format == 1:
            for place, missing in _objects_of_format_1(values):
                for name in missing:
                    del place[name]
        write_json(path, values)


def read_document(path: pathlib.Path) -> Document:
    """Reads a study's file.

    Raises:
      UserError: if it is damaged, or has a later format.
    """
    values = read_json(path)
    found = values.get("format") if isinstance(values, dict) else None
    if type(found) is not int or found not in _FORMATS:
        raise UserError(
            f"{path} has the format {found!r}. Expected: {' or '.join(map(str, _FORMATS))}. If a newer version of "
            "jaxopt-bench wrote the file, install that version."
        )
    if found == 1:
        for place, missing in _objects_of_format_1(values):
            place.update(missing)
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
    return Document(study, runs, selections, timings, history, found)


def _objects_of_format_1(values: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Mapping[str, Any]]]:
    """Yields the objects in a document that lack fields in format 1, each with these fields."""
    for name, missing in _NOT_IN_1.items():
        found = values.get(name)
        for each in found if isinstance(found, list) else [found]:
            if isinstance(each, dict):
                yield each, missing


def _entries(path: pathlib.Path, values: Mapping[str, object], name: str, kind: type[E]) -> tuple[E, ...]:
    items = values.get(name)
    if not isinstance(items, list):
        raise UserError(f"{path} is damaged: {name} is not a list.")
    return tuple(kind.from_json(item, f"{path}: {name}[{i}]") for i, item in enumerate(items))


def check_within(file: pathlib.Path, path: str) -> None:
    """Checks that a path in a file does not lead out of the file's folder.

    Raises:
      UserError: with the name of the file, if the path leads out of the folder.
    """
    if ".." in pathlib.PurePosixPath(path).parts or path.startswith("/") or "\0" in path:
        raise UserError(f"{file} is damaged: the run {path!r} is not within its folder.")
