"""The digest identifies a run: errors name files and folders that were exchanged, copied or removed."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import time
from typing import Any

import polars as pl
import pytest

from jaxopt_bench import Experiment, UserError, Workload, load_run
from jaxopt_bench.experiment import digest_of
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import OPTIMIZERS, Adam
from jaxopt_bench.problems import Classification
from jaxopt_bench.results import load
from tests.results.directories import change_experiment, epochs, line, summary, write_run
from tests.results.test_tables import write_study
from tests.study.studies import small_study

EXPERIMENT = Experiment(
    name="cnn_adam", workload=Workload(problem=Classification(dataset="digits", model=CNN())), optimizer=Adam()
)
RESULT = {"validation_loss": 0.5, "validation_accuracy": 0.75, "train_loss": 0.05}


def finished(folder: pathlib.Path, **fields: Any) -> pathlib.Path:
    experiment = dataclasses.replace(EXPERIMENT, **fields)
    return write_run(folder, experiment, epochs(2), summary(experiment, **RESULT))


def exchange(one: pathlib.Path, other: pathlib.Path) -> None:
    """Exchanges two files or folders."""
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def edit(file: pathlib.Path, **fields: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def confirmations(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders of the finished confirmations, one for each optimizer."""
    return sorted(path.parent for path in (folder / "confirmations").rglob("summary.json"))


def test_confirmations_of_two_optimizers_that_were_exchanged_are_named(tmp_path):
    folder = write_study(tmp_path / "two", small_study())
    one, other = confirmations(folder)
    exchange(one, other)
    with pytest.raises(UserError, match=rf"({one.name}|{other.name}) holds another run: config.json has the digest"):
        load(folder)


def test_exchanged_folders_are_refused_if_study_json_names_another_contender(tmp_path):
    folder = write_study(tmp_path / "two", small_study())
    one, other = (path.parent for path in confirmations(folder))  # confirmations/cnn_adam and …/cnn_sgd
    exchange(one, other)
    document = json.loads((folder / "study.json").read_text())
    names = {"cnn_adam": "cnn_sgd", "cnn_sgd": "cnn_adam"}
    for run in document["runs"]:
        phase, name, digest = run["path"].split("/")
        run["path"] = f"{phase}/{names[name] if phase == 'confirmations' else name}/{digest}"
    (folder / "study.json").write_text(json.dumps(document))
    assert len(load(folder).runs) == 6  # each run is at its path in study.json
    for run in document["runs"]:
        run["contender"] = {"adam": "sgd", "sgd": "adam"}[run["contender"]]
    (folder / "study.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"holds another run than the study's: its name is 'cnn_.*as study.json says"):
        load(folder)


def test_a_seed_that_was_copied_over_another_is_named(tmp_path):
    one, other = finished(tmp_path), finished(tmp_path, seed=1)
    shutil.rmtree(other)
    shutil.copytree(one, other)
    for read in (load, load_run):
        with pytest.raises(UserError, match=rf"{other.name} holds another run: .* has the digest {one.name}"):
            read(other)


def test_a_run_with_another_seed_than_in_study_json_is_named(tmp_path):
    folder = write_study(tmp_path / "two", small_study())
    document = json.loads((folder / "study.json").read_text())
    document["runs"][0]["seed"] += 1
    (folder / "study.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"than the study's: its seed is 0\. Expected 1, as study\.json says"):
        load(folder)


@pytest.mark.parametrize("read", [load, load_run])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"digest": "0" * 12}, "its experiment has the digest .*, and its digest is '000000000000'"),
        ({"experiment": {"optimizer": {**OPTIMIZERS["sgd"].to_json(), "name": "sgd"}}}, "has the digest"),
        ({"experiment": {"seed": 7}}, "its experiment has the digest"),
        (
            {"experiment": {"name": "other"}},
            "holds files of two runs: experiment is 'other' in config.json and 'cnn_adam'",
        ),
        ({"experiment": {"workload": {**EXPERIMENT.workload.to_json(), "epochs": 0}}}, "epochs is 0. Expected"),
    ],
)
def test_a_config_with_another_digest_optimizer_seed_or_name_is_refused(tmp_path, read, change, message):
    path = finished(tmp_path)
    config = json.loads((path / "config.json").read_text())
    edit(path / "config.json", **change | {"experiment": config["experiment"] | change.get("experiment", {})})
    with pytest.raises(UserError, match=message):
        read(path)


@pytest.mark.parametrize("read", [load, load_run])
@pytest.mark.parametrize("file", ["config.json", "summary.json", "metrics.jsonl"])
def test_a_file_of_another_run_is_named(tmp_path, read, file):
    one = finished(tmp_path)
    experiment = dataclasses.replace(EXPERIMENT, seed=1)
    lines, result = [*epochs(2), line(30, "train")], RESULT | {"validation_loss": 0.25}
    other = write_run(tmp_path, experiment, lines, summary(experiment, **result) | {"steps": 30})
    shutil.copy(other / file, one / file)
    with pytest.raises(UserError, match=f"{one}"):
        read(one)


def test_metrics_with_the_same_steps_but_other_values_are_named(tmp_path):
    one, experiment = finished(tmp_path), dataclasses.replace(EXPERIMENT, seed=1)
    other = write_run(tmp_path, experiment, epochs(2), summary(experiment, **RESULT | {"validation_accuracy": 0.5}))
    load(tmp_path)
    exchange(one / "metrics.jsonl", other / "metrics.jsonl")
    with pytest.raises(
        UserError, match=r"at step 20 the validation accuracy is 0\.5 in metrics\.jsonl and 0\.75 in sum"
    ):
        load(one)


@pytest.mark.parametrize("read", [load, load_run])
def test_metrics_that_end_too_early_or_too_late_are_named(tmp_path, read):
    path = finished(tmp_path)
    file = path / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    for kept, end in (
        (lines[:3], "ends at step 10"),
        ([], "has no lines"),
        ([*lines, json.dumps(line(30, "train")) + "\n"], "30"),
    ):
        file.write_text("".join(kept))
        with pytest.raises(UserError, match=rf"metrics\.jsonl .*{end}, and summary\.json says that .* after 20 steps"):
            read(path)


@pytest.mark.parametrize("read", [load, load_run])
@pytest.mark.parametrize("file", ["config.json", "metrics.jsonl"])
def test_a_missing_file_is_named_and_its_run_is_not_skipped(tmp_path, read, file):
    path = finished(tmp_path)
    (path / file).unlink()
    with pytest.raises(UserError, match=rf"{path.name} is incomplete: it has summary\.json, but not {file}\."):
        read(path)
    folder = write_study(tmp_path / "two", small_study())
    (confirmations(folder)[0] / file).unlink()
    with pytest.raises(UserError, match=rf"is incomplete: it has summary\.json, but not {file}\."):
        load(folder)


def test_a_folder_whose_name_is_not_a_digest_may_hold_any_run(tmp_path):
    path = finished(tmp_path)
    for name in ("best", f"{path.name}.2", f"{path.name}-copy"):
        path = path.rename(path.with_name(name))
        assert load(path).runs["digest"].to_list() == [EXPERIMENT.digest] == [load_run(path).config["digest"]]
    path = path.rename(path.with_name("0123456789ab.2"))
    with pytest.raises(UserError, match=r"Expected the digest 0123456789ab"):
        load(path)


@pytest.mark.parametrize(
    "fields",
    [
        {"a_later_field": {"of": ["any", 1.5, None]}},
        {"optimizer": {"name": "mine.py:make", "code": "0" * 12, "own": 0.1 + 0.2, "ünïcode": "é"}},
        {"optimizer": {"name": "an_optimizer_of_later", "learning_rate": 1e-300}},
        {"problem": {**EXPERIMENT.workload.to_json()["problem"], "label_smoothing": 5e-324}},
        {"problem": {"name": "mine.py:spring", "code": "0" * 12, "stiffness": 0.1 + 0.2}},
    ],
)
def test_the_digest_of_a_record_depends_on_its_fields_and_not_on_its_version(tmp_path, fields):
    path = change_experiment(finished(tmp_path), **fields)
    assert load(path).runs["digest"].to_list() == [path.name]
    assert load_run(path).config["digest"] == path.name


def test_a_recorded_experiment_has_the_digest_of_the_experiment():
    for name, optimizer in OPTIMIZERS.items():
        experiment = dataclasses.replace(EXPERIMENT, optimizer=optimizer, name=name)
        assert digest_of(json.loads(json.dumps(experiment.to_json()))) == experiment.digest


def test_an_unknown_field_is_attributed_to_a_newer_version(tmp_path):
    path = change_experiment(finished(tmp_path), a_later_field=1)
    with pytest.raises(
        UserError, match=r"config\.json cannot be read: unknown field .* A newer version of jaxopt-bench"
    ):
        _ = load_run(path).experiment
    folder = write_study(tmp_path / "two", small_study())
    document = json.loads((folder / "study.json").read_text())
    edit(folder / "study.json", study=document["study"] | {"a_later_field": 1})
    with pytest.raises(
        UserError, match=r"study\.json cannot be read: unknown field .* A newer version of jaxopt-bench"
    ):
        load(folder)


COLUMNS = {"digest": "0" * 12, "seed": 9, "phase": "superseded", "contender": "adam", "trial": 3, "name": "cnn_adam"}


@pytest.mark.parametrize(("column", "value"), COLUMNS.items())
def test_recorded_results_that_do_not_fit_their_study_are_named(tmp_path, column, value):
    load(write_study(tmp_path / "two", small_study())).save(tmp_path / "recorded")
    file = tmp_path / "recorded" / "runs.parquet"
    runs = pl.read_parquet(file)
    first = pl.col("path") == runs.filter(pl.col("contender") == "sgd", pl.col("phase") == "trial")["path"][0]
    runs.with_columns(
        pl.when(first).then(pl.lit(value)).otherwise(column).cast(runs.schema[column]).alias(column)
    ).write_parquet(file)
    with pytest.raises(UserError, match=rf"runs\.parquet is of another study than study\.json beside it: {column} of"):
        load(tmp_path / "recorded")


def test_recorded_results_with_the_files_of_another_study_are_named(tmp_path):
    load(write_study(tmp_path / "one", small_study())).save(tmp_path / "recorded")
    load(write_study(tmp_path / "two", small_study(seed=5))).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "study.json", tmp_path / "recorded" / "study.json")
    with pytest.raises(UserError, match=r"runs\.parquet has the run .*, which study\.json beside it does not name"):
        load(tmp_path / "recorded")
    shutil.copy(tmp_path / "other" / "runs.parquet", tmp_path / "recorded" / "runs.parquet")
    with pytest.raises(UserError, match=r"curves\.parquet has lines of runs that runs\.parquet does not have"):
        load(tmp_path / "recorded")


def test_recorded_curves_that_disagree_with_their_runs_are_named(tmp_path):
    load(finished(tmp_path / "runs")).save(tmp_path / "recorded")
    file = tmp_path / "recorded" / "curves.parquet"
    pl.read_parquet(file).with_columns(pl.col("loss") * 2).write_parquet(file)
    with pytest.raises(UserError, match=r"at step 20 the .* loss is .* in metrics\.jsonl and .* in summary\.json"):
        load(tmp_path / "recorded")


def test_reading_500_runs_with_checks_takes_at_most_2_5_times_as_long(tmp_path, monkeypatch):
    for seed in range(500):
        finished(tmp_path, seed=seed)
    load(tmp_path)

    def seconds() -> float:
        began = time.process_time()
        load(tmp_path)
        return time.process_time() - began

    checked = min(seconds() for _ in range(3))
    for name in ("rows.check_identity", "rows.check_complete", "loading.check_agreement"):
        monkeypatch.setattr(f"jaxopt_bench.results.{name}", lambda *_: None)
    assert checked < 2.5 * min(seconds() for _ in range(3)) + 0.05
