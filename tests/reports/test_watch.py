"""A page that is built again while a study is trained."""

from __future__ import annotations

import dataclasses
import time

import pytest

from jaxopt_bench.cli import report as command
from tests.reports.made import made_results, made_study, with_document

REFRESH = '<meta http-equiv="refresh" content="5">'


@pytest.fixture
def folder(tmp_path):
    """Returns the folder of a study of which only one optimizer has finished."""
    results, document = made_results(made_study(["adam", "sgd"]))
    part = dataclasses.replace(document, selections=document.selections[:1])
    with_document(results, part).save(tmp_path / "part")
    with_document(results, document).save(tmp_path / "whole")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_the_page_refreshes_itself_until_all_runs_have_ended(folder, call, monkeypatch):
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:  # no runs are there yet
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
    assert "is built again every 5 s until all runs have ended" in out
    assert len(slept) == 2
    assert REFRESH not in (folder / "page/index.html").read_text()
    assert (folder / "page/tables/ranking.csv").exists()


def test_ctrl_c_ends_it_with_a_whole_report(folder, call, monkeypatch):
    def interrupt(seconds: float) -> None:
        assert 0 <= seconds <= 5
        raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", interrupt)
    code, _, _ = call("report", "part", "--watch", "--out", "page")
    assert code == 0
    assert REFRESH not in (folder / "page/index.html").read_text()
    assert (folder / "page/files.json").exists()


def test_nothing_sleeps_if_all_runs_have_ended(folder, call, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    assert call("report", "whole", "--watch", "--out", "page")[0] == 0
