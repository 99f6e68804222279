"""Processes: their environment variables at the start, and functions that run in a new process.

This module must not import large packages, because the process may have to be restarted first.
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
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # huge pages make both sides faster
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # PyTorch also needs GPU memory
}
"""Environment variables for all measurements, unless the user has set them."""


def restart_with_settings(others: Mapping[str, str] | None = None) -> None:
    """Restarts this process, unless its environment has all settings.

    Args:
      others: further variables, which replace those of the user.
    """
    wanted = {**SETTINGS, **os.environ, **(others or {})}
    if wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], wanted)


def in_new_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs a function in a new process and returns its result."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()
