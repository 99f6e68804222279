"""Decoded arrays on disk, memory-mapped when read: a second start decodes nothing and imports no TFDS.

The folder holds two `.npy` files a split and, written last, `decoded.json`, which says what they are, their SHA-256
sums and which record files they were made from. Every file is written under another name and renamed, and the same
records give the same bytes, so several processes may build the cache at once.

Files are only replaced in a folder that this program made, which it marks with a `CACHEDIR.TAG` of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxopt_bench.data.specs import DATASET_SPLITS, DatasetSpec, Split, SplitName
from jaxopt_bench.errors import UserError
from jaxopt_bench.files import open_regular, remove_leftovers, replacing, sha256_of_file
from jaxopt_bench.strict_json import sha256_of_json

FOLDER = "decoded"
MANIFEST = "decoded.json"
TAG = "CACHEDIR.TAG"  # as in https://bford.info/cachedir/, which backup programs know
_TAG_CONTENT = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# Arrays decoded by jaxopt_bench; it can make them again.\n"
)
_FORMAT = 2


class UnsoundCacheError(Exception):
    """The cache cannot be used as it is; the message says why. The caller rebuilds it."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What `decoded.json` says.

    Attributes:
      class_names: the labels' names in order.
      mean: of the train split, per channel, on the scale of 0 to 1.
      std: of the train split, per channel, on the scale of 0 to 1.
      records: names and sizes of the record files that were decoded.
      files: shape, dtype and SHA-256 of each `.npy` file.
      format: the version of this layout. The file holds the checksum of all of this as well.
    """

    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    records: dict[str, int]
    files: dict[str, dict[str, Any]]
    format: int = _FORMAT

    def fits(self, spec: DatasetSpec) -> bool:
        """Returns whether names and statistics are such as a data set can have; the file may come from others."""
        channels, numbers = spec.shape[-1], (*self.mean, *self.std)
        return (
            all(isinstance(name, str) for name in self.class_names)
            and len(set(self.class_names)) == len(self.class_names) == spec.num_classes
            and len(self.mean) == len(self.std) == channels
            and all(isinstance(number, float) and 0 <= number <= 1 for number in numbers)
            and isinstance(self.files, dict)
        )


def read(folder: Path, spec: DatasetSpec, records: dict[str, int]) -> Manifest | None:
    """Returns the manifest in `folder`, or None if there is none.

    Raises:
      UnsoundCacheError: if it cannot be read, or was made from other record files than `records`.
    """
    path = folder / MANIFEST
    try:
        with open_regular(path) as file:
            values = json.load(file)
        expected = values.pop("sha256", None)
        found = sha256_of_json(values)
        values |= {field: tuple(values[field]) for field in ("class_names", "mean", "std")}
        manifest = Manifest(**values)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (UserError, OSError) as error:
        raise UnsoundCacheError(str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnsoundCacheError(f"{path} is damaged ({error!r})") from error
    if manifest.format != _FORMAT:
        raise UnsoundCacheError(f"{path} is of format {manifest.format!r}, not {_FORMAT}")
    if manifest.records != records:
        raise UnsoundCacheError(f"{path} was made from other record files")
    if found != expected:
        raise UnsoundCacheError(f"{path} differs from its checksum")
    if not manifest.fits(spec):
        raise UnsoundCacheError(f"{path} does not describe {spec.name}")
    return manifest


def open_split(folder: Path, manifest: Manifest, spec: DatasetSpec, split: SplitName) -> Split:
    """Returns one split's arrays, memory-mapped, after comparing their checksums. Opens no other split's files.

    Raises:
      UnsoundCacheError: if a file is missing or is not what the manifest says.
    """
    examples = spec.examples(split)
    images = _open(folder, manifest, _file(split, "images"), (examples, *spec.shape), np.dtype(np.uint8))
    labels = _open(folder, manifest, _file(split, "labels"), (examples,), np.dtype(np.int32))
    if labels.min() < 0 or labels.max() >= spec.num_classes:
        raise UnsoundCacheError(f"{folder / _file(split, 'labels')} has labels from {labels.min()} to {labels.max()}")
    return Split(images, labels)


def write(
    folder: Path, class_names: tuple[str, ...], records: dict[str, int], decode: Callable[[SplitName], Split]
) -> Manifest:
    """Writes every split's arrays and then the manifest, which it returns.

    Args:
      folder: where to; made if absent.
      class_names: the labels' names in order.
      records: names and sizes of the record files.
      decode: gives a split's arrays.

    Raises:
      OSError: if the folder cannot be written, or files that this program did not make are in the way.
    """
    _claim(folder)
    with tempfile.TemporaryFile(dir=folder):
        pass  # fails here, before anything is decoded, where nothing can be written
    files: dict[str, dict[str, Any]] = {}
    statistics: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    for split in DATASET_SPLITS:
        arrays = decode(split)
        files |= {
            _file(split, "images"): _save(folder / _file(split, "images"), arrays.inputs),
            _file(split, "labels"): _save(folder / _file(split, "labels"), arrays.labels),
        }
        if split == "train":
            statistics = mean_and_std(arrays.inputs)
    manifest = Manifest(class_names, *statistics, records, files)
    with replacing(folder / MANIFEST, follow_links=False) as (file, _):
        values = dataclasses.asdict(manifest)
        file.write((json.dumps({**values, "sha256": sha256_of_json(values)}, indent=1) + "\n").encode())
    return manifest


def _claim(folder: Path) -> None:
    """Makes the folder, or makes sure that every file that would be replaced in it is one of this program's.

    Raises:
      OSError: if one is not: a link, or a file in a folder without this program's mark or behind a link.
    """
    folder.mkdir(exist_ok=True)
    names = [MANIFEST, *(_file(split, array) for split in DATASET_SPLITS for array in ("images", "labels"))]
    present = [folder / name for name in names if os.path.lexists(folder / name)]
    ours = not folder.is_symlink() and _is_tagged(folder)  # asked later: other processes write the tag first
    for path in present:
        if not ours or path.is_symlink() or not path.is_file():
            raise FileExistsError(errno.EEXIST, "in the way, and not made by this program", str(path))
    if ours:
        remove_leftovers(folder)
    elif not folder.is_symlink():
        with contextlib.suppress(FileExistsError), (folder / TAG).open("xb") as file:
            file.write(_TAG_CONTENT)


def _is_tagged(folder: Path) -> bool:
    tag = folder / TAG
    with contextlib.suppress(OSError, UserError):
        if not tag.is_symlink():
            with open_regular(tag) as file:
                return file.read(len(_TAG_CONTENT) + 1) == _TAG_CONTENT
    return False


def mean_and_std(
    images: UInt8[np.ndarray, "examples height width channels"],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the mean and the (population) standard deviation per channel, on the scale of 0 to 1.

    They come from the counts of the 256 values, in float64, and so do not depend on the order of the examples.
    """
    values = np.arange(256) / 255
    means, stds = [], []
    for channel in range(images.shape[-1]):
        shares = np.bincount(images[..., channel].ravel(), minlength=256) / images[..., channel].size
        mean = shares @ values
        means.append(float(mean))
        stds.append(float(np.sqrt(shares @ (values - mean) ** 2)))
    return tuple(means), tuple(stds)


def _file(split: SplitName, array: str) -> str:
    return f"{split}_{array}.npy"


def _save(path: Path, array: np.ndarray) -> dict[str, Any]:
    with replacing(path, follow_links=False) as (file, temporary):
        np.save(file, array)
        file.flush()
        digest = sha256_of_file(temporary)
    return {"shape": list(array.shape), "dtype": array.dtype.name, "sha256": digest}


def _open(folder: Path, manifest: Manifest, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    path = folder / file
    expected = manifest.files.get(file)
    try:
        if not isinstance(expected, dict) or sha256_of_file(path) != expected.get("sha256"):
            raise UnsoundCacheError(f"{path} differs from its checksum")
        array = np.lib.format.open_memmap(path, mode="r")  # `np.load` would open other kinds of files, too
    except (UserError, OSError, ValueError, TypeError, OverflowError) as error:
        raise UnsoundCacheError(f"{path} cannot be read ({error})") from error
    if array.shape != shape or array.dtype != dtype:
        raise UnsoundCacheError(f"{path} holds {array.dtype}{list(array.shape)}, not {dtype}{list(shape)}")
    return array
