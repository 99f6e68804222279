"""Reads the official binary archives of CIFAR-10 and CIFAR-100, and checks all of them. Writes nothing, knows no TFDS.

Members are picked by name from the tar stream and never extracted, so absolute paths, `..` and links in an archive
have no meaning here.
"""

from __future__ import annotations

import dataclasses
import gzip
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import UInt8

from jaxopt_bench.data.specs import SPLITS, DatasetSpec, SplitName
from jaxopt_bench.errors import UserError

_IMAGE_BYTES = 3 * 32 * 32
_NAMES_LIMIT = 64 * 1024  # bytes; the official lists of names are below 2 KiB


@dataclasses.dataclass(frozen=True)
class Labels:
    """One label byte of a record: its feature's name in TFDS, the file of its names, how many there are."""

    feature: str
    file: str
    count: int


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where an official archive keeps what.

    Attributes:
      url: where the archive is downloaded from.
      folder: the one folder in the archive.
      files: the record files of each split, all of one size.
      labels: the label bytes that precede each image, in order.
    """

    url: str
    folder: str
    files: dict[SplitName, tuple[str, ...]]
    labels: tuple[Labels, ...]

    @property
    def archive(self) -> str:
        """The archive's official file name."""
        return self.url.rpartition("/")[2]

    @property
    def record_bytes(self) -> int:
        """The size of one record: the label bytes, then the image as planes of red, green and blue."""
        return len(self.labels) + _IMAGE_BYTES


LAYOUTS: dict[str, Layout] = {
    "cifar10": Layout(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        folder="cifar-10-batches-bin",
        files={"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
        labels=(Labels("label", "batches.meta.txt", 10),),
    ),
    "cifar100": Layout(
        url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        folder="cifar-100-binary",
        files={"train": ("train.bin",), "test": ("test.bin",)},
        labels=(
            Labels("coarse_label", "coarse_label_names.txt", 20),
            Labels("label", "fine_label_names.txt", 100),
        ),
    ),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """One split's examples in the files' order, with every label each of them has."""

    images: UInt8[np.ndarray, "examples height width channels"]
    labels: dict[str, UInt8[np.ndarray, " examples"]]


@dataclasses.dataclass(frozen=True, eq=False)
class Contents:
    """All of a data set: the names of each label feature's classes, and the splits."""

    label_names: dict[str, tuple[str, ...]]
    splits: dict[SplitName, Examples]


def read_cifar(source: Path, spec: DatasetSpec) -> Contents:
    """Returns the verified contents of an official archive or of the folder it unpacks to.

    Args:
      source: the `.tar.gz`, the folder that holds the `.bin` files, or that folder's parent.
      spec: which data set is expected, and how many examples it has.

    Raises:
      UserError: naming the file and what is wrong: the path does not exist, it is no archive or a truncated or
        damaged one, a member is missing, or the size, a label or a list of names is not what it must be.
    """
    layout = LAYOUTS[spec.name]
    sizes = _Sizes(source, spec, layout)
    if source.is_dir():
        files = _read_folder(source, layout, sizes.check)
    elif source.is_file():
        files = _read_archive(source, layout, sizes.check)
    else:
        raise UserError(f"{source} does not exist; expected {_accepted(layout)}.")
    names = {label.feature: _names(source, label, files[label.file]) for label in layout.labels}
    return Contents(names, {split: _examples(source, layout, files, split) for split in SPLITS})


class _Sizes:
    """What size each expected file must have, so that nothing larger is ever read."""

    def __init__(self, source: Path, spec: DatasetSpec, layout: Layout):
        self._source, self._record_bytes = source, layout.record_bytes
        self._examples = {
            file: spec.examples(split) // len(layout.files[split]) for split in SPLITS for file in layout.files[split]
        }

    def check(self, file: str, size: int) -> None:
        where = f"{self._source}: {file}"
        if file not in self._examples:
            if size > _NAMES_LIMIT:
                raise UserError(f"{where} has {size} bytes, too many for a list of names (at most {_NAMES_LIMIT}).")
            return
        found, rest = divmod(size, self._record_bytes)
        expected = self._examples[file]
        if rest:
            raise UserError(
                f"{where} has {size} bytes, which is no multiple of the record size of {self._record_bytes} bytes; "
                f"expected {expected} records ({expected * self._record_bytes} bytes)."
            )
        if found != expected:
            raise UserError(f"{where} holds {found} examples; expected {expected}.")


def _read_folder(source: Path, layout: Layout, check: Callable[[str, int], None]) -> dict[str, bytes]:
    expected = _expected_files(layout)
    inner = source / layout.folder
    folder = inner if inner.is_dir() and not (source / expected[0]).is_file() else source
    files = {}
    for file in expected:
        path = folder / file
        if not path.is_file():
            present = sorted(entry.name for entry in folder.iterdir())
            raise _missing(folder, file, present, layout)
        check(file, path.stat().st_size)
        files[file] = path.read_bytes()
    return files


def _read_archive(source: Path, layout: Layout, check: Callable[[str, int], None]) -> dict[str, bytes]:
    try:
        with gzip.open(source) as stream:
            return _read_members(source, stream, layout, check)
    except (EOFError, zlib.error) as error:
        raise UserError(f"{source} is truncated or damaged ({error}); fetch {layout.archive} again.") from error
    except tarfile.ReadError as error:
        raise UserError(f"{source} is not a whole tar archive ({error}); expected {_accepted(layout)}.") from error
    except gzip.BadGzipFile as error:
        raise UserError(f"{source} is not a sound .tar.gz archive ({error}); expected {_accepted(layout)}.") from error
    except OSError as error:
        raise UserError(f"{source} cannot be read: {error.strerror or error}.") from error
    except (ValueError, OverflowError) as error:  # of headers whose numbers are none
        raise UserError(f"{source} is not a sound archive ({error}); expected {_accepted(layout)}.") from error


def _read_members(
    source: Path, stream: gzip.GzipFile, layout: Layout, check: Callable[[str, int], None]
) -> dict[str, bytes]:
    expected = _expected_files(layout)
    files: dict[str, bytes] = {}
    seen: list[str] = []
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for member in archive:
            seen.append(member.name)
            file = PurePosixPath(member.name).name
            if file not in expected or file in files or not member.isfile():
                continue
            check(file, member.size)
            reader = archive.extractfile(member)
            assert reader is not None, "a regular member can be read"
            files[file] = reader.read()
    while stream.read(1 << 20):  # gzip compares its checksum only at the very end
        pass
    for file in expected:
        if file not in files:
            raise _missing(source, file, seen, layout)
    return files


def _names(source: Path, label: Labels, content: bytes) -> tuple[str, ...]:
    try:
        names = tuple(line.strip() for line in content.decode().splitlines() if line.strip())
    except UnicodeDecodeError as error:
        raise UserError(f"{source}: {label.file} is not text ({error}).") from error
    if len(names) != label.count or len(set(names)) != label.count:
        raise UserError(f"{source}: {label.file} lists {len(set(names))} different names; expected {label.count}.")
    return names


def _examples(source: Path, layout: Layout, files: dict[str, bytes], split: SplitName) -> Examples:
    for file in layout.files[split]:
        _check_labels(source, layout, file, _records(layout, files[file]))
    records = np.concatenate([_records(layout, files[file]) for file in layout.files[split]])
    planes = records[:, len(layout.labels) :].reshape(-1, 3, 32, 32)
    labels = {label.feature: records[:, i] for i, label in enumerate(layout.labels)}
    return Examples(planes.transpose(0, 2, 3, 1), labels)


def _check_labels(source: Path, layout: Layout, file: str, records: UInt8[np.ndarray, "examples bytes"]) -> None:
    for i, label in enumerate(layout.labels):
        wrong = np.flatnonzero(records[:, i] >= label.count)
        if wrong.size:
            value = records[wrong[0], i]
            raise UserError(
                f"{source}: {file}, record {wrong[0]}: {label.feature} is {value}; expected 0 to {label.count - 1}."
            )


def _records(layout: Layout, content: bytes) -> UInt8[np.ndarray, "examples bytes"]:
    return np.frombuffer(content, np.uint8).reshape(-1, layout.record_bytes)


def _expected_files(layout: Layout) -> tuple[str, ...]:
    return (*layout.files["train"], *layout.files["test"], *(label.file for label in layout.labels))


def _accepted(layout: Layout) -> str:
    return f"the official {layout.archive} or its unpacked folder {layout.folder}"


def _missing(where: Path, file: str, present: list[str], layout: Layout) -> UserError:
    shown = ", ".join(present[:6]) + (", …" if len(present) > 6 else "") if present else "nothing"
    return UserError(f"{where} lacks {file} (it holds {shown}); expected {_accepted(layout)}.")
