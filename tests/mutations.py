"""Random damage to texts and JSON values. It must not be misread or crash a program."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63) - 1, 10**30, 0.5, -0.5, 1e-320, 1e308, "", "x", "0", "nan",
    "a/b", "../..", "/etc/passwd", "\0", "\udcff", "<b>", "🦉", "x" * 10_000, [], [None], [[]], {}, {"": None},
    {"name": "sgd"},
)  # fmt: skip
TOKENS = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"{", b"}", b"[" * 2000, b'"', b"\\ud800", b"\xff", b"\0", b"\n",
          b",", b"9" * 5000, b"\xef\xbb\xbf", b'"step": ', b"null")  # fmt: skip


def mutated(value: Any, dice: random.Random) -> Any:
    """Returns a JSON value in which one to three values were replaced, removed, added or exchanged."""
    changed = copy.deepcopy(value)
    for _ in range(dice.randint(1, 3)):
        places = _places(changed)
        if not places:
            return dice.choice(VALUES)
        parent, key = dice.choice(places)
        how = dice.choice(("replace", "replace", "remove", "add", "exchange"))
        if how == "replace":
            parent[key] = copy.deepcopy(dice.choice(VALUES))
        elif how == "remove":
            del parent[key]
        elif how == "exchange":
            other, at = dice.choice(places)
            parent[key] = copy.deepcopy(other[at])
        elif isinstance(parent, list):
            parent.insert(key, copy.deepcopy(dice.choice(VALUES)))
        else:
            parent[f"{key}{dice.choice(('', 's', '2', '.x'))}"] = copy.deepcopy(dice.choice(VALUES))
    return changed


def scrambled(content: bytes, dice: random.Random) -> bytes:
    """Returns bytes some of which were flipped, cut off, repeated, or replaced by tokens that break parsers."""
    made = bytearray(content)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(made) + 1)
        how = dice.choice(("flip", "cut", "drop", "repeat", "token", "token"))
        if how == "flip" and at < len(made):
            made[at] ^= 1 << dice.randrange(8)
        elif how == "cut":
            del made[at:]
        elif how == "drop":
            del made[at : at + dice.randint(1, 20)]
        elif how == "repeat":
            made[at:at] = made[at : at + dice.randint(1, 200)]
        elif how == "token":
            made[at : at + dice.choice((0, 4))] = dice.choice(TOKENS)
    return bytes(made)


def damaged_json(content: bytes, dice: random.Random) -> bytes:
    """Returns a JSON file's bytes, changed as a value or as bytes."""
    if dice.random() < 0.3:
        return scrambled(content, dice)
    return json.dumps(mutated(json.loads(content), dice)).encode()


def damaged_lines(content: bytes, dice: random.Random) -> bytes:
    """Returns the bytes of a file of JSON lines, changed as values or as bytes."""
    if dice.random() < 0.3:
        return scrambled(content, dice)
    lines = content.splitlines()
    at = dice.randrange(len(lines))
    lines[at] = json.dumps(mutated(json.loads(lines[at]), dice)).encode()
    if dice.random() < 0.2:
        del lines[dice.randrange(len(lines))]
    return b"\n".join(lines) + b"\n"


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Returns every container within a JSON value, with each of its keys."""
    if isinstance(value, dict):
        keys: list[Any] = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    else:
        return []
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]
