"""Several processes that train together, each with devices of its own: what they have to agree on.

Each runs the same program and gets the same results from the devices. Its clock, its memory, the disks that it sees and
the signals that it receives are its own. Every function here waits until all processes have called it, and returns the
same in all.

What they exchange is JSON and the bytes of arrays, never pickles: another process cannot make this one run code.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
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
      find: returns JSON values, bytes or NumPy arrays, or lists and dictionaries of these.

    Raises:
      UserError: in all processes, if it is raised in the first.
    """
    if jax.process_count() == 1:
        return find()
    found: tuple[Any, str | None] = (None, None)
    if jax.process_index() == 0:
        try:
            found = find(), None
        except UserError as error:
            found = None, str(error)
    value, refused = _broadcast(list(found))
    if refused is not None:
        raise UserError(refused)
    return value


def check_same(what: Any) -> None:
    """Checks that all processes are to train the same.

    Args:
      what: JSON values.

    Raises:
      UserError: in all processes, if one differs.
    """
    if jax.process_count() == 1:
        return
    text = json.dumps(what)
    if _said_by_each(_broadcast(text) != text).any():
        raise UserError(
            "the processes were told to train different runs. Expected the same command, on the same data, in all."
        )


def check_count(count: int) -> None:
    """Checks that all processes were told the same number of processes, which is how many there are.

    Raises:
      UserError: in all processes, if one was told another.
    """
    counts = sorted({int(value) for value in _said_by_each(count)})
    if counts != [jax.process_count()]:
        told = " and ".join(map(str, counts))
        raise UserError(
            f"--process names {told} processes, and {jax.process_count()} have met. Expected the same number in each, "
            "and so many processes."
        )


def _broadcast(value: Any) -> Any:
    """Returns the first process's value: its bytes are sent as integers, which no sum with zeros rounds.

    They are sent in pieces, since each lies on every device for a moment.
    """
    words = np.frombuffer(_padded(packed(value)), np.uint32) if jax.process_index() == 0 else np.zeros(0)
    whole, rest = (agreed(number) for number in divmod(len(words), PIECE))
    words = words if len(words) else np.zeros(whole * PIECE + rest, np.uint32)
    pieces = (words[start : start + PIECE] for start in range(0, len(words), PIECE))
    return unpacked(b"".join(np.asarray(multihost_utils.broadcast_one_to_all(piece)).tobytes() for piece in pieces))


def packed(value: Any) -> bytes:
    """Returns a value as bytes: the length of a JSON text, the text, and then the bytes of arrays one after the other.

    Args:
      value: JSON values, bytes or NumPy arrays, or lists and dictionaries of these.

    Raises:
      TypeError: if there is anything else in it.
    """
    blobs: list[bytes] = []
    head = json.dumps(_described(value, blobs)).encode()
    return b"".join([struct.pack("<Q", len(head)), head, *blobs])


def unpacked(data: bytes) -> Any:
    """Returns the value that `packed` wrote; what follows it is ignored."""
    (length,) = struct.unpack_from("<Q", data)
    rest = memoryview(data)[8 + length :]

    def value_of(node: list[Any]) -> Any:
        nonlocal rest
        kind, content = node
        if kind == "list":
            return [value_of(each) for each in content]
        if kind == "dict":
            return {name: value_of(each) for name, each in content.items()}
        if kind == "bytes":
            taken, rest = bytes(rest[:content]), rest[content:]
            return taken
        if kind == "array":
            dtype, shape = jnp.dtype(content[0]), tuple(content[1])
            size = dtype.itemsize * math.prod(shape)
            taken, rest = bytes(rest[:size]), rest[size:]
            return np.frombuffer(taken, dtype).reshape(shape).copy()
        return content

    return value_of(json.loads(data[8 : 8 + length]))


def _described(value: Any, blobs: list[bytes]) -> list[Any]:
    """Returns what a value is, as JSON, and appends the bytes of its arrays."""
    if isinstance(value, (list, tuple)):
        return ["list", [_described(each, blobs) for each in value]]
    if isinstance(value, dict):
        return ["dict", {name: _described(each, blobs) for name, each in value.items()}]
    if isinstance(value, bytes):
        blobs.append(value)
        return ["bytes", len(value)]
    if isinstance(value, np.ndarray):
        blobs.append(value.tobytes())
        return ["array", [value.dtype.name, list(value.shape)]]
    return ["value", value]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _said_by_each(value: int) -> np.ndarray:
    return np.ravel(multihost_utils.process_allgather(np.array([value], np.uint32)))
