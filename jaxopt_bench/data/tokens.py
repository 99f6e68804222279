"""Sequences of tokens: letters of English words (part of this package), and bytes of a user's text file."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from jaxopt_bench.errors import UserError
from jaxopt_bench.files import open_regular

PAD = 255
"""The padding after the end of a sequence. It is neither the token of a letter nor a byte of a text in UTF-8."""
BOUNDARY = 0
"""The token before the first letter of a word and after the last letter. Letters are 1 to 26."""
WORDS = "words"
LONGEST_WORD = 15
TEST_FRACTION = 0.1

_WORDS = Path(__file__).parent / "words" / "words.txt.gz"
_MOST_BYTES = 2**31  # of a text; its tokens are kept in memory

Sequences = UInt8[np.ndarray, "sequences length+1"]
"""Tokens. In each sequence, all tokens from the second one to the last one before the padding are predicted."""


@dataclasses.dataclass(frozen=True, eq=False)
class TokenData:
    """Sequences of tokens, divided into splits.

    Attributes:
      vocabulary: the number of different tokens.
      train: the training sequences.
      validation: the validation sequences; None if there are none.
      test: the test sequences.
      digest: the SHA-256 sum of the content of the file.
    """

    vocabulary: int
    train: Sequences
    validation: Sequences | None
    test: Sequences
    digest: str


def words(validation_fraction: float, limit: int | None = None) -> TokenData:
    """Returns 63,500 English words as sequences of 16 predicted tokens: up to 15 letters, the boundary, padding.

    The words are shuffled with a fixed seed. The last tenth is the test split.

    Args:
      validation_fraction: the share of the words outside the test split that are used for validation. They are the
        last of these words.
      limit: the number of words outside the test split to use. They are the first of these words. None for all.

    Raises:
      UserError: if the fraction leaves no words for training or none for validation, or if `limit` is larger than the
        number of words.
    """
    sequences, digest = _word_sequences()
    test = len(sequences) - round(TEST_FRACTION * len(sequences))
    end = test if limit is None else limit
    if end > test:
        raise UserError(f"limit is {limit}, but only {test} words are outside the test split. Expected at most {test}.")
    border = _border(end, validation_fraction, 1, f"the {end} words that are not in the test split")
    validation = sequences[border:end] if border < end else None
    return TokenData(27, sequences[:border], validation, sequences[test:], digest)


def text(path: Path, length: int, validation_fraction: float) -> TokenData:
    """Returns the bytes of a text, divided into windows. Each byte but the first of a split is predicted once.

    The last tenth of the bytes is the test split. The validation bytes are the last ones before the test split. A
    window begins with the last byte of the window before it, and this byte is not predicted again. The last window of a
    split is padded.

    Args:
      path: the path of a file in UTF-8.
      length: the number of predicted bytes in a window.
      validation_fraction: the share of the bytes outside the test split that are used for validation.

    Raises:
      UserError: if the file cannot be read, is not UTF-8, or is too short for a window in each split.
    """
    content = _read_text(path)
    values = np.frombuffer(content, np.uint8)
    end = len(values) - round(TEST_FRACTION * len(values))
    least = length + 1
    if min(end, len(values) - end) < least:
        needed = int(np.ceil(least / TEST_FRACTION))
        raise UserError(
            f"dataset {path} has {len(values)} bytes, and its last tenth is the test split. Expected at least {needed} "
            f"bytes for windows of length {length}, or a smaller length."
        )
    border = _border(end, validation_fraction, least, f"the {end} bytes that are not in the test split of {path}")
    validation = _windows(values[border:end], length) if border < end else None
    digest = hashlib.sha256(content).hexdigest()
    return TokenData(256, _windows(values[:border], length), validation, _windows(values[end:], length), digest)


def spell(tokens: UInt8[np.ndarray, " tokens"], vocabulary: int) -> str:
    """Returns tokens as readable text: the letters up to the end of a word, or a text with marks for line ends."""
    if vocabulary == 256:
        decoded = tokens[tokens != PAD].tobytes().decode(errors="replace")
        return "".join("↵" if c == "\n" else c if c.isprintable() else "�" for c in decoded)
    letters = tokens[1:] if len(tokens) and tokens[0] == BOUNDARY else tokens
    ends = np.flatnonzero((letters == BOUNDARY) | (letters == PAD))
    return "".join(chr(96 + letter) for letter in letters[: ends[0] if len(ends) else None])


@functools.cache
def _word_sequences() -> tuple[Sequences, str]:
    content = gzip.decompress(_WORDS.read_bytes())
    listed = content.split()
    sequences = np.full((len(listed), LONGEST_WORD + 2), PAD, np.uint8)
    for row, word in zip(sequences, listed, strict=True):
        row[0] = row[len(word) + 1] = BOUNDARY
        row[1 : len(word) + 1] = np.frombuffer(word, np.uint8) - 96
    order = np.random.RandomState(0).permutation(len(listed))  # its stream of numbers never changes
    return sequences[order], hashlib.sha256(content).hexdigest()


def _windows(values: UInt8[np.ndarray, " bytes"], length: int) -> Sequences:
    count = -(-(len(values) - 1) // length)
    padded = np.full(count * length + 1, PAD, np.uint8)
    padded[: len(values)] = values
    return np.lib.stride_tricks.sliding_window_view(padded, length + 1)[::length].copy()


def _border(end: int, fraction: float, least: int, of: str) -> int:
    """Returns the end of the training part if the given share at the end is used for validation."""
    border = end - round(fraction * end)
    if fraction and not least <= min(border, end - border):
        raise UserError(
            f"validation_fraction is {fraction!r}, which divides {of} into {border} to train on and {end - border} to "
            f"validate on. Expected 0, or a fraction that leaves each part at least {least}."
        )
    return border


def _read_text(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            content = file.read(_MOST_BYTES + 1)
        content.decode()
    except FileNotFoundError as error:
        raise UserError(
            f"dataset is {str(path)!r}, but there is no such file. Expected {WORDS!r}, or the path of a text file."
        ) from error
    except OSError as error:
        raise UserError(f"dataset {path} cannot be read: {error.strerror}. Expected a text file.") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"dataset {path} is not a text in UTF-8: byte {error.start} (of {len(content)}, counted from 0) is "
            f"0x{content[error.start]:02x} ({error.reason}). Expected a text file in UTF-8."
        ) from error
    if len(content) > _MOST_BYTES:
        raise UserError(f"dataset {path} is larger than {_MOST_BYTES} bytes. Expected a smaller text file.")
    return content
