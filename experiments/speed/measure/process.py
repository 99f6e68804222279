"""Environment variables that a process must have when it starts, and all that it starts.

Nothing heavy may be imported here: the process may have to start again first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

SETTINGS = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # huge pages, which make both sides faster
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # PyTorch needs a part of the GPU's memory too
}
"""Environment variables for all measurements, unless the user has set them."""


def restart_with_settings(others: Mapping[str, str] | None = None) -> None:
    """Starts this process again, unless its environment has all settings.

    Args:
      others: more variables, which replace the user's.
    """
    wanted = {**SETTINGS, **os.environ, **(others or {})}
    if wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], wanted)
