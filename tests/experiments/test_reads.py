"""`ReadCounter` counts each opening of a file for reading once, and no writes.

This module imports no large packages, because the child process imports it, too.
"""

from __future__ import annotations

import os
import pathlib
import sys

from experiments.speed.measure.process import in_new_process
from experiments.speed.measure.reads import ReadCounter, count_reads


def use_files(folder: pathlib.Path, outside: pathlib.Path) -> dict[str, int]:
    """Reads, writes and lists files in several ways, and returns the counts."""
    counter = ReadCounter(folder)
    (folder / "read.json").write_text("{}")
    (folder / "read.json").read_text()
    (folder / "sub" / "records.jsonl").read_bytes()
    with open(folder / "sub" / "records.jsonl", opener=os.open) as file:
        file.read()
    os.chdir(folder)
    with open("sub/records.jsonl", "rb") as first, open(os.dup(first.fileno()), "rb") as same:
        assert first.read() == b"" == same.read()
    with open(folder / "written.json", "a+") as file:
        file.write("")
    os.close(os.open(folder, os.O_RDONLY))
    os.close(os.open("read.json", os.O_RDWR))
    list(os.scandir(folder))
    outside.read_text()
    return dict(counter.reads)


def test_files_that_are_opened_for_reading_are_counted(tmp_path: pathlib.Path) -> None:
    (tmp_path / "runs" / "sub").mkdir(parents=True)
    (tmp_path / "runs" / "sub" / "records.jsonl").touch()
    (tmp_path / "runs.json").touch()
    reads = in_new_process(use_files, tmp_path / "runs", tmp_path / "runs.json")
    assert reads == {"read.json": 1, "sub/records.jsonl": 4 if sys.platform == "linux" else 3}


def test_reads_are_summed_by_the_files_names() -> None:
    counted = count_reads({"a/1/config.json": 2, "a/2/config.json": 5, "a/p/checkpoints/7/d/0f": 1, "a/1/lock": 1})
    assert (counted["files_read"], counted["file_reads"], counted["most_reads_of_a_file"]) == (4, 9, 5)
    assert counted["reads_by_name"] == {
        "checkpoints": {"files": 1, "reads": 1, "most": 1},
        "config.json": {"files": 2, "reads": 7, "most": 5},
        "lock": {"files": 1, "reads": 1, "most": 1},
    }
    assert count_reads({})["most_reads_of_a_file"] == 0
