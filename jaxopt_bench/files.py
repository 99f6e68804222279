"""Files written so that a crash leaves the old one or the new one, never a part."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_TEMPORARY = ".tmp"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Opens a temporary file beside `path`, given with its name, that replaces `path` when it is safely on disk.

    Where the block raises, `path` is as it was and the temporary file is gone. Errors of the file system name `path`.
    """
    with naming(path):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_TEMPORARY, dir=path.parent)
        temporary = Path(name)
        try:
            with open(descriptor, "wb") as file:
                yield file, temporary
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o664)  # folders may be shared; temporary files are the owner's alone
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Makes errors of the file system name a file: those of writing, such as a full disk's, name none."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def remove_leftovers(folder: Path) -> None:
    """Removes what processes have left in a folder that were killed while they replaced a file of it.

    Nobody may be replacing one now.
    """
    for path in folder.glob(f".*{_TEMPORARY}"):
        path.unlink(missing_ok=True)
