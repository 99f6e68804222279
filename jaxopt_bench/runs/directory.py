"""Where a run lives on disk, and how files are written there so that a crash leaves the old one or the new one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import pathlib
import re
import socket
import stat
import time
import types
import typing
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.files import read_regular, remove_leftovers, replacing


class LockedError(UserError):
    """Another process holds a folder."""


def choose_directory(experiment: Experiment, runs_dir: pathlib.Path, fresh: bool = False) -> pathlib.Path:
    """Returns `<runs_dir>/<name>/<digest>`, or `<digest>.N` where `fresh` runs were begun beside it.

    Args:
      experiment: what is run.
      runs_dir: the folder of all runs; one with `..` in it is resolved, since runs name each other by relative paths.
      fresh: start a new run beside the existing ones, under a number that no file or folder has; otherwise return the
        run that was started last.
    """
    runs_dir = runs_dir.resolve() if ".." in runs_dir.parts else runs_dir
    first = runs_dir / experiment.name / experiment.digest
    taken = _numbers(first)
    if fresh:
        return _numbered(first, max(taken, default=0) + 1)
    return _numbered(first, max((n for n in taken if _is_run(_numbered(first, n))), default=1))


def read_json(path: pathlib.Path) -> Any:
    """Returns a JSON file's value.

    Raises:
      UserError: if the file is missing, is not a regular file, or is not JSON.
    """
    try:
        return parse_json(read_regular(path).decode())
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; {path.parent} is not the folder of a run.") from error
    except (ValueError, RecursionError) as error:  # also of text that is not UTF-8, too long numbers, too deep lists
        raise UserError(f"{path} is damaged: it is not JSON ({error}).") from error


def parse_json(text: str) -> Any:
    """Returns the value of a JSON text. Refuses what JSON cannot write again, and what no terminal should show.

    These are NaN, numbers beyond the range of a float, integers of more than 64 bits, halves of surrogate pairs, and
    control characters, which could give a terminal commands.

    Raises:
      ValueError, RecursionError: if the text is not JSON, or has one of those.
    """
    value = json.loads(text, parse_constant=_refuse, parse_int=_integer, parse_float=_float)
    if "\\u" in text or _CONTROL.search(text):
        shown = json.dumps(value, ensure_ascii=False)
        shown.encode()
        if found := _ESCAPED.search(shown) or _CONTROL.search(shown):
            raise ValueError(f"it has the control character {found.group()!r}")
    return value


_CONTROL = re.compile(r"[\x7f-\x9f]")
_ESCAPED = re.compile(r"(?<!\\)(?:\\\\)*\\u00[01][0-9a-f]")  # an odd number of backslashes


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number in JSON")


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {shortened(digits)} is beyond the range of a float")
    return value


def _integer(digits: str) -> int:
    value = int(digits)
    if value.bit_length() > 64:
        raise ValueError(f"an integer has {len(digits)} digits")
    return value


NUMBER: Any = int | float
_WORDS = {str: "a text", int: "an integer", float: "a finite number", bool: "true or false", dict: "an object",
          list: "a list", types.NoneType: "null"}  # fmt: skip


def check_object(where: str, value: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a JSON value that must be an object with some fields, each of its type; it may have others.

    Args:
      where: what the value is of, for messages.
      value: as `json` reads it.
      fields: their types, such as `str`, or unions of types.

    Raises:
      UserError: naming the first field that is missing or of another type.
    """
    if not isinstance(value, dict):
        raise UserError(f"{where} is damaged: {shortened(value)} is not an object.")
    for name, kind in fields.items():
        if name not in value:
            raise UserError(f"{where} is damaged: the field {name!r} is missing.")
        if not _is_a(value[name], kind):
            kinds = typing.get_args(kind) or (kind,)
            accepted = " or ".join(_WORDS[k] for k in kinds if not (k is int and float in kinds))
            raise UserError(f"{where} is damaged: {name} is {shortened(value[name])}; accepted: {accepted}.")
    return value


def _is_a(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, kind) and not (isinstance(value, float) and not math.isfinite(value))


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file whole or not at all.

    Raises:
      UserError: if the path is a symbolic link.
    """
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with replacing(path, follow_links=False) as (file, _):
        file.write(text.encode())


@contextlib.contextmanager
def locked(directory: pathlib.Path, wait: bool = False) -> Iterator[None]:
    """Holds a folder for this process; the operating system releases it when the process ends, however it ends.

    Temporary files that killed processes left in the folder are removed.

    Args:
      directory: the folder, such as a run's.
      wait: whether to wait for another process that holds it. After two seconds a warning says which one that is.

    Raises:
      LockedError: if another process holds the folder and `wait` is false; it names that process.
      UserError: if `lock` in the folder was not made by this program.
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


WARN_AFTER = 2.0  # seconds of waiting for a lock until it is said
_POLL = 0.05  # seconds between two tries
_HOLDER = re.compile(r"(process [^\n]*)?")
_MOST_OF_LOCK = 1000  # characters, more than a lock of ours has


def _open_lock(path: str, flags: int) -> int:
    """Opens a lock for reading and writing, through no link, without waiting for the other end of a named pipe."""
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
    """Takes a lock; see `locked`."""
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


def _numbers(first: pathlib.Path) -> list[int]:
    """Returns the numbers of the files and folders that are named as runs of one experiment."""
    form = re.compile(re.escape(first.name) + r"(?:\.([1-9][0-9]{0,8}))?")
    names = os.listdir(first.parent) if first.parent.is_dir() else []
    return [int(match[1] or 1) for name in names if (match := form.fullmatch(name))]


def _is_run(directory: pathlib.Path) -> bool:
    """Returns whether a folder is a run's, which it also is as long as it is empty."""
    if not directory.is_dir():
        return False
    names = os.listdir(directory)
    return not names or any(name in names for name in ("config.json", "lock"))


def _numbered(first: pathlib.Path, number: int) -> pathlib.Path:
    return first if number == 1 else first.with_name(f"{first.name}.{number}")
