"""The library of CPU kernels is built completely or not at all, and missing tools are reported."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from jaxopt_bench import UserError, kernels
from jaxopt_bench.kernels.build import build

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = """
import contextlib, sys
from jaxopt_bench.cli import main
for action in sys.argv[1:]:
    with contextlib.suppress(SystemExit):
        main(["kernels", action])
"""


@pytest.fixture
def installed(tmp_path: pathlib.Path) -> pathlib.Path:
    """Returns a folder with a copy of the package without built kernels."""
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("there is no C++ compiler")
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "jaxopt_bench", tmp_path / "copy" / "jaxopt_bench", ignore=ignored)
    return tmp_path / "copy"


def kernels_commands(folder: pathlib.Path, *actions: str, **variables: str) -> list[str]:
    """Returns the lines that `jaxopt-bench kernels` prints for each action, with the package in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *actions],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.slow
def test_the_kernels_are_built_shown_and_removed(installed: pathlib.Path) -> None:
    library = installed / "jaxopt_bench" / "kernels" / "kernels.so"
    built, *shown = kernels_commands(installed, "build", "show")
    assert built.startswith(f"built {library} in ")
    assert shown[0] == f"file: {library}"
    assert built.partition("s: ")[2] in shown[1]  # the compiler and oneDNN
    assert shown[2] == "oneDNN's convolutions used here: yes (layers onednn)"
    assert shown[3] == "fused updates used here: yes (updates fused)"
    removed, *shown, again = kernels_commands(installed, "remove", "show", "remove")
    assert removed == f"removed {library}"
    assert not library.exists()
    assert shown[1].startswith("built: no. `jaxopt-bench kernels`")
    assert shown[2] == "oneDNN's convolutions used here: no (layers pure)"
    assert again == f"nothing to remove: {library} does not exist"


@pytest.mark.slow
def test_without_onednn_the_other_kernels_are_built(installed: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "dnnl.h").write_text("#error")
    built, advice, *shown = kernels_commands(installed, "build", "show", CXXFLAGS=f"-I{tmp_path}")
    assert built.endswith("no oneDNN")
    assert "install oneDNN (Linux x86-64: pip install 'jaxopt-bench[kernels]'; Debian: libdnnl-dev" in advice
    assert shown[1].startswith("built: yes (")
    assert shown[2] == "oneDNN's convolutions used here: no (layers pure)"


def test_without_a_compiler_the_error_names_it(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"there is no C\+\+ compiler \(no-such-compiler\)\. Install one"):
        build(tmp_path / "kernels.so")
    assert list(tmp_path.iterdir()) == []


def test_a_compiler_that_fails_leaves_the_library_as_it_was(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "false")
    (tmp_path / "kernels.so").write_text("before")
    with pytest.raises(UserError, match="the compiler false failed"):
        build(tmp_path / "kernels.so")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("kernels.so", "before")]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"the folder .*file cannot be written: Not a directory"):
        build(tmp_path / "file" / "kernels.so")


def test_make_continues_without_a_compiler_and_reports_this_once(tmp_path: pathlib.Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(kernels.FOLDER, tmp_path / "jaxopt_bench" / "kernels")
    command = tmp_path / ".venv" / "bin" / "jaxopt-bench"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\necho error: there is no C++ compiler >&2\nexit 1\n")
    command.chmod(0o755)
    (tmp_path / ".venv" / "ready").touch()

    def make(target: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["make", "-s", target], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    first = make("setup")
    assert (first.returncode, first.stderr) == (0, "")
    assert len(first.stdout.splitlines()) == 1
    assert "The CPU kernels are not built" in first.stdout
    assert make("setup").stdout == ""
    newer = (tmp_path / ".venv" / "kernels").stat().st_mtime + 60
    os.utime(tmp_path / "jaxopt_bench" / "kernels" / "convolution.cc", (newer, newer))
    assert make("setup").stdout == first.stdout
    asked = make("kernels")
    assert asked.returncode != 0
    assert "there is no C++ compiler" in asked.stderr
