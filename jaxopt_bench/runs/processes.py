"""Several processes that train together, each with devices of its own: what they have to agree on.

Each runs the same program and is told the same by the devices. Its clock, its memory, the disks that it sees and the
signals that it is sent are its own. Every function here waits until all have called it, and tells all the same.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxopt_bench.errors import UserError

T = TypeVar("T")


PIECE = 1 << 24  # words that are sent at once


def agreed(value: int) -> int:
    """Returns what the first process says."""
    return value if jax.process_count() == 1 else int(_said_by_each(value)[0])


def least(value: int) -> int:
    """Returns the least that any process says."""
    return value if jax.process_count() == 1 else int(_said_by_each(value).min())


def heard_by_any(signal: int | None) -> int | None:
    """Returns the signal that this process was sent, or another; the largest number where there are several."""
    return signal if jax.process_count() == 1 else int(_said_by_each(signal or 0).max()) or None


def found_by_first(find: Callable[[], T]) -> T:
    """Returns what the first process finds; the others do not look.

    Args:
      find: returns what `pickle` can write, such as NumPy arrays.

    Raises:
      UserError: in all processes, where it is raised in the first.
    """
    if jax.process_count() == 1:
        return find()
    found: tuple[Any, str | None] = (None, None)
    if jax.process_index() == 0:
        try:
            found = find(), None
        except UserError as error:
            found = None, str(error)
    value, refused = _broadcast(found)
    if refused is not None:
        raise UserError(refused)
    return value


def check_same(what: Any) -> None:
    """Checks that all processes are to train the same.

    Raises:
      UserError: in all processes, where one differs.
    """
    if jax.process_count() > 1 and _said_by_each(_broadcast(what) != what).any():
        raise UserError(
            "the processes were told to train different runs; accepted: the same command, on the same data, for all."
        )


def _broadcast(value: Any) -> Any:
    """Returns the first process's value: its bytes are sent as integers, which no sum with zeros rounds.

    They are sent in pieces, since each lies on every device for a moment.
    """
    words = np.frombuffer(_padded(pickle.dumps(value)), np.uint32) if jax.process_index() == 0 else np.zeros(0)
    whole, rest = (agreed(number) for number in divmod(len(words), PIECE))
    words = words if len(words) else np.zeros(whole * PIECE + rest, np.uint32)
    pieces = (words[start : start + PIECE] for start in range(0, len(words), PIECE))
    return pickle.loads(b"".join(np.asarray(multihost_utils.broadcast_one_to_all(piece)).tobytes() for piece in pieces))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)  # which `pickle` does not read


def _said_by_each(value: int) -> np.ndarray:
    return np.ravel(multihost_utils.process_allgather(np.array([value], np.uint32)))
