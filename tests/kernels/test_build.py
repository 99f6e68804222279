"""The library of CPU kernels is built whole or not at all, and what is missing is said."""

from __future__ import annotations

import pathlib

import pytest

from jaxopt_bench import UserError
from jaxopt_bench.kernels.build import build


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
