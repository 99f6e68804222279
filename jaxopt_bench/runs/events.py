"""TensorBoard event files beside the metrics, for those who watch runs there."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from jaxopt_bench.runs.records import Record


def event_writer(directory: pathlib.Path, step: int) -> Any:
    """Returns a tensorboardX writer; what an earlier process wrote after `step` is purged."""
    import tensorboardX  # only where event files are wanted: importing it takes a second

    return tensorboardX.SummaryWriter(str(directory / "tensorboard"), purge_step=step + 1)


def write_events(writer: Any, lines: Sequence[Record]) -> None:
    """Writes lines of the metrics as scalars named `<metric>/<split>`."""
    for line in lines:
        for name, value in line.items():
            if name not in ("step", "epoch", "split", "steps", "seconds") and value is not None:
                writer.add_scalar(f"{name}/{line['split']}", value, line["step"])
