"""TensorBoard event files beside the metrics, for those who watch runs there."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxopt_bench.runs.records import Record


class Events:
    """A run's event files, opened with the first lines: by then the device has steps to make meanwhile."""

    def __init__(self, directory: pathlib.Path, step: int):
        """Writes nothing yet.

        Args:
          directory: the run's.
          step: where the run goes on; what an earlier process wrote after it is purged.
        """
        self._directory, self._step = directory, step

    @functools.cached_property
    def _writer(self) -> Any:
        import tensorboardX  # only where event files are wanted: importing it takes a second or two

        return tensorboardX.SummaryWriter(str(self._directory / "tensorboard"), purge_step=self._step + 1)

    def write(self, lines: Sequence[Record]) -> None:
        """Writes lines of the metrics as scalars named `<metric>/<split>`."""
        for line in lines:
            for name, value in line.items():
                if name not in ("step", "epoch", "split", "steps", "seconds") and value is not None:
                    self._writer.add_scalar(f"{name}/{line['split']}", value, line["step"])

    def flush(self) -> None:
        """Writes to the files what is still in memory: a process that is killed loses nothing from before."""
        if "_writer" in vars(self):
            self._writer.flush()

    def close(self) -> None:
        """Closes the files, where there are any."""
        if "_writer" in vars(self):
            self._writer.close()
