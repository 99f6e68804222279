"""The directories of runs: their names, and locks that reserve them for one process."""

from __future__ import annotations

import collections
import contextlib
import errno
import fcntl
import os
import pathlib
import re
import socket
import stat
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.files import remove_leftovers


class LockedError(UserError):
    """Another process holds a folder."""


def choose_directories(
    experiments: Sequence[Experiment], runs_dir: pathlib.Path, fresh: bool = False
) -> list[pathlib.Path]:
    """Returns the run directory of each experiment: `<runs_dir>/<name>/<digest>`, or `<digest>.N` for a repetition.

    Repetitions are made by `fresh`. Each folder `<runs_dir>/<name>` is read only once, even if several experiments have
    this name.

    Args:
      experiments: the experiments of the runs.
      runs_dir: the folder of all runs. A path with `..` in it is resolved, since runs refer to each other by relative
        paths.
      fresh: whether to return a new directory, with a number that no file or folder has yet. Otherwise the existing
        run with the highest number is returned, or `<digest>` if there is none.
    """
    runs_dir = runs_dir.resolve() if ".." in runs_dir.parts else runs_dir
    numbers = {name: _numbers(runs_dir / name) for name in {experiment.name for experiment in experiments}}
    directories = []
    for experiment in experiments:
        first = runs_dir / experiment.name / experiment.digest
        taken = numbers[experiment.name][experiment.digest]
        begun = [] if fresh else [number for number in taken if _is_run(_numbered(first, number))]
        number = max(taken, default=0) + 1 if fresh else max(begun, default=1)
        directories.append(_numbered(first, number))
    return directories


@contextlib.contextmanager
def lock_directory(directory: pathlib.Path, wait: bool = False) -> Iterator[None]:
    """Locks a folder for this process. The operating system releases the lock when the process ends for any reason.

    Temporary files that killed processes left in the folder are removed.

    Args:
      directory: the folder, such as a run's directory.
      wait: whether to wait for another process that holds the lock. After two seconds a warning names that process.

    Raises:
      LockedError: if another process holds the lock and `wait` is false; the message names that process.
      UserError: if the file `lock` in the folder was not made by this program.
    """
    path = directory / "lock"
    with open(path, "r+", encoding="utf-8", errors="replace", opener=_open_lock) as file:
        if not _HOLDER.fullmatch(file.read(_MOST_OF_LOCK)):
            raise _not_ours(path)
        _acquire(file, directory, wait)
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        file.flush()
        remove_leftovers(directory)
        yield


WARN_AFTER = 2.0  # seconds of waiting for a lock before a warning
_POLL = 0.05  # seconds between two tries
_HOLDER = re.compile(r"(process [^\n]*)?")
_MOST_OF_LOCK = 1000  # characters, more than a lock file of this program has


def _open_lock(path: str, flags: int) -> int:
    """Opens a lock file for reading and writing. It follows no link, and does not wait for a reader of a named pipe."""
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise _not_ours(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_ours(path)
    return descriptor


def _not_ours(path: str | pathlib.Path) -> UserError:
    return UserError(f"{path} was not made by this program, which needs that name. Move it away.")


def _acquire(file: TextIO, directory: pathlib.Path, wait: bool) -> None:
    """Acquires a lock; see `lock_directory`."""
    began, warned = time.monotonic(), False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read(_MOST_OF_LOCK).strip() or "another process"
            if not wait:
                raise LockedError(f"{directory} is in use by {holder}. Wait until it ends, or stop it.") from error
        if not warned and time.monotonic() - began > WARN_AFTER:
            warned = True
            warnings.warn(
                f"waiting for {directory}, which is in use by {holder}. If that process is suspended, let it continue "
                "(kill -CONT) or end it (kill).",
                stacklevel=2,
            )
        time.sleep(_POLL)


_RUN = re.compile(r"(.+?)(?:\.([1-9][0-9]{0,8}))?", re.DOTALL)


def _numbers(folder: pathlib.Path) -> Mapping[str, list[int]]:
    """Returns the numbers of the files and folders that have names of runs, by digest."""
    found = collections.defaultdict(list)
    for name in os.listdir(folder) if folder.is_dir() else []:
        if match := _RUN.fullmatch(name):
            found[match[1]].append(int(match[2] or 1))
    return found


def _is_run(directory: pathlib.Path) -> bool:
    """Returns whether a folder is a run directory. An empty folder counts as one."""
    if not directory.is_dir():
        return False
    names = os.listdir(directory)
    return not names or any(name in names for name in ("config.json", "lock"))


def _numbered(first: pathlib.Path, number: int) -> pathlib.Path:
    return first if number == 1 else first.with_name(f"{first.name}.{number}")
