"""Processes: the environment variables that they start with, and functions that run in a new one.

Nothing heavy may be imported here: the process may have to start again first.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

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


def in_new_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Returns what a function returns in a process that has done nothing else."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()
