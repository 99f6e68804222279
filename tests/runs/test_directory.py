"""Run directories: which one a command continues, files written whole or not at all, one process at a time."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.runs.directory import choose_directory, locked, read_json, write_json


def test_the_directory_is_named_by_name_and_digest(tiny, tmp_path):
    assert choose_directory(tiny, tmp_path) == tmp_path / "tiny" / tiny.digest
    other = dataclasses.replace(tiny, seed=1)
    assert choose_directory(other, tmp_path).name != tiny.digest


def test_fresh_runs_are_numbered_and_the_last_is_continued(tiny, tmp_path):
    for expected in ("", ".2", ".3"):
        directory = choose_directory(tiny, tmp_path, fresh=True)
        assert directory.name == tiny.digest + expected
        directory.mkdir(parents=True)
        assert choose_directory(tiny, tmp_path) == directory
    (tmp_path / "tiny" / tiny.digest).rmdir()
    assert choose_directory(tiny, tmp_path).name == tiny.digest + ".3"
    (tmp_path / "tiny" / f"{tiny.digest}.backup").mkdir()
    assert choose_directory(tiny, tmp_path).name == tiny.digest + ".3"


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    path_before = read_json(path)
    assert path_before == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["value.json"]


def test_every_text_comes_back(tmp_path):
    text = "\N{SNOWMAN} \N{GRINNING FACE} \\ud800 \\u001b \\\\u0000"
    write_json(tmp_path / "value.json", {text: text})
    assert read_json(tmp_path / "value.json") == {text: text}


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe",
        b"",
        rb'{"a": "\uD800"}',
        rb'{"a": "\u001b[31m"}',
        rb'{"\\\u0007": 1}',
        '{"a": "\x9b31m"}'.encode(),
        b'{"a": 1' + 20 * b"0" + b"}",
        b"[-" + 5000 * b"9" + b"]",
    ],
)
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json is damaged"):
        read_json(tmp_path / "config.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_json(tmp_path / "config.json")


def test_a_second_process_is_refused_and_told_who_holds_the_run(tmp_path):
    script = "import sys, pathlib; from jaxopt_bench.runs.directory import locked\n"
    script += "with locked(pathlib.Path(sys.argv[1])): pass"
    with locked(tmp_path):
        child = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert child.returncode != 0
    assert f"process {os.getpid()} on" in child.stderr
    child = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
