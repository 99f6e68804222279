"""The files that a report writes, and the files of others that it leaves unchanged."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import pytest

from jaxopt_bench import UserError
from jaxopt_bench.reports.report import report_of, write
from tests.reports.builders import make_results, make_study, with_document

LEFTOVER = ".jaxopt-bench-0123456789abcdef.tmp"


@pytest.fixture(scope="module")
def report():
    results, document = make_results(make_study(["adam", "sgd"]), confirmed=True)
    made = report_of(with_document(results, document), "made")
    return made.__class__(made.title, made.question, made.sections[:1] + made.sections[-1:], made.styles)


def test_leftovers_of_killed_reports_are_removed_and_nothing_else(report, tmp_path: pathlib.Path) -> None:
    others = ["mine.tmp", ".hidden.tmp", ".jaxopt-bench-mine.tmp", "tables/old.csv", "figures/.index.html.abc.tmp"]
    for folder in (".", "figures", "tables"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / LEFTOVER).write_text("half")
    for name in others:
        (tmp_path / name).write_text(name)
    write(report, tmp_path)
    assert not list(tmp_path.rglob(LEFTOVER))
    assert [(tmp_path / name).read_text() for name in others] == others
    assert (tmp_path / "index.html").exists()


def test_files_of_an_earlier_report_are_removed_and_files_of_others_stay(report, tmp_path) -> None:
    write(report, tmp_path)
    earlier = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    (tmp_path / "tables" / "mine.csv").write_text("mine")
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "tables" / "linked.csv").symlink_to(tmp_path / "theirs")
    named = json.loads((tmp_path / "files.json").read_text())
    assert earlier == {"index.html", "files.json", *named}
    (tmp_path / "files.json").write_text(json.dumps([*named, "../theirs", "theirs", "tables/linked.csv", 1]))
    write(dataclasses.replace(report, sections=report.sections[-1:]), tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    now = json.loads((tmp_path / "files.json").read_text())
    assert left == {"index.html", "files.json", "tables/mine.csv", "tables/linked.csv", *now}
    assert left < {*earlier, "tables/mine.csv", "tables/linked.csv"}
    assert (tmp_path / "theirs").read_text() == "theirs"


@pytest.mark.parametrize("name", ["index.html", "tables/ranking.md", "tables/ranking.csv"])
def test_a_link_in_place_of_a_file_is_named_and_its_target_unchanged(report, tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / "theirs").write_text("theirs")
    path = tmp_path / "report" / name
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "theirs")
    with pytest.raises(UserError, match=rf"{path.name} is a symbolic link"):
        write(report, tmp_path / "report")
    assert path.is_symlink()
    assert (tmp_path / "theirs").read_text() == "theirs"


@pytest.mark.parametrize("name", ["index.html", "tables/ranking.md", "tables/ranking.csv"])
def test_a_folder_in_place_of_a_file_is_named_and_unchanged(report, tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "mine").write_text("mine")
    with pytest.raises(OSError, match=pathlib.Path(name).name):
        write(report, tmp_path)
    assert (tmp_path / name / "mine").read_text() == "mine"
