"""A cache of decoded arrays on disk, which are memory-mapped. A second start decodes nothing and does not import TFDS.

The folder contains two `.npy` files for each split, and `decoded.json`, which is written last. `decoded.json` contains
the shapes, dtypes and SHA-256 sums of the arrays, and the names and sizes of their record files. Each file is written
under a temporary name and then renamed, and the same records give the same bytes. So several processes may build the
cache at the same time.

Files are replaced only in a folder that this program created. It marks such folders with its own `CACHEDIR.TAG`.
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
TAG = "CACHEDIR.TAG"  # defined in https://bford.info/cachedir/; backup programs recognise it
_TAG_CONTENT = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# Arrays decoded by jaxopt_bench; it can make them again.\n"
)
_FORMAT = 2


class UnsoundCacheError(Exception):
    """The cache cannot be used; the message gives the reason. The caller rebuilds the cache."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The contents of `decoded.json`, except the checksum of these fields, which the file contains as well.

    Attributes:
      class_names: the names of the labels, in order.
      mean: of the train split, per channel, on the scale of 0 to 1.
      std: of the train split, per channel, on the scale of 0 to 1.
      records: names and sizes of the record files that were decoded.
      files: shape, dtype and SHA-256 of each `.npy` file.
      format: the version of this layout.
    """

    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    records: dict[str, int]
    files: dict[str, dict[str, Any]]
    format: int = _FORMAT

    def fits(self, spec: DatasetSpec) -> bool:
        """Returns whether the names and statistics are valid for a data set. The file may come from other people."""
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
      UnsoundCacheError: if it cannot be read, or was made from record files other than `records`.
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
    """Returns the arrays of one split, memory-mapped, after a check of their checksums. Opens no other split.

    Raises:
      UnsoundCacheError: if a file is missing or differs from the manifest.
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
    """Writes the arrays of each split, then the manifest, and returns the manifest.

    Args:
      folder: the output folder; it is created if it does not exist.
      class_names: the names of the labels, in order.
      records: names and sizes of the record files.
      decode: returns the arrays of a split.

    Raises:
      OSError: if the folder cannot be written, or files with these names exist that this program did not create.
    """
    _claim(folder)
    with tempfile.TemporaryFile(dir=folder):
        pass  # if the folder cannot be written, this fails before anything is decoded
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
    """Creates the folder, or checks that this program created each file in it that would be replaced.

    Raises:
      OSError: if such a file is a link, or if the folder is a link or does not have this program's mark.
    """
    folder.mkdir(exist_ok=True)
    names = [MANIFEST, *(_file(split, array) for split in DATASET_SPLITS for array in ("images", "labels"))]
    present = [folder / name for name in names if os.path.lexists(folder / name)]
    ours = not folder.is_symlink() and _is_tagged(folder)  # after `present`: others write the tag first
    for path in present:
        if not ours or path.is_symlink() or not path.is_file():
            raise FileExistsError(errno.EEXIST, "another file that this program did not write has this name", str(path))
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

    They are computed in float64 from the counts of the 256 values, so they do not depend on the order of the examples.
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
        array = np.lib.format.open_memmap(path, mode="r")  # `np.load` would also open other kinds of files
    except (UserError, OSError, ValueError, TypeError, OverflowError) as error:
        raise UnsoundCacheError(f"{path} cannot be read ({error})") from error
    if array.shape != shape or array.dtype != dtype:
        raise UnsoundCacheError(f"{path} holds {array.dtype}{list(array.shape)}, not {dtype}{list(shape)}")
    return array
