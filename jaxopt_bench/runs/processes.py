"""Communication between several processes that train together, each with its own devices.

Each process runs the same program and gets the same results from the devices. Each has its own clock, memory, disks and
signals. Every function here, except `encode_message` and `decode_message`, waits until all processes have called it,
and returns the same result in all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from jaxopt_bench.errors import UserError
from jaxopt_bench.strict_json import sha256_of_json

T = TypeVar("T")

CHUNK_WORDS = 1 << 24  # 32-bit words sent at once


def broadcast_from_first_process(value: int) -> int:
    """Returns the value of the first process. With several processes, it must be from 0 to 2**32 - 1."""
    return value if jax.process_count() == 1 else int(_all_gather(value)[0])


def min_over_processes(value: int) -> int:
    """Returns the smallest value of all processes. With several processes, each must be from 0 to 2**32 - 1."""
    return value if jax.process_count() == 1 else int(_all_gather(value).min())


def max_signal_over_processes(signal: int | None) -> int | None:
    """Returns a signal that some process received, the one with the largest number; None if no process received one."""
    return signal if jax.process_count() == 1 else int(_all_gather(signal or 0).max()) or None


def run_on_first_process(find: Callable[[], T]) -> T:
    """Returns the result of `find` in the first process; the other processes do not call it.

    Args:
      find: returns None, booleans, numbers, texts, bytes, NumPy arrays, or lists and dictionaries of these.

    Raises:
      UserError: in all processes, if it is raised in the first one.
    """
    if jax.process_count() == 1:
        return find()
    message = b""
    if jax.process_index() == 0:
        try:
            message = encode_message({"found": find()})
        except UserError as error:
            message = encode_message({"error": str(error)})
    received = decode_message(_broadcast(message))
    if "error" in received:
        raise UserError(received["error"])
    return received["found"]


def check_same(what: Any) -> None:
    """Checks that all processes have to train the same runs.

    Args:
      what: JSON values that describe the runs and how they are trained.

    Raises:
      UserError: in all processes, if the values of one differ.
    """
    if jax.process_count() == 1:
        return
    digest = bytes.fromhex(sha256_of_json(what))
    said = multihost_utils.process_allgather(np.frombuffer(digest, np.uint32))
    if (said != said[0]).any():
        raise UserError(
            "The processes were told to train different runs. Expected the same command and the same data for all."
        )


def encode_message(value: Any) -> bytes:
    """Returns a value as bytes: a JSON header, preceded by its length, then the contents of all bytes and arrays.

    Decoding runs no code, so the sender need not be trusted. See `run_on_first_process` for the accepted values.
    """
    contents: list[bytes] = []

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {"dict": [[name, plain(item)] for name, item in value.items()]}
        if isinstance(value, list):
            return [plain(item) for item in value]
        if isinstance(value, bytes):
            contents.append(value)
            return {"bytes": len(value)}
        if isinstance(value, (np.ndarray, np.generic)):
            if value.dtype.hasobject:
                raise TypeError("arrays of Python objects cannot be sent")
            contents.append(value.tobytes())
            return {"bytes": value.nbytes, "dtype": value.dtype.name, "shape": value.shape}
        return value

    header = json.dumps(plain(value)).encode()
    return b"".join([len(header).to_bytes(8, "little"), header, *contents])


def decode_message(message: bytes) -> Any:
    """Returns the value that `encode_message` converted into these bytes; padding after them is ignored."""
    start = 8 + int.from_bytes(message[:8], "little")

    def original(value: Any) -> Any:
        nonlocal start
        if isinstance(value, list):
            return [original(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "dict" in value:
            return {name: original(item) for name, item in value["dict"]}
        content = message[start : start + value["bytes"]]
        start += value["bytes"]
        if "dtype" not in value:
            return content
        return np.frombuffer(bytearray(content), jnp.dtype(value["dtype"])).reshape(value["shape"])

    return original(json.loads(message[8:start]))


def _broadcast(message: bytes) -> bytes:
    """Returns the message of the first process, padded to a multiple of 4 bytes.

    It is sent as integers, since the broadcast adds zeros. It is sent in chunks, since each chunk needs memory on every
    device.
    """
    words = np.frombuffer(message + bytes(-len(message) % 4), np.uint32)
    whole, rest = (broadcast_from_first_process(number) for number in divmod(len(words), CHUNK_WORDS))
    if jax.process_index():
        words = np.zeros(whole * CHUNK_WORDS + rest, np.uint32)
    chunks = (words[start : start + CHUNK_WORDS] for start in range(0, len(words), CHUNK_WORDS))
    return b"".join(np.asarray(multihost_utils.broadcast_one_to_all(chunk)).tobytes() for chunk in chunks)


def _all_gather(value: int) -> np.ndarray:
    return np.ravel(multihost_utils.process_allgather(np.array([value], np.uint32)))
