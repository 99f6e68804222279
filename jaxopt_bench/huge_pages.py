"""Transparent huge pages for malloc, which avoid most page faults on a CPU. A process gets them only at its start.

Nothing heavy may be imported here: this module runs before everything else.
"""

from __future__ import annotations

import os
import pathlib
import signal
import sys
from collections.abc import Mapping

TUNABLES = "GLIBC_TUNABLES"
_NAME = "glibc.malloc.hugetlb"
KERNEL = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
"""The file in which Linux says which processes may have transparent huge pages."""


def restart_with_huge_pages() -> None:
    """Restarts this process with huge pages on Linux, unless its environment already sets malloc's use of them.

    Ctrl-C is blocked in the meantime, and takes effect in `interrupts.install_interrupt_handlers`.
    """
    if sys.platform == "linux" and _NAME not in os.environ.get(TUNABLES, ""):
        tunables = ":".join(filter(None, [os.environ.get(TUNABLES), f"{_NAME}=1"]))
        os.environ[TUNABLES] = tunables
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # until the new process handles it: `interrupts`
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def has_huge_pages(environment: Mapping[str, str] = os.environ, kernel: pathlib.Path = KERNEL) -> bool:
    """Returns whether a process with this environment requested huge pages, and the kernel can grant them."""
    asked = f"{_NAME}=1" in environment.get(TUNABLES, "").split(":")
    return asked and kernel.exists() and "[never]" not in kernel.read_text(encoding="utf-8")
