"""The display of runs, results and verdicts in notebooks."""

from __future__ import annotations

import base64
import dataclasses
import pathlib
import re
import sys
from collections.abc import Callable
from html import escape

import pytest

from jaxopt_bench import Experiment, Run, load_run
from jaxopt_bench.reports.notebook import MOST_FIGURES, notebook_html
from jaxopt_bench.results import Results, load
from jaxopt_bench.runs import Recording
from jaxopt_bench.study import protocol
from jaxopt_bench.verdict import paragraphs, verdict
from tests.copies import copied
from tests.reports.builders import make_results, make_study, with_document

ROOT = pathlib.Path(__file__).parents[2]
PICTURE = re.compile(r'<img src="data:image/svg\+xml;base64,([^"]*)"')


def made() -> Results:
    return with_document(*make_results(make_study(["adam", "sgd"])))


def pictures(html: str) -> list[str]:
    """Returns the pictures of a display, as SVG."""
    return [base64.b64decode(text).decode() for text in PICTURE.findall(html)]


def test_results_of_a_study_are_the_answer_a_table_and_charts():
    results = made()
    html = results._repr_html_()
    assert html is not None
    found = verdict(results, results.documents[0])
    (answer, *_) = paragraphs(found, found.rankings[0])
    assert answer in html
    assert html.count("<table") == 1
    assert "each with its own 95% interval" in html
    drawn = pictures(html)
    assert len(drawn) == MOST_FIGURES
    assert all(svg.startswith("<svg") and ">adam</text>" in svg for svg in drawn)
    assert f"jaxopt-bench report {results.folder}" in html
    assert len(html) < 200_000
    assert "<script" not in html


def test_a_verdict_is_the_answer_and_a_table_for_each_workload():
    results = made()
    found = verdict(results, results.documents[0])
    html = found._repr_html_()
    assert html is not None
    assert html.count("<table") == len(found.rankings)
    assert paragraphs(found, found.rankings[0])[0] in html
    assert not pictures(html)


def test_a_study_is_its_question_and_its_protocol():
    study = dataclasses.replace(make_study(["adam", "sgd"]), question="Which one?")
    html = study._repr_html_()
    assert html is not None
    assert "Which one?" in html
    assert html.count("<li>") == len(protocol(study)) >= 3
    assert escape(protocol(study)[0]) in html


def test_a_run_is_its_result_and_its_curves(
    tiny: Experiment, train_once: Callable[..., list[Run]], tmp_path: pathlib.Path
):
    (whole,) = train_once([tiny], Recording(tensorboard=False))
    run = copied(whole, tmp_path)
    assert len(repr(run)) < 300
    html = run._repr_html_()
    assert html is not None
    assert run.summary is not None
    assert "tiny" in html
    assert f"{100 * run.summary['final']['test_accuracy']:.2f}%" in html
    (loss, error) = pictures(html)
    for svg in (loss, error):
        assert ">validation</text>" in svg
        assert ">gradient</text>" not in svg  # a series of another chart of the run
    (run.path / "config.json").unlink()
    assert run._repr_html_() is None


def test_names_are_text():
    study = dataclasses.replace(make_study(["adam", "sgd"]), question="<b>which?</b>")
    html = notebook_html(with_document(*make_results(study)))
    assert html is not None
    assert "<b>" not in html
    assert "&lt;b&gt;which?&lt;/b&gt;" in html


def test_without_the_extra_there_is_no_html(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)  # importing it fails as if it were not installed
    for name in [name for name in sys.modules if name.startswith("jaxopt_bench.reports.")]:
        monkeypatch.delitem(sys.modules, name)
    assert made()._repr_html_() is None


def test_other_objects_have_no_display():
    with pytest.raises(TypeError, match="str has no display"):
        notebook_html("text")


def test_results_are_short_in_a_terminal():
    recorded = load(ROOT / "experiments" / "results" / "digits")
    assert re.fullmatch(r"Results\(144 runs, [\d,]+ lines of metrics, studies: digits\)", repr(recorded))
    nothing = dataclasses.replace(recorded, documents=(), runs=recorded.runs.clear())
    assert re.fullmatch(r"Results\(0 runs, [\d,]+ lines of metrics, studies: none\)", repr(nothing))


def test_an_unfinished_run_is_shown(tiny: Experiment, train_once: Callable[..., list[Run]], tmp_path: pathlib.Path):
    (whole,) = train_once([tiny], Recording(tensorboard=False))
    run = copied(whole, tmp_path)
    (run.path / "summary.json").unlink()
    html = load_run(run.path)._repr_html_()
    assert html is not None
    assert "in progress, or was killed" in html
