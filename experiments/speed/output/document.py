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
"""Those that change how fast either side is."""


@dataclasses.dataclass
class Document:
    """The results so far.

    Attributes:
      hardware: device, processor, cores, memory.
      versions: of Python and of every package that matters, and the source's revision.
      settings: how long was measured, and the environment variables that matter.
      command: what was typed.
      date: when it began, UTC.
      quick: whether so little was measured that the numbers mean nothing.
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
        """Returns the document of this machine and this moment, without rows.

        Args:
          module: the command's, as of `python -m`.
          settings: how long is measured.
          peer_versions: of other frameworks that are measured, by their names.
          quick: whether so little is measured that the numbers mean nothing.
        """
        here = origin(module)
        here["versions"] |= peer_versions or {}
        variables = {name: os.environ.get(name) for name in VARIABLES}
        return cls(**here, settings={**(settings or {}), "environment": variables}, quick=quick)

    def write(self, path: pathlib.Path) -> None:
        """Writes the whole document; it replaces an earlier one."""
        write_json(path, dataclasses.asdict(self))


def origin(module: str) -> dict[str, Any]:
    """Returns what every measurement records about itself: hardware, versions, command and date, as JSON values.

    Args:
      module: the command's, as of `python -m`.
    """
    here = environment(choose_code_path())
    return {
        "hardware": hardware(),
        "versions": {"python": here["python"], **here["packages"], "revision": here["revision"]},
        "command": shlex.join(["python", "-m", module, *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def write_json(path: pathlib.Path, value: object) -> None:
    """Writes a JSON file whole or not at all, in a folder that is made where it is absent.

    The user names the file, so a symbolic link is followed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as (file, _):
        file.write((json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def default_path(device: str, sections: Sequence[str] = (), quick: bool = False) -> pathlib.Path:
    """Returns where a document goes: a file named by the hardware, and by its sections if it has not all of them."""
    words = [device, *sections, *(["quick"] if quick else [])]
    return RESULTS / ("-".join(re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") for word in words) + ".json")
