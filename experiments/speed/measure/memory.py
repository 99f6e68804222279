"""The peak memory of this process."""

from __future__ import annotations

import pathlib
import resource
import sys


def host_peak() -> int:
    """Returns the peak memory of this process in bytes.

    On Linux, `ru_maxrss` starts with the value of the parent process, but /proc has the value of this process alone.
    macOS counts in bytes.
    """
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
