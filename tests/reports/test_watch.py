"""A page that is rebuilt while a study is trained."""

from __future__ import annotations

import dataclasses
import time

import pytest

from jaxopt_bench import catalog
from jaxopt_bench.cli import report as command
from jaxopt_bench.results import load

REFRESH = '<meta http-equiv="refresh" content="5">'


@pytest.fixture
def folder(tmp_path):
    """Returns a folder with a complete study, a study without the runs of one optimizer, and an empty folder."""
    whole = load(catalog.experiments_dir() / "results" / "digits")
    (document,) = whole.documents
    without = {
        name: tuple(entry for entry in getattr(document, name) if entry.contender != "padam")
        for name in ("runs", "selections", "timings")
    }
    runs = whole.runs.filter(whole.runs["contender"] != "padam")
    curves = whole.curves.filter(whole.curves["path"].is_in(runs["path"].to_list()))
    part = dataclasses.replace(whole, runs=runs, curves=curves, documents=(dataclasses.replace(document, **without),))
    whole.save(tmp_path / "whole", compact=True)
    part.save(tmp_path / "part", compact=True)
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_the_page_refreshes_itself_until_all_runs_have_ended(folder, call, monkeypatch):
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:  # the study has no runs yet
            assert not (folder / "page").exists()
            (folder / "part").rename(folder / "study")
        elif len(slept) == 2:  # the study is incomplete
            assert REFRESH in (folder / "page/index.html").read_text()
            (folder / "study").rename(folder / "part")
            (folder / "whole").rename(folder / "study")
        else:
            pytest.fail("it goes on though all runs have ended")

    monkeypatch.setattr(command.time, "sleep", sleep)
    (folder / "empty").rename(folder / "study")

    code, out, _ = call("report", "study", "--watch", "--out", "page")
    assert code == 0
    assert "is built again every 5 s until all runs have ended" in " ".join(out.split())
    assert len(slept) == 2
    assert REFRESH not in (folder / "page/index.html").read_text()
    assert (folder / "page/tables/ranking.csv").exists()


def test_ctrl_c_ends_the_command_with_a_complete_report(folder, call, monkeypatch):
    def interrupt(seconds: float) -> None:
        assert 0 <= seconds <= 5
        raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", interrupt)
    code, _, _ = call("report", "part", "--watch", "--out", "page")
    assert code == 0
    assert REFRESH not in (folder / "page/index.html").read_text()
    assert (folder / "page/files.json").exists()


def test_the_command_does_not_wait_if_all_runs_have_ended(folder, call, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    assert call("report", "whole", "--watch", "--out", "page")[0] == 0


def test_a_folder_that_does_not_exist_is_an_error_without_a_promise(folder, call):
    code, out, error = call("report", "absent", "--watch", "--out", "page")
    assert code == 1
    assert out == ""
    assert "'absent' is not a folder" in error
