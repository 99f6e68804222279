"""Parses the arguments of a command into its flags."""

from __future__ import annotations

import functools
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from jaxopt_bench.cli.command import Command
from jaxopt_bench.cli.flag_help import help_rules
from jaxopt_bench.errors import UserError

RENAMED = {"--runs-dir": "--out (run, sweep), or the path of the run (show)"}
"""The new names of flags, by their earlier names. An entry stays for one release."""


def bind(function: Callable[[Any], int], flags: type, name: str, words: Sequence[str], **options: Any) -> Command:
    """Parses the arguments into flags and returns the command with these flags.

    Args:
      function: the function that runs the command; it takes the flags and returns an exit code.
      flags: a dataclass.
      name: the name of the command, for its help.
      words: the arguments after the command.
      **options: options of `tyro.cli`.

    Raises:
      SystemExit: after printing help (0), or for flags that cannot be parsed (2).
    """
    return functools.partial(function, parse_flags(flags, name, words, **options))


def parse_flags(flags: type, name: str, words: Sequence[str], **options: Any) -> Any:
    """Returns the flags that the arguments set; see `bind`.

    Raises:
      UserError: for the earlier name of a flag.
    """
    for word in words:
        if (flag := word.partition("=")[0].replace("_", "-")) in RENAMED:
            raise UserError(f"{flag} was renamed. Expected: {RENAMED[flag]}.")
    return tyro.cli(flags, prog=f"jaxopt-bench {name}", args=list(words), registry=help_rules(), **options)


def check_at_least_one(flag: str, value: int) -> None:
    """Raises an error if the value of a flag is less than 1."""
    if value < 1:
        raise UserError(f"{flag} is {value}. Expected: an integer >= 1.")


def parse_index_and_count(flag: str, value: str, also: str) -> tuple[int, int]:
    """Returns I and N of a flag's value of the form I/N.

    Args:
      flag: the name of the flag.
      value: the value of the flag.
      also: the end of the error message, such as "as 0/4".

    Raises:
      UserError: if the value has another form, or I is not below N.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", value)
    if match is None or not int(match[1]) < int(match[2]):
        raise UserError(f"{flag} is {value!r}. Expected: I/N with 0 <= I < N, {also}.")
    return int(match[1]), int(match[2])


def check_folder(flag: str, path: pathlib.Path) -> None:
    """Raises an error if the path of a flag, or the nearest existing folder above it, is not a folder."""
    for parent in (path, *path.parents):
        if parent.exists():
            if not parent.is_dir():
                raise UserError(f"{flag} is {path}, but {parent} is not a folder. Expected: an existing or new folder.")
            return
