"""Reads and writes files safely: a crash leaves the old or the new file, and no file of the user is removed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from jaxopt_bench.errors import UserError

TEMPORARY = re.compile(r"\.jaxopt-bench-[0-9a-f]{16}\.tmp")
"""Names of files and folders that this program is writing, or was writing when it was killed."""
SYSTEM_FILES = re.compile(r"\.DS_Store|\._.*|\.nfs[0-9a-f]+|Thumbs\.db|desktop\.ini", re.IGNORECASE)
"""Names of files that operating systems and file servers create in any folder."""
CACHE = "JAXOPT_BENCH_CACHE_DIR"
"""Environment variable that names the cache folder; an empty value switches the cache off."""


def cache_folder() -> Path | None:
    """Returns the folder for files that can be computed again, which may not exist yet; None if it is switched off.

    Raises:
      RuntimeError: if the user has no home folder.
    """
    chosen = os.environ.get(CACHE)
    if chosen is not None:
        return Path(chosen) if chosen else None
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxopt_bench"


@contextlib.contextmanager
def replacing(path: Path, follow_links: bool = True) -> Iterator[tuple[IO[bytes], Path]]:
    """Opens a file for writing, so that `path` has its old content or all of the new content, even after a crash.

    A regular file, or a new one, is written under a temporary name beside `path`, and moved to `path` when it is on the
    disk; it keeps the permissions of the file that it replaces. If the block raises an exception, `path` stays
    unchanged. A named pipe, a device or an open file (`/dev/stdout`, `/dev/fd/63`) cannot be replaced and is written to
    directly.

    Args:
      path: the file.
      follow_links: whether to write to the target of a symbolic link, as for files that the user names. Files of runs
        and studies must not be written through links: in a folder from other people, links can point anywhere.

    Yields:
      The open file, and the path under which it is being written.

    Raises:
      UserError: if `path` is a symbolic link and links are not followed.
      OSError: if the file system reports an error; its `filename` is set.
    """
    with naming(path):
        if (descriptor := _open_descriptor(path)) is not None:
            with open(os.dup(descriptor), "wb") as file:
                yield file, path
            return
        if path.is_symlink() and not follow_links:
            raise UserError(f"{path} is a symbolic link. Expected a regular file: copy the link's target here.")
        mode = _mode(path)
        if mode is not None and not stat.S_ISREG(mode):
            with open(path, "wb") as file:
                yield file, path
            return
        path = path.resolve()
        temporary = path.with_name(temporary_name())
        with open(temporary, "xb") as file:
            try:
                _lock(file)  # until it is moved; see `remove_leftovers`
                yield file, temporary
                file.flush()
                os.fsync(file.fileno())
                if mode is not None:
                    with contextlib.suppress(PermissionError):  # a file system without permissions
                        os.fchmod(file.fileno(), stat.S_IMODE(mode))
                temporary.replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Adds a file's name to errors of the file system that have none, such as a full disk during writing."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def open_regular(path: Path) -> io.BufferedReader:
    """Opens a regular file for reading. A named pipe is rejected, because opening it could wait for a writer forever.

    Raises:
      UserError: if the path is a named pipe, a device, a socket or a directory.
      OSError: if it cannot be opened.
    """
    refused = UserError(f"{path} is not a regular file. Expected a file that can be read to its end.")
    try:
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    except IsADirectoryError as error:
        raise refused from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise refused
    return file


def read_regular(path: Path) -> bytes:
    """Returns the content of a regular file; see `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def sha256_of_file(path: Path) -> str:
    """Returns the SHA-256 sum of a regular file's content, as hexadecimal digits; see `open_regular`."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_regular(path: Path) -> None:
    """Removes a regular file, if there is one. Its name must be one that only this program gives to files.

    Raises:
      UserError: if the path is a symbolic link, a folder, or anything else that is not a regular file.
    """
    if os.path.lexists(path):
        if path.is_symlink() or not path.is_file():
            raise UserError(f"{path} is not a regular file, and this program needs that name. Move it away.")
        path.unlink()


def file_version(path: Path) -> tuple[int, int, int] | None:
    """Returns properties of a file that change if it is replaced by a new file; None if there is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def temporary_name() -> str:
    """Returns a new name for a file or folder that is being written; see `TEMPORARY`."""
    return f".jaxopt-bench-{secrets.token_hex(8)}.tmp"


def remove_leftovers(folder: Path) -> None:
    """Removes temporary files that `replacing` left in a folder when its process was killed.

    Files that a running process is writing are locked, and stay. Files with names of another form stay too.
    """
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError), open(entry.path, "rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yields a new folder in the system's temporary folder, which is removed at the end.

    It first removes folders that killed processes of this user left there: those that have a name of this program's
    form and a lock of this program that no process holds any more.
    """
    root = Path(tempfile.gettempdir())
    with contextlib.suppress(OSError):
        for entry in os.scandir(root):
            if _SCRATCH.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                _remove_abandoned(Path(entry.path))
    folder = root / f"jaxopt-bench-{secrets.token_hex(8)}"
    folder.mkdir(mode=0o700)
    (folder / "content").mkdir()
    with open(folder / "new", "x") as lock:
        _lock(lock)
        (folder / "new").rename(folder / _OWNED)  # so it is locked from the start
        try:
            yield folder / "content"
        finally:
            shutil.rmtree(folder, ignore_errors=True)


_SCRATCH = re.compile(r"jaxopt-bench-[0-9a-f]{16}")
_OWNED = "jaxopt-bench.lock"


def _remove_abandoned(folder: Path) -> None:
    """Removes a folder that `scratch_folder` made, unless a process holds it."""
    lock = folder / _OWNED
    with contextlib.suppress(OSError):
        if folder.stat().st_uid == os.getuid() and lock.is_file() and not lock.is_symlink():
            with lock.open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)  # it does not follow links


def _open_descriptor(path: Path) -> int | None:
    """Returns the file descriptor of a path such as `/dev/stdout` or `/dev/fd/63`; None for other paths."""
    names = {"/dev/stdout": 1, "/dev/stderr": 2}
    match = re.fullmatch(r"/dev/fd/(\d+)|/proc/self/fd/(\d+)", str(path))
    return int(match[1] or match[2]) if match else names.get(str(path))


def _mode(path: Path) -> int | None:
    """Returns the type and permissions of a file; None if there is none."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _lock(file: IO[Any]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP):  # a file system without locks
            raise
