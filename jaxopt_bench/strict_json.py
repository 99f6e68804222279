"""Reads JSON files strictly and writes them atomically. Values that were read can be written and shown safely."""

from __future__ import annotations

import hashlib
import json
import math
import pathlib
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.files import read_regular, replacing

LONGEST_LINE = 240
"""The largest number of characters of a list or an object on one line: enough for a run in a study's file."""


def read_json(path: pathlib.Path) -> Any:
    """Returns the value in a JSON file.

    Raises:
      UserError: if the file is missing, is not a regular file, or is not JSON.
    """
    try:
        return parse_json(read_regular(path).decode())
    except FileNotFoundError as error:
        raise UserError(
            f"{path} does not exist. Expected a complete folder that jaxopt-bench wrote. Check the path, or restore "
            "the file."
        ) from error
    except (ValueError, RecursionError) as error:  # also for text that is not UTF-8, too long numbers, too deep lists
        raise UserError(f"{path} is damaged: it is not JSON ({error}).") from error


def parse_json(text: str) -> Any:
    """Returns the value of a JSON text. Rejects values that cannot be written again or shown on a terminal.

    These are NaN, numbers beyond the range of a float, integers of more than 64 bits, single surrogates, and control
    characters, which could send commands to a terminal.

    Raises:
      ValueError, RecursionError: if the text is not JSON, or contains one of those.
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


def sha256_of_json(value: object) -> str:
    """Returns the SHA-256 sum of a JSON value, as hexadecimal digits. The order of an object's fields has no effect."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def finite_or_none(value: float) -> float | None:
    """Returns a number, or None if it is not finite, since JSON cannot represent it."""
    return value if math.isfinite(value) else None


NUMBER: Any = int | float
_WORDS = {str: "a text", int: "an integer", float: "a finite number", bool: "true or false", dict: "an object",
          list: "a list", types.NoneType: "null"}  # fmt: skip


def check_object(where: str, value: object, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a JSON value that must be an object with the given fields and types; it may have other fields.

    Args:
      where: the source of the value, for messages.
      value: the value as `json` reads it.
      fields: the types of the required fields, such as `str`, or unions of types.

    Raises:
      UserError: if a field is missing or has another type; the message names the first such field.
    """
    if not isinstance(value, dict):
        raise UserError(f"{where} is damaged: {shortened(value)} is not an object.")
    for name, kind in fields.items():
        if name not in value:
            raise UserError(f"{where} is damaged: the field {name!r} is missing.")
        if not _is_a(value[name], kind):
            kinds = typing.get_args(kind) or (kind,)
            accepted = " or ".join(_WORDS[k] for k in kinds if not (k is int and float in kinds))
            raise UserError(f"{where} is damaged: {name} is {shortened(value[name])}. Expected: {accepted}.")
    return value


def _is_a(value: object, kind: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, kind) and not (isinstance(value, float) and not math.isfinite(value))


def json_text(value: object) -> str:
    """Returns a value as JSON text that ends with a newline. The value must not contain numbers that are not finite.

    A list or object without nested lists and objects is written on one line of at most `LONGEST_LINE` characters, if it
    fits.
    """
    return _indented(value, "") + "\n"


def _indented(value: object, indent: str) -> str:
    """Returns JSON text; all of its lines except the first one begin with `indent`."""
    if not isinstance(value, dict | list | tuple):
        return json.dumps(value, allow_nan=False)
    inner = indent + "  "
    entries = value.values() if isinstance(value, dict) else value
    if not any(isinstance(entry, dict | list | tuple) for entry in entries):
        line = json.dumps(value, allow_nan=False)
        if len(line) <= LONGEST_LINE:
            return line
    parts = [_indented(entry, inner) for entry in entries]
    if isinstance(value, dict):
        parts = [f"{json.dumps(str(name))}: {part}" for name, part in zip(value, parts, strict=True)]
    begin, end = "{}" if isinstance(value, dict) else "[]"
    return f"{begin}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{end}"


def write_json(path: pathlib.Path, value: object) -> None:
    """Writes a JSON file atomically.

    Raises:
      UserError: if the path is a symbolic link.
    """
    with replacing(path, follow_links=False) as (file, _):
        file.write(json_text(value).encode())
