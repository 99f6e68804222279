"""Where a run lives on disk, and how files are written there so that a crash leaves the old one or the new one."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.files import replacing


class LockedError(UserError):
    """Another process holds a folder."""


def choose_directory(experiment: Experiment, runs_dir: pathlib.Path, fresh: bool = False) -> pathlib.Path:
    """Returns `<runs_dir>/<name>/<digest>`, or `<digest>.N` where `fresh` runs were begun beside it.

    Args:
      experiment: what is run.
      runs_dir: the folder of all runs; one with `..` in it is resolved, since runs name each other by relative paths.
      fresh: begin another run beside those there are; else continue the one begun last.
    """
    runs_dir = runs_dir.resolve() if ".." in runs_dir.parts else runs_dir
    first = runs_dir / experiment.name / experiment.digest
    latest = max((n for n in range(1, 1 + _count(first)) if _numbered(first, n).exists()), default=0)
    return _numbered(first, latest + 1 if fresh else max(latest, 1))


def read_json(path: pathlib.Path) -> Any:
    """Returns a JSON file's value.

    Raises:
      UserError: where the file is missing or is not JSON.
    """
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text)
        if "\\ud" in text.lower():  # half of a surrogate pair is JSON, and a text that cannot be written anywhere
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; {path.parent} is not the folder of a run.") from error
    except (ValueError, RecursionError) as error:  # also of text that is not UTF-8, too long numbers, too deep lists
        raise UserError(f"{path} is damaged: it is not JSON ({error}).") from error


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file whole or not at all."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with replacing(path) as (file, _):
        file.write(text.encode())


@contextlib.contextmanager
def locked(directory: pathlib.Path, wait: bool = False) -> Iterator[None]:
    """Holds a folder for this process; the operating system releases it when the process ends, however it ends.

    Args:
      directory: the folder, as of a run.
      wait: whether to wait for another process that holds it.

    Raises:
      LockedError: where another process holds it and there is no waiting, naming that process.
    """
    with open(directory / "lock", "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise LockedError(f"{directory} is being trained by {holder}; wait for it, or use --fresh.") from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def _count(first: pathlib.Path) -> int:
    """Returns a number that no run beside `first` exceeds."""
    suffixes = (p.name.removeprefix(first.name + ".") for p in first.parent.glob(f"{first.name}.*"))
    return max((int(suffix) for suffix in suffixes if suffix.isdecimal()), default=1)


def _numbered(first: pathlib.Path, number: int) -> pathlib.Path:
    return first if number == 1 else first.with_name(f"{first.name}.{number}")
