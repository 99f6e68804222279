"""Finds files by name in a folder or an archive (tar, compressed or not, or zip). It does not extract the archive.

Files are selected by the last part of their name, so absolute paths, `..` and links in an archive have no effect. A
file larger than expected is not read, because a small archive may claim, or decompress to, any size.
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
_LARGEST_READ = 4 * _CHUNK  # only headers that claim a huge size request more
_LARGEST_ARCHIVE = 1 << 30  # bytes, decompressed; the official archives have less than 200 MB
_MOST_MEMBERS = 10_000  # of a tar file, which lists its members one after another
_NAMES_KEPT = 20


class DamagedArchiveError(Exception):
    """The archive is truncated or damaged, or the file is not an archive; the message says which."""


@dataclasses.dataclass
class FoundFiles:
    """The result of a search for files.

    Attributes:
      contents: the contents of the files that were found, by name.
      oversized: the sizes of the files that were not read because they exceed their limits, by name.
      names: the first names in the folder or archive, for messages.
    """

    contents: dict[str, bytes] = dataclasses.field(default_factory=dict)
    oversized: dict[str, int] = dataclasses.field(default_factory=dict)
    names: list[str] = dataclasses.field(default_factory=list)

    def admits(self, name: str, size: int, limits: Mapping[str, int]) -> bool:
        """Returns whether a file should be read: it is requested, was not found before, and is not too large."""
        if name not in limits or name in self.contents or name in self.oversized:
            return False
        if size > limits[name]:
            self.oversized[name] = size
            return False
        return True


def read_folder(source: Path, subfolders: Sequence[str], limits: Mapping[str, int]) -> FoundFiles:
    """Returns the requested files in a folder or, if there are none, in the first subfolder that has any of them.

    Args:
      source: the folder.
      subfolders: names of folders in it.
      limits: the names of the requested files, and their largest accepted sizes in bytes.

    Raises:
      UserError: if a requested file is a named pipe, a device or a socket.
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
    """Returns the requested files in an archive, after comparing checksums.

    A compressed tar file is read to its end, because its checksum is there. A zip file has a checksum for each member;
    those of the requested files are compared.

    Args:
      source: a `.tar`, `.tar.gz`, `.tar.bz2`, `.tar.xz` or `.zip`; the format is detected from the content.
      limits: the names of the requested files, and their largest accepted sizes in bytes.

    Raises:
      DamagedArchiveError: if it is truncated, damaged or too large, or is not an archive.
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
            raise DamagedArchiveError(f"is truncated or damaged ({error})") from error  # raised by bz2
        except (ValueError, OverflowError, NotImplementedError, RuntimeError, MemoryError) as error:
            raise DamagedArchiveError(f"is damaged ({error})") from error  # invalid headers


class _Bounded:
    """A readable file that raises an error if more bytes are requested than any archive of these files needs."""

    def __init__(self, file: IO[bytes]):
        self._file = file

    def read(self, size: int = -1) -> bytes:
        size = _LARGEST_READ if size < 0 else size  # all; zip archives request this for their last bytes only
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
