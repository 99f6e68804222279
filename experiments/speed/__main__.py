"""`python -m experiments.speed [flags]`: measures, prints tables, and writes a JSON document as it goes."""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile

import tyro
from rich.console import Console

from experiments.speed.flags import Flags

SETTINGS = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # huge pages, which both sides gain from
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # PyTorch needs a part of the GPU's memory too
}
"""Environment variables that are read when a process starts, and by all that it starts."""


def console() -> Console:
    """Returns where to print: the terminal, or lines of a file that are as long as a table needs."""
    return Console() if sys.stdout.isatty() else Console(width=150)


def restart_with_settings() -> None:
    """Puts this process in the place of itself, in the environment that the measurements want."""
    missing = {name: value for name, value in SETTINGS.items() if name not in os.environ}
    if missing:
        os.execve(sys.executable, [sys.executable, "-m", "experiments.speed", *sys.argv[1:]], {**os.environ, **missing})


def main() -> None:
    """Measures what the command line asks for."""
    flags = tyro.cli(Flags, prog="python -m experiments.speed")
    restart_with_settings()
    from experiments.speed import run
    from experiments.speed.torch_side import TorchPeer

    with tempfile.TemporaryDirectory() as scratch:
        run.measure(flags, TorchPeer, flags.data_dir or pathlib.Path(scratch), console())


if __name__ == "__main__":
    main()
