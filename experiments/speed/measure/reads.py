"""Counts how often this process reads each file."""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any


class ReadCounter:
    """Counts how often Python opens the files below a folder for reading, from now to the end of this process.

    It does not count files that libraries open themselves, such as TensorStore, which reads checkpoints. A file opened
    by `os.open` counts when it becomes a Python file, only on Linux.

    Attributes:
      reads: the number of times, by the path of the file in the folder.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = os.path.join(os.path.abspath(folder), "")
        self.reads: collections.Counter[str] = collections.Counter()
        sys.addaudithook(self._count)  # a hook cannot be removed

    def _count(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not (arguments[1] or "").startswith("r"):  # the event of `os.open` has no mode
            return
        with contextlib.suppress(OSError):
            file = arguments[0]
            path = os.readlink(f"/proc/self/fd/{file}") if isinstance(file, int) else os.path.abspath(os.fsdecode(file))
            if path.startswith(self.folder):
                self.reads[path.removeprefix(self.folder)] += 1


def count_reads(reads: Mapping[str, int]) -> dict[str, Any]:
    """Returns the fields of a row about reads: of all files, of the file with the most reads, and by file name.

    The files below a folder `checkpoints` count under that name.

    Args:
      reads: the number of times that each file was opened for reading, by its path.
    """
    by_name: dict[str, list[int]] = collections.defaultdict(list)
    for path, count in reads.items():
        parts = pathlib.PurePath(path).parts
        by_name["checkpoints" if "checkpoints" in parts else parts[-1]].append(count)
    return {
        "files_read": len(reads),
        "file_reads": sum(reads.values()),
        "most_reads_of_a_file": max(reads.values(), default=0),
        "reads_by_name": {
            name: {"files": len(counts), "reads": sum(counts), "most": max(counts)}
            for name, counts in sorted(by_name.items())
        },
    }
