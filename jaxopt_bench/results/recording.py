"""Writing several files of a folder together: a kill at any instant leaves all of the old ones, or all of the new ones.

The new files are written into a hidden folder beside the old ones. Renaming that folder to `PENDING` is the one step
that makes them count; then they are moved over the old ones. Whoever reads the folder in between, or after a kill,
finds them with `counting`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping

from jaxopt_bench.errors import UserError
from jaxopt_bench.files import TEMPORARY, naming, temporary_name

PENDING = ".recorded"
"""The folder of new files that count and have not been moved yet."""

Write = Callable[[pathlib.Path], object]
"""Writes the file of a path."""


def counting(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the path of a folder's file: the one in `PENDING` if it has not been moved yet."""
    pending = folder / PENDING / name
    return pending if os.path.lexists(pending) else folder / name


def pending_names(folder: pathlib.Path | str) -> list[str]:
    """Returns the names of the new files that count and have not been moved yet; usually none."""
    try:
        return sorted(os.listdir(os.path.join(folder, PENDING)))
    except (FileNotFoundError, NotADirectoryError):
        return []


def write_together(folder: pathlib.Path, files: Mapping[str, Write]) -> None:
    """Writes files so that all of them count at once, see the module. Other files of the folder stay.

    What a killed writer left is completed or removed first. The caller holds the folder, see `held`.

    Args:
      folder: must exist.
      files: what writes each file, by its name.

    Raises:
      UserError: if one of the paths is a symbolic link.
      OSError: if the file system refuses; its `filename` is set. The old files count.
    """
    for name in files:
        if (folder / name).is_symlink():
            raise UserError(
                f"{folder / name} is a symbolic link. Expected a regular file: copy the link's target here."
            )
    _move_pending(folder)
    for entry in os.scandir(folder):
        if TEMPORARY.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
    new = folder / temporary_name()
    new.mkdir()
    try:
        for name, write in files.items():
            with naming(new / name):
                write(new / name)
                _sync(new / name)
                if (folder / name).exists():
                    shutil.copymode(folder / name, new / name)
        _sync(new)
        new.rename(folder / PENDING)
    except Exception:
        shutil.rmtree(new, ignore_errors=True)
        raise
    _sync(folder)
    _move_pending(folder)


def _move_pending(folder: pathlib.Path) -> None:
    """Moves the files in `PENDING` over the old ones. If it is killed, the next call continues."""
    if not os.path.isdir(folder / PENDING):
        return
    for name in pending_names(folder):
        os.replace(folder / PENDING / name, folder / name)
    _sync(folder)
    (folder / PENDING).rmdir()


@contextlib.contextmanager
def held(folder: pathlib.Path, wait: bool = True) -> Iterator[None]:
    """Holds a folder for this process, without a file in it: a record is kept under version control.

    Args:
      folder: must exist.
      wait: whether to wait for another process that holds it.

    Raises:
      UserError: if another process holds it and `wait` is false.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise UserError(
                f"another process writes into {folder}. Wait for its end, or stop it, and use this command again."
            ) from error
        except OSError:  # a file system that cannot lock folders
            pass
        yield
    finally:
        os.close(descriptor)


def _sync(path: pathlib.Path) -> None:
    """Waits until a file, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
