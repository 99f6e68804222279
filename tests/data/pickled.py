"""Writes pickle files with exactly the bytes of Python 2, which wrote the official archives."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np


def python2_pickle(values: Mapping[bytes, bytes | int | list[bytes] | list[int] | np.ndarray]) -> bytes:
    """Returns the bytes that `cPickle.dump(values, file, 2)` writes in Python 2."""
    writer = _Writer()
    writer.out += b"\x80\x02}"
    writer.remember()
    writer.out += b"("
    for key, value in values.items():
        writer.string(key)
        if isinstance(value, np.ndarray):
            writer.array(value)
        elif isinstance(value, list):
            writer.list(value)
        elif isinstance(value, bytes):
            writer.string(value)
        else:
            writer.number(value)
    return bytes(writer.out + b"u.")


class _Writer:
    def __init__(self) -> None:
        self.out, self.memo = bytearray(), 0

    def remember(self) -> None:
        self.memo += 1
        self.out += b"q" + bytes([self.memo]) if self.memo < 256 else b"r" + struct.pack("<I", self.memo)

    def string(self, text: bytes) -> None:
        self.out += b"U" + bytes([len(text)]) + text if len(text) < 256 else b"T" + struct.pack("<I", len(text)) + text
        self.remember()

    def number(self, value: int) -> None:
        if 0 <= value < 256:
            self.out += b"K" + bytes([value])
        else:
            self.out += b"M" + struct.pack("<H", value) if 0 <= value < 65536 else b"J" + struct.pack("<i", value)

    def list(self, items: list[bytes] | list[int]) -> None:
        self.out += b"]"
        self.remember()
        for start in range(0, len(items), 1000):
            self.out += b"("
            for item in items[start : start + 1000]:
                self.number(item) if isinstance(item, int) else self.string(item)
            self.out += b"e"

    def array(self, array: np.ndarray) -> None:
        self.out += b"cnumpy.core.multiarray\n_reconstruct\n"
        self.remember()
        self.out += b"cnumpy\nndarray\n"
        self.remember()
        self.out += b"K\0\x85U\x01b\x87R"
        self.remember()
        self.out += b"(K\x01"
        for size in array.shape:
            self.number(size)
        self.out += b"\x86cnumpy\ndtype\n"
        self.remember()
        self.out += b"U\x02u1K\0K\x01\x87R"
        self.remember()
        self.out += b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89"
        content = array.tobytes()
        self.out += b"T" + struct.pack("<I", len(content)) + content + b"tb"
