"""The stored inputs and float64 results that a backend is compared with; `tests/doctor/oracle.py` writes them."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

FILE = pathlib.Path(__file__).parent / "expected.npz"


class Expected(NamedTuple):
    """The inputs of an item, in the types that training uses, and its expected results, each by name."""

    inputs: Mapping[str, np.ndarray]
    results: Mapping[str, np.ndarray]


def load_expected() -> dict[str, Expected]:
    """Returns the stored inputs and results, by the names of the items."""
    found: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    with np.load(FILE) as stored:
        for path, array in stored.items():
            item, kind, name = path.split("/")
            found.setdefault(item, {}).setdefault(kind, {})[name] = array
    return {item: Expected(**kinds) for item, kinds in found.items()}


def save_expected(items: Mapping[str, Expected]) -> None:
    """Writes the file that `load_expected` reads."""
    arrays = {
        f"{item}/{kind}/{name}": array
        for item, parts in items.items()
        for kind, named in parts._asdict().items()
        for name, array in named.items()
    }
    np.savez_compressed(FILE, **arrays)
