"""Counter-based randomness in plain Python, from the paper of threefry and the documented way to draw with it."""

from __future__ import annotations

import math

import numpy as np

Words = tuple[int, int]


def threefry_2x32(key: Words, counter: Words) -> Words:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3")."""
    mask = 2**32 - 1
    schedule = [*key, key[0] ^ key[1] ^ 0x1BD11BDA]
    x, y = (counter[0] + schedule[0]) & mask, (counter[1] + schedule[1]) & mask
    rotations = [13, 15, 26, 6, 17, 29, 16, 24]
    for i in range(20):
        x, turn = (x + y) & mask, rotations[i % 8]
        y = x ^ ((y << turn | y >> (32 - turn)) & mask)
        if i % 4 == 3:
            j = i // 4 + 1
            x, y = (x + schedule[j % 3]) & mask, (y + schedule[(j + 1) % 3] + j) & mask
    return x, y


def folded(seed: int, purpose: int, index: int) -> Words:
    """Returns the key of a seed, folded with a purpose and then with an index."""
    return threefry_2x32(threefry_2x32((0, seed), (0, purpose)), (0, index))


def split(key: Words) -> tuple[Words, Words]:
    """Returns two keys that are derived from one."""
    return threefry_2x32(key, (0, 0)), threefry_2x32(key, (0, 1))


def bits(key: Words, count: int) -> np.ndarray:
    """Returns words of 32 bits: the exclusive or of both words of each counter's block."""
    blocks = [threefry_2x32(key, (0, i)) for i in range(count)]
    return np.array([x ^ y for x, y in blocks], np.uint32)


def uniform(key: Words, count: int) -> np.ndarray:
    """Returns float32 numbers in [0, 1): the upper 23 bits are the mantissa of a number in [1, 2), minus 1."""
    return ((bits(key, count) >> 9) | np.float32(1).view(np.uint32)).view(np.float32) - np.float32(1)


def integers(key: Words, spans: list[int]) -> np.ndarray:
    """Returns an integer in [0, span) for each span: 64 bits, modulo the span."""
    upper, lower = (bits(half, len(spans)).tolist() for half in split(key))
    return np.array([(a * 2**32 + b) % span for a, b, span in zip(upper, lower, spans, strict=True)])


def permutation(key: Words, count: int) -> np.ndarray:
    """Returns the numbers below `count`, sorted by random words so many times that ties are unlikely to matter."""
    numbers = np.arange(count)
    for _ in range(math.ceil(3 * math.log(count) / math.log(2**32 - 1))):
        key, drawn = split(key)
        numbers = numbers[np.argsort(bits(drawn, count), kind="stable")]
    return numbers
