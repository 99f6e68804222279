"""Files are written completely or not at all, through the user's links; files of others are not removed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pathlib
import stat
import subprocess
import sys
import threading

import hypothesis
import hypothesis.strategies as st
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.files import (
    open_regular,
    read_regular,
    remove_leftovers,
    remove_regular,
    replacing,
    scratch_folder,
    sha256_of_file,
    temporary_name,
)
from jaxopt_bench.strict_json import json_text, sha256_of_json

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""The SHA-256 sum of "abc": FIPS 180-2, appendix B.1."""


def write(path: pathlib.Path, content: bytes, **options: bool) -> None:
    with replacing(path, **options) as (file, _):
        file.write(content)


def names(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_block_that_raises_leaves_the_old_file_and_no_other(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(TypeError), replacing(tmp_path / "a") as (file, _):
        file.writelines([b"new", "no bytes"])
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o444])
def test_a_file_keeps_its_permissions(tmp_path, mode):
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(mode)
    write(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_permissions_that_the_mask_leaves(tmp_path, mask):
    script = f"import os, pathlib; os.umask({mask}); from jaxopt_bench.files import replacing\n"
    script += "with replacing(pathlib.Path('new')) as (file, _): pass"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("there", [True, False])
def test_a_chain_of_links_is_followed_to_its_target(tmp_path, there):
    (tmp_path / "data").mkdir()
    target = tmp_path / "data" / "target"
    if there:
        target.write_text("old")
    (tmp_path / "second").symlink_to("data/target")
    (tmp_path / "first").symlink_to("second")
    write(tmp_path / "first", b"new")
    assert target.read_text() == "new"
    assert (tmp_path / "first").readlink() == pathlib.Path("second")
    assert names(tmp_path / "data") == ["target"]


def test_records_are_not_written_through_links(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(UserError, match="symbolic link"):
        write(tmp_path / "link", b"new", follow_links=False)
    assert (tmp_path / "target").read_text() == "old"


def test_a_named_pipe_is_written_to(tmp_path):
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write(pipe, b"content")
    reader.join(timeout=10)
    assert found == [b"content"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert names(tmp_path) == ["pipe"]


def test_a_device_is_written_to():
    write(pathlib.Path("/dev/null"), b"content")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1"])
@pytest.mark.parametrize("how", ["file", "pipe"])
def test_open_files_are_written_to_at_their_position(tmp_path, path, how):
    script = "import pathlib; from jaxopt_bench.files import replacing; print('before', flush=True)\n"
    script += f"with replacing(pathlib.Path({path!r})) as (file, _): file.write(b'content\\n')\nprint('after')"
    if how == "pipe":
        found = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE).stdout
    else:
        with (tmp_path / "out").open("wb") as out:
            subprocess.run([sys.executable, "-c", script], check=True, stdout=out)
        found = (tmp_path / "out").read_bytes()
    assert found == b"before\ncontent\nafter\n"
    assert os.path.exists(path)


def test_names_of_255_bytes_can_be_written(tmp_path):
    write(tmp_path / ("ü" * 127), b"content")
    assert (tmp_path / ("ü" * 127)).read_bytes() == b"content"


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_only_regular_files_are_read(tmp_path, kind):
    path = pathlib.Path("/dev/zero") if kind == "device" else tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(UserError, match="not a regular file"):
        open_regular(path)
    (tmp_path / "b").write_text("content")
    (tmp_path / "link").symlink_to("b")
    assert read_regular(tmp_path / "link") == b"content"


def test_only_temporary_files_without_a_writer_are_removed(tmp_path):
    foreign = [".a.tmp", ".jaxopt-bench-x.tmp", f"{temporary_name()}x", f"a{temporary_name()}", ".jaxopt-bench-.tmp"]
    for name in foreign:
        (tmp_path / name).write_text("mine")
    folder, link = tmp_path / temporary_name(), tmp_path / temporary_name()
    folder.mkdir()
    link.symlink_to(tmp_path / foreign[0])
    stale, held = tmp_path / temporary_name(), tmp_path / temporary_name()
    stale.write_text("half")
    with held.open("w") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        remove_leftovers(tmp_path)
        assert names(tmp_path) == sorted([*foreign, folder.name, link.name, held.name])
    remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted([*foreign, folder.name, link.name])
    remove_leftovers(tmp_path / "absent")


def test_a_file_that_is_being_written_is_not_removed_as_a_leftover(tmp_path):
    with replacing(tmp_path / "a") as (file, temporary):
        remove_leftovers(tmp_path)
        assert temporary.exists()
        file.write(b"content")
    assert (tmp_path / "a").read_bytes() == b"content"


def test_a_killed_writer_leaves_the_old_file_and_a_leftover_that_is_removed(tmp_path):
    (tmp_path / "a").write_text("old")
    script = "import os, pathlib, signal; from jaxopt_bench.files import replacing\n"
    script += "with replacing(pathlib.Path('a')) as (file, _): file.write(b'new'); os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path)
    assert len(names(tmp_path)) == 2
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_only_regular_files_are_removed(tmp_path, kind):
    path = tmp_path / "a"
    remove_regular(path)
    if kind == "link":
        path.symlink_to("absent")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(UserError, match="not a regular file"):
        remove_regular(path)
    assert os.path.lexists(path)


def test_a_scratch_folder_is_removed_by_its_process_or_by_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    foreign = [*(f"jaxopt-bench-{digit * 16}" for digit in "012"), "jaxopt-bench-tests"]
    for name in foreign:
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("mine")
    (tmp_path / foreign[1] / "jaxopt-bench.lock").symlink_to(tmp_path / foreign[1] / "mine")
    os.mkfifo(tmp_path / foreign[2] / "jaxopt-bench.lock")
    script = "import os, pathlib, signal; from jaxopt_bench.files import scratch_folder\n"
    script += (
        "with scratch_folder() as folder: (folder / 'a').symlink_to('../..'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    for _ in range(2):  # the second process removes the folder of the first
        subprocess.run([sys.executable, "-c", script], env={**os.environ, "TMPDIR": str(tmp_path)})
        assert len(names(tmp_path)) == len(foreign) + 1
    with scratch_folder() as mine:
        with scratch_folder():
            assert mine.is_dir()
        assert len(names(tmp_path)) == len(foreign) + 1
    assert names(tmp_path) == sorted(foreign)
    assert all((tmp_path / name / "mine").read_text() == "mine" for name in foreign)


def test_the_sha256_sum_of_a_file_agrees_with_the_standard(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "a") == ABC
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="not a regular file"):
        sha256_of_file(tmp_path / "pipe")


def test_the_sha256_sum_of_a_json_value_is_that_of_its_text_with_sorted_fields():
    text = '{"a": [1, null], "b": {"c": 0.5, "d": "\\u00e9"}}'
    value = {"b": {"d": "é", "c": 0.5}, "a": (1, None)}
    assert sha256_of_json(value) == hashlib.sha256(text.encode()).hexdigest()
    assert sha256_of_json({**value, "a": [1, 0]}) != sha256_of_json(value)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@hypothesis.given(JSON_VALUES)
def test_written_json_reads_back_as_the_same_value(value):
    assert json.loads(json_text(value)) == value


def test_short_objects_are_written_on_one_line_and_long_ones_line_by_line():
    text = json_text({"runs": [{"seed": 0, "path": "a"}, {"seed": 1, "path": "b"}], "long": ["x" * 150, "y" * 150]})
    assert text.splitlines() == [
        "{",
        '  "runs": [',
        '    {"seed": 0, "path": "a"},',
        '    {"seed": 1, "path": "b"}',
        "  ],",
        '  "long": [',
        f'    "{"x" * 150}",',
        f'    "{"y" * 150}"',
        "  ]",
        "}",
    ]
