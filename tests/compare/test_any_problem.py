"""A study of a problem without images, labels and accuracy, from its trials to its confirmations."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pytest
from rich.console import Console

from jaxopt_bench import UserError
from jaxopt_bench.compare import compare, progress_for
from jaxopt_bench.experiment import Workload
from jaxopt_bench.optimizers import SGD
from jaxopt_bench.problems import PROBLEMS, Metric
from jaxopt_bench.results import load
from jaxopt_bench.study import Claim, Comparison, Study, Target
from jaxopt_bench.verdict import paragraphs, verdict
from tests.compare.conftest import contender
from tests.problems.line import Line


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers the problem under a name during a test."""
    monkeypatch.setitem(PROBLEMS, "line", Line())


def study(*problems: Line, **fields) -> Study:
    """Returns a study of gradient descent with small and with large learning rates, some of which diverge."""
    workloads = [Workload(name=f"line_{i}", problem=p, epochs=2, batch_size=32) for i, p in enumerate(problems)]
    defaults = {
        "name": "lines",
        "workloads": tuple(workloads),
        "contenders": (contender("slow", SGD(), 1e-3, 1e-2), contender("fast", SGD(), 1e-1, 1e30)),
        "trials": 3,
        "finalists": 0,
        "seeds": 2,
        "select": "validation_r2",
    }
    return Study(**defaults | fields)


def test_a_study_is_judged_and_reported_with_the_problems_own_metrics(tmp_path):
    console = Console(file=io.StringIO())
    made = study(Line(), Line(test=0), search="random", seed=2)
    document = compare(made, tmp_path / "study", progress=progress_for(console))
    results = load(tmp_path / "study")
    runs = results.runs
    for chosen in document.selections:
        rows = runs.filter(
            runs["phase"] == "trial",
            runs["workload"] == chosen.workload,
            runs["contender"] == chosen.contender,
            runs["status"] == "completed",
        )
        assert chosen.diverged == 3 - len(rows)
        if len(rows):
            best = rows["final.validation_r2"].max()
            assert chosen.value == best
            assert rows.filter(rows["trial"] == chosen.trial)["final.validation_r2"].to_list() == [best]
    assert sum(chosen.diverged for chosen in document.selections) > 0
    found = verdict(results, document)
    assert found.complete
    said = [" ".join(paragraphs(found, ranking)) for ranking in found.rankings]
    assert "the lowest mean test relative error, 0." in said[0]
    assert "the lowest mean validation relative error, 0." in said[1]
    assert "There are no test results" in said[1]
    shown = console.file.getvalue()
    assert "line_0, slow: validation R² 0." in shown
    assert "accuracy" not in shown + "".join(said)


def test_trials_without_validation_examples_are_judged_by_steps_to_a_target(tmp_path):
    target = Target(workload="line_0", measure="train_clean_relative_error", value=0.99)
    made = study(Line(noise=0.0, validation=0, test=0), select="steps_to_target", targets=(target,), trials=2)
    made = dataclasses.replace(made, contenders=made.contenders[:1])
    document = compare(made, tmp_path / "study")
    (chosen,) = document.selections
    assert chosen.value == 4  # the end of the first epoch
    found = verdict(load(tmp_path / "study"), document)
    said = " ".join(paragraphs(found, found.rankings[0]))
    assert "the lowest mean clean training relative error" in said
    assert "There are neither test nor validation results: these are of the training split." in said
    assert found.rankings[0].standings[0].steps == 4


R_2 = Comparison(measure="test_R2", lower="slow", higher="fast")


class LineWithUnknownMetrics(Line):
    """A problem whose metrics and splits are unknown until it is loaded, like a user's problem."""

    metric_names = None
    validates = True  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"select": "validation_rsquared"}, "unknown measure in Study.select, on the workload line_0 'validation_rsq"),
        (
            {"targets": (Target(workload="line_0", measure="train_clean_r3", value=0.5),)},
            "unknown measure of the target of line_0 'train_clean_r3'; did you mean train_clean_r2",
        ),
        (
            {"claims": (Claim(text="so", source="x", comparisons=(R_2,)),)},
            "unknown measure of the claim 'so' 'test_R2'; did you mean test_r2",
        ),
        ({"refit": True}, "LineWithUnknownMetrics cannot be trained on its validation examples"),
    ],
)
def test_unknown_measures_and_impossible_refitting_are_refused_before_training(tmp_path, monkeypatch, fields, message):
    monkeypatch.setitem(PROBLEMS, "unsaid", LineWithUnknownMetrics())
    with pytest.raises(UserError, match=message):
        compare(study(LineWithUnknownMetrics(), **fields), tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_missing_validation_examples_are_reported_before_training(tmp_path, monkeypatch):
    monkeypatch.setitem(PROBLEMS, "unsaid", LineWithUnknownMetrics())
    made = study(LineWithUnknownMetrics(validation=0))
    with pytest.raises(UserError, match="the workload line_0 has no validation examples, by which the trials of slow"):
        compare(made, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_each_different_problem_is_loaded_once_before_training(tmp_path, monkeypatch):
    loaded, load_line = [], Line.load

    def counted(problem, *arguments):
        loaded.append(problem)
        raise_at_third = len(loaded) == 3
        if raise_at_third:
            raise UserError("the third problem cannot be read.")
        return load_line(problem, *arguments)

    monkeypatch.setattr(Line, "load", counted)
    made = study(Line(), Line(), Line(features=2), Line(), Line(features=4))
    with pytest.raises(UserError, match="the third problem cannot be read"):
        compare(made, tmp_path / "study")
    assert loaded == [Line(), Line(features=2), Line(features=4)]


def test_results_are_read_without_loading_the_problem(tmp_path, monkeypatch):
    made = study(Line(), trials=1, seeds=1)
    made = dataclasses.replace(made, contenders=made.contenders[:1])
    compare(made, tmp_path / "study")
    run = next((tmp_path / "study" / "confirmations").rglob("config.json"))
    metrics = [Metric.from_json(values) for values in json.loads(run.read_text())["metrics"]]
    assert [(m.name, m.higher_is_better, m.untrained) for m in metrics][:2] == [
        ("relative_error", False, 1.0), ("r2", True, 0.0),
    ]  # fmt: skip
    _, targets = Line().load().split("validation")
    assert metrics[2].untrained == pytest.approx(np.mean(targets.astype(np.float64) ** 2), rel=1e-6)  # predictions of 0
    monkeypatch.setattr(Line, "load", lambda *_: pytest.fail("reading loads no problem"))
    results = load(tmp_path / "study")
    (document,) = results.documents
    assert verdict(results, document).rankings[0].measures.primary.name == "test_relative_error"
