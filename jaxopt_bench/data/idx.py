"""Reads the official idx files of MNIST and Fashion-MNIST, compressed or not, and checks all of their contents."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from jaxopt_bench.data.archives import Contents, Examples
from jaxopt_bench.data.containers import FoundFiles, read_folder
from jaxopt_bench.data.specs import DATASET_SPLITS, DatasetSpec, SplitName
from jaxopt_bench.errors import UserError

STEMS: dict[SplitName, str] = {"train": "train", "test": "t10k"}
IDX_DATASETS = ("mnist", "fashion_mnist")
"""The data sets in this format."""
_ENDINGS = ("", ".gz")
_IMAGES, _LABELS = 0x803, 0x801  # bytes with three and with one dimension, see http://yann.lecun.com/exdb/mnist
_SLACK = 1 << 16  # bytes by which a compressed file may be larger than its content
ACCEPTED = (
    "a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
    "t10k-labels-idx1-ubyte, each with the ending .gz or without"
)


def read_idx(source: Path, spec: DatasetSpec) -> Contents:
    """Returns the verified contents of a folder with the four official files.

    Args:
      source: the folder.
      spec: the expected data set and its number of examples.

    Raises:
      UserError: if a file is missing or damaged, or its size, its header or a label is wrong. The message names the
        file and the problem.
    """
    limits = {name + end: size + (_SLACK if end else 0) for name, size in _sizes(spec).items() for end in _ENDINGS}
    try:
        if not source.is_dir():
            raise UserError(f"{source} is not a folder. Expected {ACCEPTED}.")
        found = read_folder(source, ("raw",), limits)  # PyTorch uses this subfolder
    except OSError as error:
        raise UserError(f"{source} cannot be read: {error}. Expected {ACCEPTED}.") from error
    files = {name: _content(source, name, size, found) for name, size in _sizes(spec).items()}
    examples = {split: _examples(source, spec, split, files) for split in DATASET_SPLITS}
    return Contents({}, examples)  # TFDS names the classes


def _sizes(spec: DatasetSpec) -> dict[str, int]:
    """Returns the size of each uncompressed file in bytes: the header of 4-byte numbers, and one byte per value."""
    pixels = spec.shape[0] * spec.shape[1]
    images = {_image_file(split): 16 + pixels * spec.examples(split) for split in DATASET_SPLITS}
    return images | {_label_file(split): 8 + spec.examples(split) for split in DATASET_SPLITS}


def _image_file(split: SplitName) -> str:
    return f"{STEMS[split]}-images-idx3-ubyte"


def _label_file(split: SplitName) -> str:
    return f"{STEMS[split]}-labels-idx1-ubyte"


def _content(source: Path, name: str, size: int, found: FoundFiles) -> bytes:
    """Returns the content of a file, decompressed.

    Raises:
      UserError: if it is missing, damaged or too large.
    """
    for file in (name + end for end in _ENDINGS):
        if file in found.oversized:
            raise UserError(
                f"{source / file} has {found.oversized[file]} bytes. Expected {size}, or fewer if compressed."
            )
        if file in found.contents:
            return _decompress(source / file, found.contents[file], size)
    shown = ", ".join(found.names[:6]) or "nothing"
    raise UserError(f"{source} does not contain {name} (it contains {shown}). Expected {ACCEPTED}.")


def _examples(source: Path, spec: DatasetSpec, split: SplitName, files: dict[str, bytes]) -> Examples:
    """Returns the images and labels of a split.

    Raises:
      UserError: if a header or a label is wrong.
    """
    count = spec.examples(split)
    images = _array(source, _image_file(split), files, (count, *spec.shape[:2]))
    labels = _array(source, _label_file(split), files, (count,))
    for index in np.flatnonzero(labels >= spec.num_classes)[:1]:
        raise UserError(
            f"{source}: {_label_file(split)}: the label of example {index} is {labels[index]}. Expected 0 to "
            f"{spec.num_classes - 1}."
        )
    return Examples(images[..., None], {"label": labels})


def _decompress(path: Path, content: bytes, size: int) -> bytes:
    """Returns the content of a file, decompressed if it is compressed.

    Raises:
      UserError: if it is damaged or has the wrong size.
    """
    if content[:2] == b"\x1f\x8b":
        inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # this mode checks the gzip checksum
        try:
            content = inflater.decompress(content, size + 1)
            if len(content) == size and not inflater.eof:
                raise zlib.error("it ends before its checksum")
        except zlib.error as error:
            raise UserError(f"{path} is truncated or damaged ({error}). Expected {ACCEPTED}.") from error
    if len(content) != size:
        more = " or more" if len(content) > size else ""
        raise UserError(f"{path} contains {len(content)} bytes{more}. Expected {size} bytes, compressed or not.")
    return content


def _array(
    source: Path, name: str, files: dict[str, bytes], shape: tuple[int, ...]
) -> UInt8[np.ndarray, "examples *pixels"]:
    """Returns the bytes of a file as an array.

    Raises:
      UserError: if its header gives another type or shape.
    """
    content = files[name]
    magic, *found = struct.unpack(f">{1 + len(shape)}i", content[: 4 * (1 + len(shape))])
    expected = _IMAGES if len(shape) == 3 else _LABELS
    if magic != expected or tuple(found) != shape:
        raise UserError(
            f"{source}: the header of {name} says {magic:#x} and the shape {found}. Expected {expected:#x} and "
            f"{list(shape)}."
        )
    return np.frombuffer(content, np.uint8, offset=4 * (1 + len(shape))).reshape(shape)
