"""TensorBoard event files beside the metrics, for those who watch runs there."""

from __future__ import annotations

import functools
import importlib
import pathlib
import sys
from collections.abc import Sequence
from types import ModuleType
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
        return _tensorboardx().SummaryWriter(str(self._directory / "tensorboard"), purge_step=self._step + 1)

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


@functools.cache
def _tensorboardx() -> ModuleType:
    """Imports tensorboardX, without PyTorch.

    If PyTorch is installed, tensorboardX imports it for the tensors that it may be given, which takes a second or more.
    Here it is only given numbers.
    """
    if "torch" in sys.modules:
        return importlib.import_module("tensorboardX")
    sys.modules["torch"] = None  # type: ignore[assignment]  # with which `import torch` raises ImportError
    try:
        return importlib.import_module("tensorboardX")
    finally:
        del sys.modules["torch"]
