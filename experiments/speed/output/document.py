"""The JSON document that a measurement writes: hardware, versions, command, and rows of results."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import pathlib
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.speed.output.hardware import hardware
from jaxopt_bench.files import replacing
from jaxopt_bench.runs.environment import environment
from jaxopt_bench.training import choose_code_path

Row = dict[str, Any]

RESULTS = pathlib.Path(__file__).parents[1] / "results"
VARIABLES = ("GLIBC_TUNABLES", "OMP_NUM_THREADS", "XLA_FLAGS", "XLA_PYTHON_CLIENT_PREALLOCATE")
"""The environment variables that affect the speed of a side."""


@dataclasses.dataclass
class Document:
    """The results so far.

    Attributes:
      hardware: device, processor, cores, memory.
      versions: the versions of Python and of all relevant packages, and the revision of the source.
      settings: the durations of the measurements, and the relevant environment variables.
      command: the command line.
      date: the start of the measurements, in UTC.
      quick: whether the measurements were too short to be meaningful.
      rows: the results, each with its `section`.
    """

    hardware: dict[str, Any]
    versions: dict[str, Any]
    settings: dict[str, Any]
    command: str
    date: str
    quick: bool = False
    rows: list[Row] = dataclasses.field(default_factory=list)

    @classmethod
    def begin(
        cls,
        module: str,
        settings: Mapping[str, Any] | None = None,
        peer_versions: Mapping[str, str] | None = None,
        quick: bool = False,
    ) -> Document:
        """Returns the document for this machine and the current time, without rows.

        Args:
          module: the module of the command, the argument of `python -m`.
          settings: the durations of the measurements.
          peer_versions: the versions of other measured frameworks, by name.
          quick: whether the measurements are too short to be meaningful.
        """
        here = origin(module)
        here["versions"] |= peer_versions or {}
        variables = {name: os.environ.get(name) for name in VARIABLES}
        return cls(**here, settings={**(settings or {}), "environment": variables}, quick=quick)

    def write(self, path: pathlib.Path) -> None:
        """Writes the whole document, and replaces an earlier one."""
        write_json(path, dataclasses.asdict(self))


def origin(module: str) -> dict[str, Any]:
    """Returns the common facts of each measurement: hardware, versions, command and date, as JSON values.

    Args:
      module: the module of the command, the argument of `python -m`.
    """
    here = environment(choose_code_path())
    return {
        "hardware": hardware(),
        "versions": {"python": here["python"], **here["packages"], "revision": here["revision"]},
        "command": shlex.join(["python", "-m", module, *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def write_json(path: pathlib.Path, value: object) -> None:
    """Writes a complete JSON file or none, in a folder that is created if it does not exist.

    Symbolic links are followed, because the user names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as (file, _):
        file.write((json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def default_path(device: str, sections: Sequence[str] = (), quick: bool = False) -> pathlib.Path:
    """Returns the path of a document. Its name contains the hardware and, if not all are measured, the sections."""
    words = [device, *sections, *(["quick"] if quick else [])]
    return RESULTS / ("-".join(re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") for word in words) + ".json")
