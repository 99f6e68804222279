"""`study.json`: the study, its protocol, and each run with its phase."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from jaxopt_bench.errors import UnknownNameError, UserError
from jaxopt_bench.runs.load import newer
from jaxopt_bench.strict_json import NUMBER, check_object, read_json, write_json
from jaxopt_bench.study.protocol import protocol
from jaxopt_bench.study.study import Study, run_name

DOCUMENT = "study.json"
FORMAT = 1
Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Document:
    """What a study's folder says of itself.

    Attributes:
      study: the study.
      runs: each run's phase ("trial", "confirmation", or "superseded": it confirmed what is no winner any more),
        workload, contender, repetition, trial, seed, digest, and path relative to the folder.
      selections: each winner, as `Selection.to_json` says it.
      timings: seconds a step of each contender on each workload, measured apart from the runs.
      history: the budgets and contenders the study had, from the first on.
    """

    study: Study
    runs: tuple[Json, ...] = ()
    selections: tuple[Json, ...] = ()
    timings: tuple[Json, ...] = ()
    history: tuple[Json, ...] = ()

    def places(self) -> Iterator[tuple[Json, Json]]:
        """Yields each run, what its row in a table says of its place, and by what the run is recognised."""
        chosen = {(s["workload"], s["contender"], s["repetition"]): s["trial"] for s in self.selections}
        for run in self.runs:
            unit = (run["workload"], run["contender"], run["repetition"])
            place = {name: run[name] for name in ("phase", "workload", "contender", "repetition", "trial")}
            planned = {"digest": run["digest"], "seed": run["seed"], "name": run_name(unit[0], unit[1])}
            yield run, {"study": self.study.name, **place, "selected": chosen.get(unit) == run["trial"], **planned}

    def write(self, path: pathlib.Path) -> None:
        """Writes the file whole or not at all."""
        fields = {"runs": self.runs, "selections": self.selections, "timings": self.timings, "history": self.history}
        head = {"format": FORMAT, "study": self.study.to_json(), "protocol": protocol(self.study)}
        write_json(path, head | fields)


def read_document(path: pathlib.Path) -> Document:
    """Reads a study's file.

    Raises:
      UserError: where it is damaged, or of a later format.
    """
    values = read_json(path)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        found = values.get("format") if isinstance(values, dict) else None
        raise UserError(f"{path} has the format {found!r}; accepted: {FORMAT}.")
    for field, accepted in _FIELDS.items():
        items = values.get(field)
        if not isinstance(items, list):
            raise UserError(f"{path} is damaged: {field} is no list.")
        for i, item in enumerate(items):
            check_object(f"{path}: {field}[{i}]", item, accepted)
    for run in values["runs"]:
        check_within(path, run["path"])
    for i, winner in enumerate(values["selections"]):
        if not all(isinstance(edge, str) for edge in winner["edges"]):
            raise UserError(f"{path}: selections[{i}] is damaged: edges is {winner['edges']!r}; accepted: texts.")
        if winner["trial"] is not None and winner["among"] and not 0 <= winner["trial"] < len(winner["among"]):
            among = f"{len(winner['among'])} trials"
            raise UserError(f"{path}: selections[{i}] is damaged: trial is {winner['trial']}, of {among}.")
        if winner["trial"] is not None and winner["values"] is None:
            raise UserError(f"{path}: selections[{i}] is damaged: it names a trial and no values of it.")
    try:
        study = Study.from_json(values.get("study", {}), "study")
    except UnknownNameError as error:
        raise newer(path, error) from error
    except UserError as error:
        raise UserError(f"{path} is damaged: {error}") from error
    return Document(study, **{field: tuple(values[field]) for field in _FIELDS})


def check_within(file: pathlib.Path, path: str) -> None:
    """Checks that a path which a file names does not leave the file's folder.

    Raises:
      UserError: naming the file, where it does.
    """
    if ".." in pathlib.PurePosixPath(path).parts or path.startswith("/") or "\0" in path:
        raise UserError(f"{file} is damaged: the run {path!r} is not within its folder.")


_UNIT = {"workload": str, "contender": str}
_SEARCH = {**_UNIT, "repetition": int}
_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "runs": {"phase": str, **_SEARCH, "trial": int, "seed": int, "digest": str, "path": str},
    "selections": {**_SEARCH, "trial": int | None, "edges": list, "values": dict | None, "among": list},
    "timings": {**_UNIT, "seconds_per_step": NUMBER},
    "history": {},
}
"""The fields that the items of each list must have, by their types; they may have others."""
