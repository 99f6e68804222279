"""`jaxopt-bench report`: the files that it writes, and its error messages for paths that it cannot use."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pytest

from jaxopt_bench import Experiment, train
from jaxopt_bench.cli import main
from jaxopt_bench.optimizers import AdamW, Axis, Constant, Space
from jaxopt_bench.problems import classification
from jaxopt_bench.problems.classification import LabelledInputs
from jaxopt_bench.problems.classification_views import classification_views
from jaxopt_bench.problems.views import View
from jaxopt_bench.reports.figure import Figure
from jaxopt_bench.reports.html import Code, Figures, Images, Items, Section, Text
from jaxopt_bench.reports.report import report_of
from jaxopt_bench.reports.style import GREY
from jaxopt_bench.results import load
from jaxopt_bench.runs import Options, Recording
from jaxopt_bench.study import Extension, Target
from jaxopt_bench.verdict import compute_suite_verdict, verdict
from tests.reports.builders import make_results, make_study, with_document
from tests.tasks import changed

ROOT = pathlib.Path(__file__).parents[2]
DIGITS = str(ROOT / "experiments" / "results" / "digits")


def report(*words: str) -> int | str | None:
    with pytest.raises(SystemExit) as ending:
        main(["report", *words])
    return ending.value.code


def test_recorded_results_become_a_page_figures_and_tables(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert report(DIGITS) == 0
    out = tmp_path / "reports" / "digits"
    assert (out / "index.html").stat().st_size < 2_000_000
    assert str(pathlib.Path("reports", "digits", "index.html")) in capsys.readouterr().out
    figures = {path.stem for path in (out / "figures").iterdir()}
    assert {path.name for path in (out / "figures").iterdir()} == {
        f"{name}.{form}" for name in figures for form in ("svg", "pdf", "png")
    }
    assert {"training-loss", "trade-off", "learning-rate", "budget", "hyperparameters", "final-results"} <= figures
    assert {path.name for path in (out / "tables").iterdir()} == {
        f"{name}.{form}"
        for name in ("ranking", "pairs", "selected", "finalists", "cost", "diverged")
        for form in ("md", "csv", "tex")
    }
    assert "| nadam" in (out / "tables" / "ranking.md").read_text()
    page = (out / "index.html").read_bytes()
    monkeypatch.setattr(Figure, "save", lambda *_: [])  # the files of the figures are not compared
    assert report(DIGITS, "--out", str(tmp_path / "again")) == 0
    assert (tmp_path / "again" / "index.html").read_bytes() == page


def test_runs_that_were_continued_in_another_environment_are_counted():
    results, document = make_results(make_study(["adam", "sgd"]))
    moved = pl.Series([2, *[1] * (len(results.runs) - 1)])
    results = dataclasses.replace(results, runs=results.runs.with_columns(environments=moved))
    (said, *_) = report_of(with_document(results, document), "made").sections[-1].blocks
    assert isinstance(said, Items)
    assert f"1 of {len(moved)} runs were continued in another environment; the last one is shown" in said.sentences


def test_a_command_is_shown_unless_it_would_train_another_study():
    """No flag can express the extensions of a search space, so a study with extensions has no command."""
    box = Extension(after=2, until=4, space=Space({"optimizer.learning_rate": Axis(1.0, 10.0, "log")}))
    study = make_study(["adam", "sgd"])
    wide = dataclasses.replace(study.contenders[0], extensions=(box,))
    for contenders, commands in ((study.contenders, 1), ((wide, study.contenders[1]), 0)):
        results, document = make_results(dataclasses.replace(study, contenders=contenders))
        blocks = report_of(with_document(results, document), "made").sections[-1].blocks
        assert len([block for block in blocks if isinstance(block, Code)]) == commands


def sections_of(path: pathlib.Path) -> dict[str, Section]:
    return {section.title: section for section in report_of(load(path), "run").sections}


@pytest.mark.parametrize("lost", [3, 360])
def test_examples_whose_largest_logit_is_not_finite_are_predicted_as_no_class(
    lost: int, tiny: Experiment, digits_dir: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    def spoiled(names: Sequence[str], examples: LabelledInputs, outputs: Mapping[str, np.ndarray]) -> list[View]:
        logits = np.where(np.arange(len(outputs["labels"]))[:, None] < lost, np.nan, outputs["logits"])
        return classification_views(names, examples, {**outputs, "logits": logits})

    monkeypatch.setattr(classification, "classification_views", spoiled)
    experiment = changed(tiny, epochs=1)
    path = train(experiment, Options(runs_dir=tmp_path, data_dir=digits_dir, recording=Recording(evaluation=True))).path
    figures, _, images, _ = sections_of(path)["Predictions on the test split"].blocks
    assert isinstance(figures, Figures)
    (matrix,) = figures.figures
    assert f"{lost} of 360 examples have no prediction: their largest logit is not finite." in matrix.text
    assert matrix.data["cells"]["count"].sum() == 360 - lost
    assert isinstance(images, Images)
    assert ", predicted no class; loss nan" in images.images[0].alt


def test_the_page_of_a_diverged_run_names_the_loss_that_was_not_finite(
    tiny: Experiment, digits_dir: pathlib.Path, tmp_path: pathlib.Path
):
    experiment = changed(tiny, optimizer=AdamW(learning_rate=1e14), schedule=Constant(), epochs=1, batch_size=1024)
    (said, *_) = sections_of(train(experiment, Options(runs_dir=tmp_path, data_dir=digits_dir)).path)["Result"].blocks
    assert isinstance(said, Text)
    assert said.text.startswith("Diverged: ")
    assert said.text.endswith(" The train_clean loss at the end of epoch 1 was not finite.")


@pytest.mark.parametrize("name", ["digits", "cifar100_alexnet_small", "cifar10_resnet20_short"])
def test_the_documented_tables_match_the_recorded_results(name: str):
    results = load(ROOT / "experiments" / "results" / name)
    (ranking,) = verdict(results, results.documents[0]).rankings
    page = (ROOT / "experiments" / "README.md").read_text()
    for standing in ranking.standings:
        found = standing.results["test_accuracy"]
        assert f"{100 * found.mean:.2f}% ({100 * found.low:.2f} to {100 * found.high:.2f})" in page
        loss = standing.results["train_clean_loss"]
        interval = f" ({loss.low:.4f} to {loss.high:.4f})" if name != "digits" else ""
        assert f"| {loss.mean:.4f}{interval} |" in page


def test_the_documented_table_of_first_steps_matches_the_record():
    results = load(ROOT / "experiments" / "results" / "cifar100_alexnet_first_steps")
    (document,) = results.documents
    names = {
        "sgd": "SGD without momentum",
        "adamw": "AdamW",
        "adamw_warmup": "AdamW with a warm-up over 1,000 steps",
    }
    page = (ROOT / "experiments" / "README.md").read_text().replace("\n", " ")
    steps_of = {
        name: results.curves.filter(pl.col("split") == "train_steps").join(runs.select("path"), on="path")
        for (name,), runs in results.runs.group_by("contender")
    }
    for name, title in names.items():
        steps = steps_of[name]
        cells = [
            _range(steps.filter(step=end)["loss"].to_list(), ",.0f" if (name, end) == ("adamw", 50) else ".2f")
            for end in (50, 1000, 5000)
        ]
        runs = results.runs.filter(pl.col("contender") == name)
        accuracies = _range([100 * value for value in runs["final.test_accuracy"]], ".2f", "%")
        assert f"| {title} | {' | '.join(cells)} | {accuracies} |" in page
    pairs = verdict(results, document).rankings[0].pairs
    assert len(pairs) == 3  # "corrected for three comparisons"
    leads = {pair.second: pair.difference for pair in pairs if pair.first == "sgd"}
    assert leads.keys() == {"adamw", "adamw_warmup"}
    for lead in leads.values():
        mean, low, high = (100 * value for value in (lead.estimate.mean, lead.estimate.low, lead.estimate.high))
        assert f"{mean:.2f} points of test accuracy ({low:.2f} to {high:.2f}, on new" in page
        assert f"p = {lead.adjusted:.3f}" in page
    low, middle, high = steps_of["adamw_warmup"].group_by("path").agg(pl.col("loss").max())["loss"].sort()
    assert f"is {low:.0f}, {middle:.0f} and {high:.0f}" in page


def _range(values: list[float], form: str, unit: str = "") -> str:
    return f"{min(values):{form}}{unit} to {max(values):{form}}{unit}"


@pytest.mark.slow
def test_the_documented_tables_match_the_recorded_suite():
    results = load(ROOT / "experiments" / "results" / "suite")
    (document,) = results.documents
    found = compute_suite_verdict(results, document, verdict(results, document))
    assert found is not None
    single = {each.contender: each.single.mean for each in found.single_settings}
    expected = []
    for name, score in found.scores.items():
        assert score.over_seeds is not None
        steps = found.speed_ups.get(name)
        low, high = (math.nan, math.inf) if steps is None or steps.over_seeds is None else steps.over_seeds
        interval = f"at least {100 * low:.0f}%" if high == math.inf else f"{100 * low:.0f}% to {100 * high:.0f}%"
        reached = f"{100 * steps.value:.0f}% ({interval}), " if steps is not None and steps.value < math.inf else ""
        said = "–" if steps is None else f"{reached}on {found.reached_on(name)} of 12"
        ends = f"{score.over_seeds[0]:.2f} to {score.over_seeds[1]:.2f}"
        expected.append(f"| {score.value:.2f} ({ends}) | {found.ranks[name].value:.1f} | {said} | {single[name]:.2f} |")
    tables = []
    for page in ("README.md", "experiments/README.md"):
        text = (ROOT / page).read_text()
        tables.append(text[text.index("| optimizer | score") :].partition("\n\n")[0].splitlines()[2:])
    some, every = tables
    assert ["|" + line.split("|", 2)[2] for line in every] == expected  # in the order of the scores
    assert [name.lower() for name in (every[0].split()[1], every[1].split()[1], every[-1].split()[1])] == [
        name for i, name in enumerate(found.scores) if i in (0, 1, 26)
    ]
    assert some == [line for line in every if line in some]
    assert len(some) == 9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["absent"], "'absent' is not a folder. Expected a run's directory"),
        (["empty"], "empty holds no runs"),
        ([DIGITS, "--out", "file"], "--out is file, which is a file. Expected: a folder"),
    ],
)
def test_paths_that_cannot_be_read_or_written_are_named(
    words: list[str],
    said: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert report(*words) in (1, 2)
    assert said in capsys.readouterr().err
    assert (tmp_path / "file").read_bytes() == b""


def test_without_the_report_extra_the_error_names_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert report(DIGITS) == 1
    assert "pip install 'jaxopt-bench[report]'" in capsys.readouterr().err


def test_optimizers_without_runs_are_grey():
    names = ["muon", "lion", "adan", "sgd", "adam", "nadam", "amsgrad", "padam", "adamw", "soap"]
    results, document = make_results(make_study(names))
    kept = results.runs.filter(results.runs["contender"].is_in(["muon", "lion", "adan"]))
    part = dataclasses.replace(
        document,
        runs=tuple(run for run in document.runs if run.contender in names[:3]),
        selections=tuple(found for found in document.selections if found.contender in names[:3]),
    )
    found = report_of(with_document(dataclasses.replace(results, runs=kept), part), "part").styles
    assert len({found[name].light for name in names[:3]}) == 3
    assert {found[name] for name in names[3:]} == {GREY}


def test_a_study_without_confirmations_has_a_report():
    study = make_study(["adam", "sgd"])
    targets = (Target(workload=study.workloads[0].name, measure="validation_accuracy", value=0.5),)
    results, document = make_results(dataclasses.replace(study, targets=targets), confirmed=False)
    titles = [figure.name for figure in report_of(with_document(results, document), "begun").figures]
    assert "learning-rate" in titles
    assert "time-to-target" not in titles
