"""Where a run lives on disk, and how files are written there so that a crash leaves the old one or the new one."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import pathlib
import re
import socket
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.files import remove_leftovers, replacing


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
        return parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; {path.parent} is not the folder of a run.") from error
    except (ValueError, RecursionError) as error:  # also of text that is not UTF-8, too long numbers, too deep lists
        raise UserError(f"{path} is damaged: it is not JSON ({error}).") from error


def parse_json(text: str) -> Any:
    """Returns what a text is as JSON, but for what nobody could write again or show.

    That is NaN, integers of more than 64 bits, halves of surrogate pairs, and control characters, with which a terminal
    could be told to do something.

    Raises:
      ValueError, RecursionError: where it is none, or has one of those.
    """
    value = json.loads(text, parse_constant=_refuse, parse_int=_integer)
    if "\\u" in text or _CONTROL.search(text):
        shown = json.dumps(value, ensure_ascii=False)
        shown.encode()
        if found := _ESCAPED.search(shown) or _CONTROL.search(shown):
            raise ValueError(f"it has the control character {found.group()!r}")
    return value


_CONTROL = re.compile(r"[\x7f-\x9f]")
_ESCAPED = re.compile(r"(?<!\\)(?:\\\\)*\\u00[01][0-9a-f]")  # an odd number of backslashes


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


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
        raise UserError(f"{where} is damaged: {_shortened(value)} is no object.")
    for name, kind in fields.items():
        if name not in value:
            raise UserError(f"{where} is damaged: the field {name!r} is missing.")
        if not _is_a(value[name], kind):
            kinds = typing.get_args(kind) or (kind,)
            accepted = " or ".join(_WORDS[k] for k in kinds if not (k is int and float in kinds))
            raise UserError(f"{where} is damaged: {name} is {_shortened(value[name])}; accepted: {accepted}.")
    return value


def _is_a(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, kind) and not (isinstance(value, float) and not math.isfinite(value))


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file whole or not at all."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with replacing(path) as (file, _):
        file.write(text.encode())


@contextlib.contextmanager
def locked(directory: pathlib.Path, wait: bool = False) -> Iterator[None]:
    """Holds a folder for this process; the operating system releases it when the process ends, however it ends.

    Half-written files that killed processes have left in it are removed.

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
        remove_leftovers(directory)
        yield


def _count(first: pathlib.Path) -> int:
    """Returns a number that no run beside `first` exceeds."""
    suffixes = (p.name.removeprefix(first.name + ".") for p in first.parent.glob(f"{first.name}.*"))
    return max((int(suffix) for suffix in suffixes if suffix.isdecimal()), default=1)


def _numbered(first: pathlib.Path, number: int) -> pathlib.Path:
    return first if number == 1 else first.with_name(f"{first.name}.{number}")
