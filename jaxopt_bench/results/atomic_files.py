"""Writes several files of a folder atomically: a kill leaves all of the old or all of the new files.

The new files are written into a hidden folder beside the old ones. Renaming that folder to `PENDING` makes all of them
valid in a single step; then they are moved over the old files. A process that reads the folder in between, or after a
kill, finds the valid files with `current_path`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping

from jaxopt_bench.errors import UserError
from jaxopt_bench.files import TEMPORARY, naming, temporary_name

PENDING = ".recorded"
"""The folder of new files that are valid and have not been moved yet."""

Write = Callable[[pathlib.Path], object]
"""Writes the file at a path."""


def current_path(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the path of a file of a folder: the file in `PENDING` if it has not been moved yet."""
    pending = folder / PENDING / name
    return pending if os.path.lexists(pending) else folder / name


def pending_names(folder: pathlib.Path | str) -> list[str]:
    """Returns the names of the new files that are valid and have not been moved yet; usually none."""
    try:
        return sorted(os.listdir(os.path.join(folder, PENDING)))
    except (FileNotFoundError, NotADirectoryError):
        return []


def write_together(folder: pathlib.Path, files: Mapping[str, Write]) -> None:
    """Writes files so that all of them become valid at once; see the module. Other files of the folder stay.

    The incomplete work of a killed writer is completed or removed first. The caller must lock the folder; see
    `lock_folder`.

    Args:
      folder: an existing folder.
      files: the functions that write the files, by file name.

    Raises:
      UserError: if one of the paths is a symbolic link.
      OSError: if the file system reports an error; its `filename` is set. The old files stay valid.
    """
    for name in files:
        if (folder / name).is_symlink():
            raise UserError(
                f"{folder / name} is a symbolic link. Expected a regular file: copy the link's target here."
            )
    _move_pending(folder)
    for entry in os.scandir(folder):
        if TEMPORARY.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
            _remove_incomplete(pathlib.Path(entry.path), files)
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


def _remove_incomplete(folder: pathlib.Path, names: Iterable[str]) -> None:
    """Removes the files of a killed writer, and their folder if it is then empty. Other files stay."""
    for path in (folder / name for name in names):
        if path.is_file() and not path.is_symlink():
            path.unlink()
    with contextlib.suppress(OSError):  # it is not empty
        folder.rmdir()


def _move_pending(folder: pathlib.Path) -> None:
    """Moves the files in `PENDING` over the old ones. If it is killed, the next call continues."""
    if not os.path.isdir(folder / PENDING):
        return
    for name in pending_names(folder):
        os.replace(folder / PENDING / name, folder / name)
    _sync(folder)
    (folder / PENDING).rmdir()


@contextlib.contextmanager
def lock_folder(folder: pathlib.Path, wait: bool = True) -> Iterator[None]:
    """Locks a folder for this process. It creates no lock file, because results are kept under version control.

    If the file system cannot lock folders, nothing is locked.

    Args:
      folder: an existing folder.
      wait: whether to wait for another process that holds the lock.

    Raises:
      UserError: if another process holds the lock and `wait` is false.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise UserError(
                f"another process writes into {folder}. Wait for its end, or stop it, and use this command again."
            ) from error
        except OSError:  # the file system cannot lock folders
            pass
        yield
    finally:
        os.close(descriptor)


def _sync(path: pathlib.Path) -> None:
    """Waits until a file, or the list of files of a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
