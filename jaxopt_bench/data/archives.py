"""Reads the official archives of CIFAR-10 and CIFAR-100, binary or Python version, and checks all of their contents.

This module writes no files, executes no code from the archives, and does not depend on TFDS.
"""

from __future__ import annotations

import abc
import dataclasses
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import UInt8

from jaxopt_bench.data import pickles
from jaxopt_bench.data.containers import DamagedArchiveError, FoundFiles, read_archive, read_folder
from jaxopt_bench.data.specs import DATASET_SPLITS, DatasetSpec, SplitName
from jaxopt_bench.errors import UserError, shortened

Planes: TypeAlias = UInt8[np.ndarray, "examples bytes"]
_IMAGE_BYTES = 3 * 32 * 32
_NAMES_LIMIT = 64 * 1024  # bytes; the official lists of names are below 2 KiB
_PICKLED_LIMIT = 256  # bytes of an example besides its image: labels and a file name; the official ones have up to 40


@dataclasses.dataclass(frozen=True)
class Labels:
    """One kind of label, of which each example has one.

    Attributes:
      feature: the name of the feature in TFDS.
      count: the number of classes.
      names_file: the file of the class names in the binary version.
      key: the name of the list of labels in the Python version's files.
      names_key: the name of the list of class names in the Python version's `Layout.python_names`.
    """

    feature: str
    count: int
    names_file: str
    key: str
    names_key: str


@dataclasses.dataclass(frozen=True)
class Layout:
    """The names and the structure of the files in the official archives.

    Attributes:
      url: the address from which the binary version is downloaded.
      folder: the only folder in the binary version.
      files: the record files of each split in the binary version. All files have the same size.
      labels: the label bytes that precede each image in the binary version, in order.
      python_archive: the official file name of the Python version.
      python_folder: the only folder in the Python version.
      python_files: the pickle files of each split in the Python version.
      python_names: the pickle file of the class names in the Python version.
    """

    url: str
    folder: str
    files: dict[SplitName, tuple[str, ...]]
    labels: tuple[Labels, ...]
    python_archive: str
    python_folder: str
    python_files: dict[SplitName, tuple[str, ...]]
    python_names: str

    @property
    def archive(self) -> str:
        """The official file name of the binary version."""
        return self.url.rpartition("/")[2]

    @property
    def record_bytes(self) -> int:
        """The size of one binary record: the label bytes, then the image as planes of red, green and blue."""
        return len(self.labels) + _IMAGE_BYTES

    @property
    def accepted(self) -> str:
        """The archives and folders that can be read, for messages."""
        return (
            f"{self.archive} or {self.python_archive} (or .tar, .tar.bz2, .tar.xz, .zip), or one of the folders "
            f"{self.folder} and {self.python_folder}"
        )


LAYOUTS: dict[str, Layout] = {
    "cifar10": Layout(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        folder="cifar-10-batches-bin",
        files={"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
        labels=(Labels("label", 10, "batches.meta.txt", "labels", "label_names"),),
        python_archive="cifar-10-python.tar.gz",
        python_folder="cifar-10-batches-py",
        python_files={"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
        python_names="batches.meta",
    ),
    "cifar100": Layout(
        url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        folder="cifar-100-binary",
        files={"train": ("train.bin",), "test": ("test.bin",)},
        labels=(
            Labels("coarse_label", 20, "coarse_label_names.txt", "coarse_labels", "coarse_label_names"),
            Labels("label", 100, "fine_label_names.txt", "fine_labels", "fine_label_names"),
        ),
        python_archive="cifar-100-python.tar.gz",
        python_folder="cifar-100-python",
        python_files={"train": ("train",), "test": ("test",)},
        python_names="meta",
    ),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """The examples of one split in the order of the files, with all of their labels."""

    images: UInt8[np.ndarray, "examples height width channels"]
    labels: dict[str, UInt8[np.ndarray, " examples"]]


@dataclasses.dataclass(frozen=True, eq=False)
class Contents:
    """A whole data set: the class names of each label feature, and the splits."""

    label_names: dict[str, tuple[str, ...]]
    splits: dict[SplitName, Examples]


def read_cifar(source: Path, spec: DatasetSpec) -> Contents:
    """Returns the verified contents of an official archive, or of the unpacked folder.

    Both versions give the same arrays. The Python version consists of pickle files, which are read without executing
    them. If both versions are present, the binary version is read.

    Args:
      source: the archive, the folder that contains the files, or the parent of that folder.
      spec: the expected data set and its number of examples.

    Raises:
      UserError: if the path does not exist, is not an archive, or is a truncated or damaged archive; if a member is
        missing; or if a size, a label or a list of names is wrong. The message names the file and the problem.
    """
    layout = LAYOUTS[spec.name]
    binary, python = _Binary(source, spec, layout), _Python(source, spec, layout)
    limits = binary.limits | python.limits
    try:
        if source.is_dir():
            found = read_folder(source, (layout.folder, layout.python_folder), limits)
        elif source.exists():
            found = read_archive(source, limits)
        else:
            raise UserError(f"{source} does not exist. Expected {layout.accepted}.")
    except DamagedArchiveError as error:
        raise UserError(f"{source} {error}. Expected {layout.accepted}.") from error
    except OSError as error:
        raise UserError(f"{source} cannot be read: {error}. Expected {layout.accepted}.") from error
    present = found.contents.keys() | found.oversized.keys()
    return max((binary, python), key=lambda version: len(version.limits.keys() & present)).contents(found)


class _Version(abc.ABC):
    """Reads one version of an archive. `limits` contains the largest accepted size of each file, in bytes."""

    limits: dict[str, int]

    def __init__(self, source: Path, layout: Layout, files: dict[SplitName, tuple[str, ...]]):
        self._source, self._layout, self._files = source, layout, files

    def contents(self, found: FoundFiles) -> Contents:
        """Returns the contents of the files.

        Raises:
          UserError: if a file is missing or has wrong contents.
        """
        for file in self.limits:
            if file in found.oversized:
                raise self._oversized(file, found.oversized[file])
            if file not in found.contents:
                raise self._missing(file, found.names)
        names = {label.feature: self._checked_names(label, found) for label in self._layout.labels}
        return Contents(names, {split: self._split(found, split) for split in DATASET_SPLITS})

    @abc.abstractmethod
    def _oversized(self, file: str, size: int) -> UserError:
        """Returns the error for a file that is larger than its limit."""

    @abc.abstractmethod
    def _names(self, label: Labels, found: FoundFiles) -> tuple[str, list[str]]:
        """Returns the name of the file with the class names of a label, and the class names."""

    @abc.abstractmethod
    def _read(self, file: str, content: bytes) -> tuple[Planes, list[UInt8[np.ndarray, " examples"]]]:
        """Returns the images of a file as planes of red, green and blue, and an array for each label, in order."""

    def _checked_names(self, label: Labels, found: FoundFiles) -> tuple[str, ...]:
        file, names = self._names(label, found)
        if len(names) != label.count or len(set(names)) != label.count:
            raise self._wrong(file, f"lists {len(set(names))} different names. Expected {label.count}.")
        return tuple(names)

    def _split(self, found: FoundFiles, split: SplitName) -> Examples:
        parts = [self._read(file, found.contents[file]) for file in self._files[split]]
        planes = np.concatenate([planes for planes, _ in parts]).reshape(-1, 3, 32, 32)
        labels = {
            label.feature: np.concatenate([values[i] for _, values in parts])
            for i, label in enumerate(self._layout.labels)
        }
        return Examples(planes.transpose(0, 2, 3, 1), labels)

    def _wrong(self, file: str, problem: str) -> UserError:
        return UserError(f"{self._source}: {file} {problem}")

    def _wrong_label(self, file: str, index: int, label: Labels, value: object) -> UserError:
        return UserError(
            f"{self._source}: {file}, record {index}: {label.feature} is {shortened(value)}. "
            f"Expected 0 to {label.count - 1}."
        )

    def _missing(self, file: str, names: list[str]) -> UserError:
        shown = ", ".join(shortened(name)[1:-1] for name in names[:6]) + (", …" if len(names) > 6 else "")
        return UserError(
            f"{self._source} lacks {file} (it holds {shown or 'nothing'}). Expected {self._layout.accepted}."
        )


class _Binary(_Version):
    """Records of label bytes and image bytes, and lists of names as text."""

    def __init__(self, source: Path, spec: DatasetSpec, layout: Layout):
        super().__init__(source, layout, layout.files)
        self._examples = _examples_per_file(spec, layout.files)
        self.limits = {file: count * layout.record_bytes for file, count in self._examples.items()}
        self.limits |= {label.names_file: _NAMES_LIMIT for label in layout.labels}

    def _oversized(self, file: str, size: int) -> UserError:
        if file not in self._examples:
            return self._wrong(file, f"has {size} bytes, too many for a list of names (at most {_NAMES_LIMIT}).")
        return self._wrong_size(file, size)

    def _names(self, label: Labels, found: FoundFiles) -> tuple[str, list[str]]:
        file = label.names_file
        try:
            lines = found.contents[file].decode().splitlines()
        except UnicodeDecodeError as error:
            raise self._wrong(file, f"is not text ({error}).") from error
        return file, [line.strip() for line in lines if line.strip()]

    def _read(self, file: str, content: bytes) -> tuple[Planes, list[UInt8[np.ndarray, " examples"]]]:
        if len(content) != self.limits[file]:
            raise self._wrong_size(file, len(content))
        records = np.frombuffer(content, np.uint8).reshape(-1, self._layout.record_bytes)
        labels = list(records.T[: len(self._layout.labels)])
        for label, values in zip(self._layout.labels, labels, strict=True):
            for index in np.flatnonzero(values >= label.count)[:1]:
                raise self._wrong_label(file, index, label, int(values[index]))
        return records[:, len(labels) :], labels

    def _wrong_size(self, file: str, size: int) -> UserError:
        record, expected = self._layout.record_bytes, self._examples[file]
        if size % record:
            return self._wrong(
                file,
                f"has {size} bytes, which is not a multiple of the record size of {record} bytes. "
                f"Expected {expected} records ({expected * record} bytes).",
            )
        return self._wrong(file, f"holds {size // record} examples. Expected {expected}.")


class _Python(_Version):
    """Pickled dictionaries of an array of images, lists of labels, and lists of names."""

    def __init__(self, source: Path, spec: DatasetSpec, layout: Layout):
        super().__init__(source, layout, layout.python_files)
        self._examples = _examples_per_file(spec, layout.python_files)
        self.limits = {
            file: _NAMES_LIMIT + count * (_IMAGE_BYTES + _PICKLED_LIMIT) for file, count in self._examples.items()
        }
        self.limits[layout.python_names] = _NAMES_LIMIT

    def _oversized(self, file: str, size: int) -> UserError:
        return self._wrong(file, f"has {size} bytes. Expected at most {self.limits[file]}.")

    def _names(self, label: Labels, found: FoundFiles) -> tuple[str, list[str]]:
        file = self._layout.python_names
        names = self._list(file, self._dictionary(file, found.contents[file]), label.names_key)
        texts = [name.decode("latin-1") if isinstance(name, bytes) else name for name in names]
        if not all(isinstance(text, str) for text in texts):
            raise self._wrong(file, f"lists {label.names_key!r} that are not text.")
        return file, texts

    def _read(self, file: str, content: bytes) -> tuple[Planes, list[UInt8[np.ndarray, " examples"]]]:
        values, count = self._dictionary(file, content), self._examples[file]
        images = values.get("data")
        if not isinstance(images, np.ndarray) or images.shape != (count, _IMAGE_BYTES):
            shape = list(images.shape) if isinstance(images, np.ndarray) else type(images).__name__
            raise self._wrong(file, f"holds images of shape {shape}. Expected {[count, _IMAGE_BYTES]}.")
        return images, [self._labels(file, values, label) for label in self._layout.labels]

    def _labels(self, file: str, values: dict[str, Any], label: Labels) -> UInt8[np.ndarray, " examples"]:
        labels = self._list(file, values, label.key)
        if len(labels) != self._examples[file]:
            raise self._wrong(file, f"has {len(labels)} {label.key!r}. Expected {self._examples[file]}.")
        for index, value in enumerate(labels):
            if type(value) is not int or not 0 <= value < label.count:
                shown = value if isinstance(value, (int, bytes, str)) else type(value)
                raise self._wrong_label(file, index, label, shown)
        return np.array(labels, np.uint8)

    def _dictionary(self, file: str, content: bytes) -> dict[str, Any]:
        try:
            return pickles.read(content)
        except pickles.RefusedPickleError as error:
            raise self._wrong(
                file, f"is not the official pickle file: {error}. Expected {self._layout.accepted}."
            ) from error

    def _list(self, file: str, values: dict[str, Any], key: str) -> list[Any]:
        value = values.get(key)
        if not isinstance(value, list):
            raise self._wrong(file, f"has no list {key!r} (it holds {shortened(sorted(values))}).")
        return value


def _examples_per_file(spec: DatasetSpec, files: dict[SplitName, tuple[str, ...]]) -> dict[str, int]:
    return {file: spec.examples(split) // len(files[split]) for split in DATASET_SPLITS for file in files[split]}
