"""What the benchmark writes: one JSON document with the hardware, the versions, the command and a row a line."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import pathlib
import platform
import re
import shlex
import sys
import time
from typing import Any

import jax

from experiments.speed import jax_side
from jaxopt_bench.files import replacing
from jaxopt_bench.runs.environment import environment

Row = dict[str, Any]

RESULTS = pathlib.Path(__file__).parent / "results"
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
    quick: bool
    rows: list[Row] = dataclasses.field(default_factory=list)

    @classmethod
    def begin(cls, peer: str, peer_version: str, settings: dict[str, Any], quick: bool) -> Document:
        """Returns the document of this machine and this moment, without rows."""
        here = environment(jax_side.default_path())
        return cls(
            hardware=hardware(),
            versions={"python": here["python"], **here["packages"], peer: peer_version, "revision": here["revision"]},
            settings={**settings, "environment": {name: os.environ.get(name) for name in VARIABLES}},
            command=shlex.join(["python", "-m", "experiments.speed", *sys.argv[1:]]),
            date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            quick=quick,
        )

    def write(self, path: pathlib.Path) -> None:
        """Writes all of it, in the place of what was there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as (file, _):
            file.write((json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False) + "\n").encode())

    @classmethod
    def read(cls, path: pathlib.Path) -> Document:
        """Returns the document that `write` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def default_path(device: str, sections: tuple[str, ...], quick: bool) -> pathlib.Path:
    """Returns where a document goes: a file named by the hardware, and by what it holds where that is not all."""
    words = [device, *sections, *(["quick"] if quick else [])]
    return RESULTS / ("-".join(re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") for word in words) + ".json")


def hardware() -> dict[str, Any]:
    """Returns what the numbers depend on and what names the file."""
    device = jax.local_devices()[0]
    processor = _processor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "name": device.device_kind if device.platform != "cpu" else f"{processor} {cores} cores",
        "backend": device.platform,
        "devices": [d.device_kind for d in jax.local_devices()],
        "processor": processor,
        "cores": cores,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "platform": platform.platform(),
    }


def busy_elsewhere(seconds: float = 0.5) -> float | None:
    """Returns the share of all cores that other programs keep busy while this one and its workers wait.

    Where it is more than a few percent, CPU timings mean little. None where the system does not tell.
    """
    before = _core_times()
    time.sleep(seconds)
    after = _core_times()
    if before is None or after is None:
        return None
    idle, total = after[0] - before[0], after[1] - before[1]
    return round(1 - idle / total, 3) if total else None


def _core_times() -> tuple[int, int] | None:
    """Returns how long all cores have been idle, and all their time, in ticks since the machine started."""
    try:
        line = pathlib.Path("/proc/stat").read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return None
    ticks = [int(word) for word in line.split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def _processor() -> str:
    """Returns the processor's name, with what tells apart those that a hypervisor calls alike."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(re.findall(r"^([a-z ]+?)\s*: (.*)$", text, re.MULTILINE))
    name = re.sub(r"\(R\)|\(TM\)|CPU|@.*", " ", facts.get("model name", platform.machine()))
    return " ".join(name.split()) + (f" model {facts['model']}" if "model" in facts else "")
