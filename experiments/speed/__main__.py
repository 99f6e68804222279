"""`python -m experiments.speed [flags]`: measures speed, prints tables, and writes a JSON document after each row."""

from __future__ import annotations

import pathlib
import tempfile

import tyro

from experiments.speed.measure.process import restart_with_settings
from experiments.speed.sections.flags import Flags


def main() -> None:
    """Runs the measurements that the command line requests."""
    flags = tyro.cli(Flags, prog="python -m experiments.speed")
    restart_with_settings()
    # Imported only now: importing JAX and PyTorch takes seconds, and this process may just have been restarted.
    from experiments.speed.output.tables import console
    from experiments.speed.sections import run
    from experiments.speed.torch_side.peer import TorchPeer

    with tempfile.TemporaryDirectory() as scratch:
        run.measure(flags, TorchPeer, flags.data_dir or pathlib.Path(scratch), console())


if __name__ == "__main__":
    main()
