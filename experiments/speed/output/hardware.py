"""The hardware of the measurements, and a check whether other programs keep it busy."""

from __future__ import annotations

import os
import pathlib
import platform
import re
import time
from typing import Any

import jax


def hardware() -> dict[str, Any]:
    """Returns the facts about the hardware that affect the numbers, and the name for the file."""
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
    """Returns the share of all cores that other programs use while this program and its workers wait.

    If it is more than a few percent, CPU timings are not reliable. None if the system does not report it.
    """
    before = _core_times()
    time.sleep(seconds)
    after = _core_times()
    if before is None or after is None:
        return None
    idle, total = after[0] - before[0], after[1] - before[1]
    return round(1 - idle / total, 3) if total else None


def _core_times() -> tuple[int, int] | None:
    """Returns the idle time and the total time of all cores, in ticks since the machine started."""
    try:
        line = pathlib.Path("/proc/stat").read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return None
    ticks = [int(word) for word in line.split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def _processor() -> str:
    """Returns the name of the processor, with details that distinguish processors with equal names in a hypervisor."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(re.findall(r"^([a-z ]+?)\s*: (.*)$", text, re.MULTILINE))
    name = re.sub(r"\(R\)|\(TM\)|CPU|@.*", " ", facts.get("model name", platform.machine()))
    return " ".join(name.split()) + (f" model {facts['model']}" if "model" in facts else "")
