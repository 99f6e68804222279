"""TensorBoard event files beside the metrics, for users who watch runs in TensorBoard."""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import pathlib
import socket
import sys
import time
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from jaxopt_bench.runs.records import MetricsLine

NO_SCALARS = ("step", "epoch", "split", "steps", "seconds")
"""The fields of a line that event files do not contain."""

_files = itertools.count()  # of this process, so that every file has a different name


class Events:
    """A run's event file. It is opened when the first lines are written, while the device makes steps.

    tensorboardX's `SummaryWriter` writes an event for each value, and sends each event to a thread through a pipe. Here
    an event holds all values of a line and is written directly.
    """

    def __init__(self, directory: pathlib.Path, step: int):
        """Stores the arguments; it writes nothing yet.

        Args:
          directory: the run's directory.
          step: the step from which the run continues. TensorBoard does not show the events of earlier files after this
            step.
        """
        self._folder, self._step = directory / "tensorboard", step

    @functools.cached_property
    def _writer(self) -> Any:
        self._folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_files)}"
        writer = _tensorboardx().RecordWriter(str(self._folder / name))
        protocol = _protocol()
        for content in (
            {"file_version": "brain.Event:2"},
            {"session_log": protocol.SessionLog(status=protocol.SessionLog.START)},
        ):
            event = protocol.Event(step=self._step + 1, wall_time=time.time(), **content)
            writer.write(event.SerializeToString())
        return writer

    def write(self, lines: Sequence[MetricsLine]) -> None:
        """Writes lines of the metrics as scalars with the names `<metric>/<split>`."""
        for line in lines:
            event = _protocol().Event(step=line["step"], wall_time=time.time())
            for name, value in line.items():
                if name not in NO_SCALARS and value is not None:
                    event.summary.value.add(tag=f"{name}/{line['split']}", simple_value=value)
            self._writer.write(event.SerializeToString())

    def flush(self) -> None:
        """Writes buffered events to the file, so that a killed process loses none of them."""
        if "_writer" in vars(self):
            self._writer.flush()

    def close(self) -> None:
        """Closes the file if it was opened."""
        if "_writer" in vars(self):
            self._writer.close()


def _protocol() -> ModuleType:
    """Returns the module that defines the messages in event files."""
    _tensorboardx()
    return importlib.import_module("tensorboardX.proto.event_pb2")


@functools.cache
def _tensorboardx() -> ModuleType:
    """Imports tensorboardX without PyTorch.

    If PyTorch is installed, tensorboardX imports it to support PyTorch tensors, which takes a second or more. This
    module passes only numbers to tensorboardX.
    """
    if "torch" in sys.modules:
        return importlib.import_module("tensorboardX")
    sys.modules["torch"] = None  # type: ignore[assignment]  # with this, `import torch` raises ImportError
    try:
        return importlib.import_module("tensorboardX")
    finally:
        del sys.modules["torch"]
