"""Transparent huge pages for malloc, which spare a CPU most of its page faults; a process gets them as it starts.

Nothing heavy may be imported here: it runs before everything else.
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
"""Where Linux says who may have transparent huge pages."""


def restart_with_huge_pages() -> None:
    """Begins this process anew with huge pages, on Linux, unless its environment says how malloc uses them.

    Ctrl-C is blocked meanwhile, and waits for `interrupts.take_over`.
    """
    if sys.platform == "linux" and _NAME not in os.environ.get(TUNABLES, ""):
        tunables = ":".join(filter(None, [os.environ.get(TUNABLES), f"{_NAME}=1"]))
        os.environ[TUNABLES] = tunables
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # until the new process handles it: `interrupts`
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def has_huge_pages(environment: Mapping[str, str] = os.environ, kernel: pathlib.Path = KERNEL) -> bool:
    """Returns whether a process with this environment asked for huge pages, and the kernel grants them at all."""
    asked = f"{_NAME}=1" in environment.get(TUNABLES, "").split(":")
    return asked and kernel.exists() and "[never]" not in kernel.read_text(encoding="utf-8")
