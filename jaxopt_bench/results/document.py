"""`study.json`: the study, its protocol, and each run with its phase."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

from jaxopt_bench.errors import UserError
from jaxopt_bench.results.protocol import protocol
from jaxopt_bench.results.study import Study
from jaxopt_bench.runs import read_json, write_json

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
        """Yields each run, and what its row in a table says of its place."""
        chosen = {(s["workload"], s["contender"], s["repetition"]): s["trial"] for s in self.selections}
        for run in self.runs:
            unit = (run["workload"], run["contender"], run["repetition"])
            place = {name: run[name] for name in ("phase", "workload", "contender", "repetition", "trial")}
            yield run, {"study": self.study.name, **place, "selected": chosen.get(unit) == run["trial"]}

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
    named = {"runs": {"phase", "workload", "contender", "repetition", "trial", "seed", "digest", "path"}}
    named |= {"selections": {"workload", "contender", "repetition", "trial"}, "timings": {"workload", "contender"}}
    for field, names in {**named, "history": set()}.items():
        items = values.get(field)
        if not isinstance(items, list) or not all(isinstance(item, dict) and names <= item.keys() for item in items):
            raise UserError(f"{path} is damaged: {field} is no list of objects with {', '.join(sorted(names))}.")
    for run in values["runs"]:
        parts = pathlib.PurePosixPath(str(run["path"])).parts
        if ".." in parts or str(run["path"]).startswith("/"):
            raise UserError(f"{path} is damaged: the run {run['path']!r} is not within its folder.")
    lists = {field: tuple(values[field]) for field in ("runs", "selections", "timings", "history")}
    return Document(Study.from_json(values.get("study", {}), "study"), **lists)
