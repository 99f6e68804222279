"""Finds files by name in a folder or an archive (tar, compressed or not, or zip). Extracts nothing.

Files are picked by the last part of their name, so absolute paths, `..` and links in an archive have no meaning here.
Nothing larger than expected is read: a small archive may claim, or decompress to, any size.
"""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

from jaxopt_bench.files import open_regular

_CHUNK = 1 << 20  # bytes
_LARGEST_READ = 4 * _CHUNK  # more is asked for only by headers that claim to be huge
_LARGEST_ARCHIVE = 1 << 30  # bytes, decompressed; the official ones have below 200 MB
_MOST_MEMBERS = 10_000
_NAMES_KEPT = 20


class DamagedArchiveError(Exception):
    """The archive is truncated, damaged, or no archive at all; the message says which."""


@dataclasses.dataclass
class FoundFiles:
    """What was found of the files that were looked for.

    Attributes:
      contents: the files' contents.
      oversized: the sizes of those that were not read, since they are larger than they may be.
      names: the first names in the folder or archive, for messages.
    """

    contents: dict[str, bytes] = dataclasses.field(default_factory=dict)
    oversized: dict[str, int] = dataclasses.field(default_factory=dict)
    names: list[str] = dataclasses.field(default_factory=list)

    def admits(self, name: str, size: int, limits: Mapping[str, int]) -> bool:
        """Returns whether a file should be read: it is looked for, new, and not too large."""
        if name not in limits or name in self.contents or name in self.oversized:
            return False
        if size > limits[name]:
            self.oversized[name] = size
            return False
        return True


def read_folder(source: Path, subfolders: Sequence[str], limits: Mapping[str, int]) -> FoundFiles:
    """Returns those of the files that are in a folder, or else in the first of its subfolders that has any.

    Args:
      source: the folder.
      subfolders: names of folders in it.
      limits: the names of the files, and the most bytes that each may have.

    Raises:
      UserError: if one of them is a named pipe, a device or a socket.
      OSError: if the folder or a file cannot be read.
    """
    folders = [source, *(source / name for name in subfolders)]
    folder = next((candidate for candidate in folders if any((candidate / file).is_file() for file in limits)), source)
    found = FoundFiles(names=sorted(path.name for path in folder.iterdir())[:_NAMES_KEPT])
    for name in limits:
        path = folder / name
        if path.exists() and not path.is_dir():
            with open_regular(path) as file:
                if found.admits(name, path.stat().st_size, limits):
                    found.contents[name] = file.read()
    return found


def read_archive(source: Path, limits: Mapping[str, int]) -> FoundFiles:
    """Returns those of the files that are in an archive, of which all is read to compare its checksums.

    Args:
      source: a `.tar`, `.tar.gz`, `.tar.bz2`, `.tar.xz` or `.zip`, told by its content.
      limits: the names of the files, and the most bytes that each may have.

    Raises:
      DamagedArchiveError: if it is truncated, damaged, too large, or not an archive.
      UserError: if it is not a regular file.
      OSError: if it cannot be read.
    """
    with open_regular(source) as file:
        try:
            start = file.read(6)
            file.seek(0)
            if start.startswith(b"PK"):
                return _read_zip(_Bounded(file), limits)
            return _read_tar(_Bounded(_decompress(file, start)), limits)
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile) as error:
            raise DamagedArchiveError(f"is truncated or damaged ({error})") from error
        except tarfile.ReadError as error:
            raise DamagedArchiveError(f"is not a tar or zip archive, or is damaged ({error})") from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise DamagedArchiveError(f"is truncated or damaged ({error})") from error  # as bz2 says it
        except (ValueError, OverflowError, NotImplementedError, RuntimeError, MemoryError) as error:
            raise DamagedArchiveError(f"is damaged ({error})") from error  # headers that make no sense


class _Bounded:
    """A file to read, which refuses to give more than any archive of these files needs."""

    def __init__(self, file: IO[bytes]):
        self._file = file

    def read(self, size: int = -1) -> bytes:
        size = _LARGEST_READ if size < 0 else size  # "all", of which zip archives only ask for their last bytes
        if size > _LARGEST_READ:
            raise DamagedArchiveError(f"has a header that claims a size of {size:,} bytes")
        self._check(self._file.tell() + size)
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET:
            self._check(offset)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def _check(self, position: int) -> None:
        if position > _LARGEST_ARCHIVE + _LARGEST_READ:
            raise DamagedArchiveError(f"has more than {_LARGEST_ARCHIVE:,} bytes when it is decompressed")


def _decompress(file: IO[bytes], start: bytes) -> IO[bytes]:
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(file))
    if start.startswith(b"BZh"):
        return cast(IO[bytes], bz2.open(file))
    if start == b"\xfd7zXZ\0":
        return cast(IO[bytes], lzma.open(file))
    return file


def _read_tar(stream: _Bounded, limits: Mapping[str, int]) -> FoundFiles:
    found = FoundFiles()
    with tarfile.open(fileobj=cast(Any, stream), mode="r:") as archive:
        for count, member in enumerate(archive):
            if count == _MOST_MEMBERS:
                raise DamagedArchiveError(f"has more than {_MOST_MEMBERS:,} members")
            found.names += [member.name] if count < _NAMES_KEPT else []
            name = _last_part(member.name)
            if member.isreg() and not member.issparse() and found.admits(name, member.size, limits):
                reader = archive.extractfile(member)
                assert reader is not None, "a regular member can be read"
                found.contents[name] = b"".join(_chunks(reader))
    for _ in _chunks(stream):  # gzip compares its checksum only at the very end
        pass
    return found


def _read_zip(stream: _Bounded, limits: Mapping[str, int]) -> FoundFiles:
    found = FoundFiles()
    with zipfile.ZipFile(cast(Any, stream)) as archive:
        for count, member in enumerate(archive.infolist()):
            found.names += [member.filename] if count < _NAMES_KEPT else []
            name = _last_part(member.filename)
            if not member.is_dir() and found.admits(name, member.file_size, limits):
                with archive.open(member) as reader:
                    found.contents[name] = b"".join(_chunks(reader))
    return found


def _chunks(reader: Any) -> Iterator[bytes]:
    while chunk := reader.read(_CHUNK):
        yield chunk


def _last_part(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]
