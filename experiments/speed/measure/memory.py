"""How much memory this process has taken."""

from __future__ import annotations

import pathlib
import resource
import sys


def host_peak() -> int:
    """Returns the most memory in bytes that this process had.

    Linux's `ru_maxrss` begins with that of the process that started this one; /proc knows this one's alone. macOS
    counts bytes.
    """
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
