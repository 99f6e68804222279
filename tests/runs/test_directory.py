"""Run directories: the choice of the directory, atomic writes, damaged files, and locks for one process at a time."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.runs import directory
from jaxopt_bench.runs.directory import choose_directories, lock_directory
from jaxopt_bench.strict_json import read_json, write_json


def choose_directory(experiment, runs_dir, fresh=False):
    (directory,) = choose_directories([experiment], runs_dir, fresh)
    return directory


def test_the_directory_is_named_by_name_and_digest(tiny, tmp_path):
    assert choose_directory(tiny, tmp_path) == tmp_path / "tiny" / tiny.digest
    other = dataclasses.replace(tiny, seed=1)
    assert choose_directory(other, tmp_path).name != tiny.digest


def test_fresh_runs_are_numbered_and_the_last_one_is_resumed(tiny, tmp_path):
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


def test_any_text_is_read_back_unchanged(tmp_path):
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
        b'{"a": 1e400}',
        b'{"a": -1e999}',
    ],
)
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json is damaged"):
        read_json(tmp_path / "config.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_json(tmp_path / "config.json")


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_only_a_regular_file_is_read(tmp_path, kind):
    if kind == "pipe":
        os.mkfifo(tmp_path / "config.json")
    else:
        (tmp_path / "config.json").mkdir()
    with pytest.raises(UserError, match=r"config\.json is not a regular file"):
        read_json(tmp_path / "config.json")


def test_files_and_folders_of_others_are_neither_resumed_nor_overwritten(tiny, tmp_path):
    first = choose_directory(tiny, tmp_path)
    first.mkdir(parents=True)
    first.with_name(f"{first.name}.7").write_text("a file")
    first.with_name(f"{first.name}.2023").mkdir()
    (first.with_name(f"{first.name}.2023") / "photo.jpg").write_text("a picture")
    assert choose_directory(tiny, tmp_path) == first
    assert choose_directory(tiny, tmp_path, fresh=True).name == f"{tiny.digest}.2024"


def test_a_second_process_is_refused_and_the_error_names_the_first_one(tmp_path):
    script = "import sys, pathlib; from jaxopt_bench.runs.directory import lock_directory\n"
    script += "with lock_directory(pathlib.Path(sys.argv[1])): pass"
    with lock_directory(tmp_path):
        child = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert child.returncode != 0
    assert f"process {os.getpid()} on" in child.stderr
    child = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr


HOLDER = """
import os, pathlib, signal, sys
from jaxopt_bench.runs.directory import lock_directory
with lock_directory(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    signal.pause()
"""


def test_waiting_for_a_suspended_process_causes_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(directory, "WARN_AFTER", 0.2)
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGSTOP)
        threading.Timer(0.6, holder.kill).start()
        with pytest.warns(UserWarning, match="waiting for") as said, lock_directory(tmp_path, wait=True):
            pass
    (warning,) = said
    assert re.search(rf"process {holder.pid} on \S+ since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d", str(warning.message))
    assert "kill -CONT" in str(warning.message)


def test_a_short_wait_causes_no_warning(tmp_path, recwarn):
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        threading.Timer(0.2, holder.kill).start()
        with lock_directory(tmp_path, wait=True):
            pass
    assert not recwarn.list


@pytest.mark.parametrize("kind", ["file", "link", "pipe", "folder"])
def test_a_lock_file_of_another_program_is_not_changed(tmp_path, kind):
    lock, target = tmp_path / "run" / "lock", tmp_path / "target"
    lock.parent.mkdir()
    target.write_text("ssh-ed25519 AAAA")
    if kind == "file":
        lock.write_text("mine")
    elif kind == "link":
        lock.symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    with (
        pytest.raises(UserError, match=r"lock was not made by this program.*Move it away"),
        lock_directory(lock.parent),
    ):
        pass
    assert target.read_text() == "ssh-ed25519 AAAA"
    if kind == "file":
        assert lock.read_text() == "mine"
