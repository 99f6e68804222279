"""Runs and studies as tables: every form on disk, the types of the columns, and damaged files."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import pathlib
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from jaxopt_bench import Experiment, UserError, Workload
from jaxopt_bench.compare.folder import StudyFolder
from jaxopt_bench.files import temporary_name
from jaxopt_bench.models import CNN, ResNet
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, Adam, AdamW, Constant, Cosine, MultiStep
from jaxopt_bench.problems import Classification
from jaxopt_bench.results import Results, combine_results, load, load_runs
from jaxopt_bench.results.columns import column, concatenated, curve_types, hyperparameter_types, run_types
from jaxopt_bench.runs import Recording, read_metrics
from jaxopt_bench.study import (
    Contender,
    RunEntry,
    Selection,
    Study,
    StudyRun,
    Target,
    plan_confirmations,
    plan_trials,
    units,
)
from jaxopt_bench.verdict import trial_scores
from tests.results.directories import change_experiment, epochs, line, summary, write_run
from tests.study.studies import RATE, small_study
from tests.tasks import changed

EXPERIMENT = Experiment(
    name="cnn_adam",
    workload=Workload(problem=Classification(dataset="digits", model=CNN())),
    optimizer=Adam(),
    schedule=Cosine(),
)


def write_study(folder: pathlib.Path, study: Study) -> pathlib.Path:
    """Writes the files of a study without training. The last trial wins; the last confirmation is unfinished."""
    at = StudyFolder(folder)
    study = at.begin(study)
    for unit in units(study):
        planned = plan_trials(study, unit)
        for run in planned:
            final = {"validation_loss": 1.0 / (1 + run.trial), "validation_accuracy": 0.75}
            write_run(folder / "trials", run.experiment, epochs(2), summary(run.experiment, **final))
        trial = len(planned) - 1 if planned else 0
        among = tuple(run.experiment.digest for run in planned)
        at.record(selections=[Selection(*unit.key, trial, value=0.5, values={}, edges=(), diverged=0, among=among)])
        confirming = plan_confirmations(study, unit, trial)
        for run in confirming[:-1]:
            ended = summary(run.experiment, test_accuracy=0.75)
            write_run(folder / "confirmations", run.experiment, [*epochs(2), line(20, "test")], ended)
        write_run(folder / "confirmations", confirming[-1].experiment, epochs(1))
    return folder


def relative(results: Results, folder: pathlib.Path) -> list[pl.DataFrame]:
    """Returns both tables, with paths relative to a folder."""
    prefix = f"{folder}/"
    return [t.with_columns(pl.col("path").str.strip_prefix(prefix)) for t in (results.runs, results.curves)]


def types_of(table: pl.DataFrame, always: Any) -> dict[str, Any]:
    return {name: table.schema[name] for name in always}


def test_a_runs_directory_is_a_row_and_its_metrics(tmp_path):
    lines = epochs(2)
    path = write_run(tmp_path, EXPERIMENT, lines, summary(EXPERIMENT, validation_loss=0.5))
    results = load(path)
    (row,) = results.runs.to_dicts()
    assert (row["path"], row["digest"], row["status"]) == (str(path), EXPERIMENT.digest, "completed")
    assert (row["optimizer.name"], row["optimizer.b1"], row["schedule.warmup"]) == ("adam", 0.9, 0.0)
    assert (row["model.channels"], row["epochs"], row["seed"]) == ([16, 32], 10, 0)
    assert (row["final.validation_loss"], row["final.test_loss"], row["best.step"]) == (0.5, None, 20)
    assert (row["steps"], row["parameters"], row["seconds"], row["devices"]) == (20, 10, 1.5, 1)
    assert (row["study"], row["phase"], row["selected"]) == (None, None, None)
    assert set(results.curves["path"]) == {str(path)}
    found = [{k: v for k, v in each.items() if v is not None and k != "path"} for each in results.curves.to_dicts()]
    assert found == lines


def test_each_run_of_a_study_has_its_contender_phase_and_selection(tmp_path):
    results = load(write_study(tmp_path / "two", small_study()))
    assert len(results.documents) == 1
    counts = results.runs.group_by("contender", "phase", "selected").len().sort("contender", "phase", "selected")
    assert counts.rows() == [
        ("adam", "confirmation", True, 2),
        ("sgd", "confirmation", True, 2),
        ("sgd", "trial", False, 1),
        ("sgd", "trial", True, 1),
    ]
    assert set(results.runs["study"]) == {"two"}
    assert set(results.runs["workload"]) == {"cnn"}
    joined = results.runs.join(results.curves, on="path", how="inner")
    assert len(joined) == len(results.curves) > 0
    assert joined["path"].n_unique() == len(results.runs)


def test_a_parent_folder_gives_all_studies_and_runs_below_it(tmp_path):
    write_study(tmp_path / "here" / "one", small_study(name="one"))
    write_study(tmp_path / "there", small_study(seed=99))
    write_run(tmp_path / "runs", EXPERIMENT)
    load(tmp_path / "there").save(tmp_path / "recorded")
    results = load(tmp_path)
    assert [document.study.name for document in results.documents] == ["one", "two", "two"]
    assert results.runs["path"].n_unique() == len(results.runs) == 3 * 6 + 1
    assert results.runs.filter(pl.col("study").is_null())["optimizer.name"].to_list() == ["adam"]
    assert {path.split("/")[0] for path in relative(results, tmp_path)[0]["path"]} == {
        "here", "there", "runs", "recorded",
    }  # fmt: skip


def test_locks_claims_populations_and_checkpoints_are_not_runs(tmp_path):
    path = write_run(tmp_path, EXPERIMENT)
    for other in ("population-0123", "claims/cnn_sgd_0", "checkpoints/20", ".hidden"):
        folder = path.parent / other
        folder.mkdir(parents=True)
        (folder / "lock").touch()
        (folder / "config.json").write_text("{")
    (path / "checkpoints").mkdir()
    (path / "checkpoints" / "config.json").write_text("{")
    assert load(tmp_path).runs["path"].to_list() == [str(path)]


def test_runs_that_a_study_does_not_list_do_not_belong_to_it(tmp_path):
    folder = write_study(tmp_path / "two", small_study())
    before = len(load(folder).runs)
    write_run(folder / "trials", dataclasses.replace(EXPERIMENT, seed=77))
    assert len(load(folder).runs) == before


@pytest.mark.parametrize("inside", ["", "runs", "two", "two/trials"])
def test_a_relative_path_gives_relative_paths_of_runs(tmp_path, monkeypatch, inside):
    write_study(tmp_path / "two", small_study())
    write_run(tmp_path / "runs", EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    results = load(inside)
    assert all(path.startswith(inside) and (tmp_path / path / "config.json").exists() for path in results.runs["path"])
    assert set(results.runs["path"]) == set(results.curves["path"]) | {
        path for path in results.runs["path"] if not (tmp_path / path / "metrics.jsonl").stat().st_size
    }


SETS_OF_RUNS: dict[str, list[tuple[Experiment, str | None]]] = {
    "none finished": [(EXPERIMENT, None)],
    "all diverged": [(EXPERIMENT, "diverged"), (dataclasses.replace(EXPERIMENT, seed=1), "diverged")],
    "another network": [
        (changed(EXPERIMENT, problem=Classification(model=ResNet(depth=18))), "completed"),
    ],
    "all sorts": [
        (EXPERIMENT, "completed"),
        (dataclasses.replace(EXPERIMENT, optimizer=AdamW(clip_norm=1), schedule=Constant(warmup=1)), "interrupted"),
        (dataclasses.replace(EXPERIMENT, optimizer=SGD(), schedule=MultiStep(boundaries=(3,))), "completed"),
    ],
}


@pytest.mark.parametrize("runs", SETS_OF_RUNS.values(), ids=SETS_OF_RUNS)
def test_types_of_columns_do_not_depend_on_the_runs(tmp_path, runs):
    for experiment, status in runs:
        write_run(tmp_path, experiment, epochs(2), summary(experiment, status) if status else None)
    results = load(tmp_path)
    assert types_of(results.runs, run_types()) == dict(run_types())
    assert dict(results.curves.schema) == dict(curve_types(["accuracy"]))
    assert results.runs.schema["final.test_accuracy"] == results.runs.schema["best.train_accuracy"] == pl.Float64
    known = hyperparameter_types()
    others = {name: kind for name, kind in results.runs.schema.items() if name in known}
    assert others == {name: known[name] for name in others}
    assert {"optimizer.clip_norm", "optimizer.learning_rate"} <= others.keys()
    assert results.runs["status"].to_list() != [None]


def test_fields_have_columns_of_the_expected_types():
    known = {**run_types(), **hyperparameter_types()}
    assert known["optimizer.learning_rate"] == known["optimizer.clip_norm"] == known["final.test_loss"] == pl.Float64
    assert known["label_smoothing"] == known["augmentation.rotation"] == pl.Float64
    assert known["problem.name"] == known["dataset"] == known["model.name"] == known["metrics"] == pl.String
    assert known["seed"] == known["steps"] == known["diverged_step"] == known["model.depth"] == pl.Int64
    assert known["schedule.boundaries"] == pl.List(pl.Float64)
    assert known["model.channels"] == pl.List(pl.Int64)
    assert known["optimizer.nesterov"] == known["selected"] == pl.Boolean
    assert curve_types()["loss"] == pl.Float64


def test_a_study_without_runs_has_empty_tables(tmp_path):
    StudyFolder(tmp_path).begin(small_study())
    results = load(tmp_path)
    assert (len(results.runs), len(results.curves), len(results.documents)) == (0, 0, 1)
    assert types_of(results.runs, run_types()) == dict(run_types())
    assert dict(results.curves.schema) == dict(curve_types())
    results.save(tmp_path / "recorded")
    assert_frame_equal(load(tmp_path / "recorded").runs, results.runs)


def test_a_run_is_completed_diverged_interrupted_or_running(tmp_path):
    seeds = [dataclasses.replace(EXPERIMENT, seed=seed) for seed in range(4)]
    for experiment, status in zip(seeds, ("completed", "diverged", "interrupted", None), strict=True):
        write_run(tmp_path, experiment, epochs(2), summary(experiment, status) if status else None)
    rows = load(tmp_path).runs.sort("seed").to_dicts()
    assert [row["status"] for row in rows] == ["completed", "diverged", "interrupted", "running"]
    assert [row["diverged_step"] for row in rows] == [None, 7, None, None]
    assert [row["steps"] for row in rows] == [20, 20, 20, None]


def test_a_run_that_has_just_started_has_no_metrics(tmp_path):
    path = write_run(tmp_path, EXPERIMENT)
    (path / "metrics.jsonl").unlink()
    assert len(load(path).curves) == 0
    assert len(load_runs({path: None, tmp_path / "not begun": None}).runs) == 1


def test_an_entry_of_a_study_changes_no_columns_of_the_run_itself(tmp_path):
    path = write_run(tmp_path, EXPERIMENT, epochs(1))
    entry = RunEntry("trial", "cnn", "adam", 0, 3, EXPERIMENT.seed, EXPERIMENT.digest, "elsewhere")
    results = load_runs({path: StudyRun(entry)})
    (row,) = results.runs.to_dicts()
    assert (row["phase"], row["trial"], row["status"], row["digest"]) == ("trial", 3, "running", EXPERIMENT.digest)
    assert row["path"] == str(path) == results.curves["path"][0]


def test_steps_to_a_target_are_found_in_a_studys_folder(tmp_path):
    target = Target(workload="cnn", measure="validation_accuracy", value=0.7)
    study = small_study(select="steps_to_target", targets=(target,))
    at = StudyFolder(write_study(tmp_path / "two", study))
    planned = plan_trials(study, units(study)[0])
    assert [score.value for score in trial_scores(study, at.results(planned))] == [20, 20]  # 1 − ½² ≥ 0.7 > 1 − ½


def test_results_with_different_columns_can_be_combined(tmp_path):
    load(write_study(tmp_path / "two", small_study())).save(tmp_path / "recorded")
    recorded, other = load(tmp_path / "recorded"), load(write_run(tmp_path / "runs", EXPERIMENT, epochs(1)))
    both = combine_results([recorded, other])
    assert len(both.runs) == len(recorded.runs) + 1
    assert len(both.curves) == len(recorded.curves) + 3
    assert (both.documents, both.folder) == (recorded.documents, str(tmp_path))
    assert_frame_equal(both.runs.tail(1).select(other.runs.columns), other.runs)
    assert set(both.runs.columns) == {*recorded.runs.columns, *other.runs.columns}


def test_fields_of_a_users_optimizer_may_have_any_type(tmp_path):
    values: list[dict[str, Any]] = [
        {"name": "mine.py:make", "code": "0" * 12, "momentum": "high", "own": 1, "list": [1, 2.5], "never": None},
        {"name": "mine.py:make", "code": "1" * 12, "momentum": 0.9, "own": [1, "a"], "list": [], "never": None},
        {"name": "mine.py:make", "code": "2" * 12, "momentum": None, "own": {"a": 1}, "list": [3], "never": None},
    ]
    for seed, optimizer in enumerate(values):
        change_experiment(write_run(tmp_path, dataclasses.replace(EXPERIMENT, seed=seed)), optimizer=optimizer)
    runs = load(tmp_path).runs.sort("seed")
    assert runs["optimizer.momentum"].to_list() == ["high", "0.9", None]
    assert runs["optimizer.own"].to_list() == ["1", '[1, "a"]', None]
    assert runs["optimizer.own.a"].to_list() == [None, None, 1]
    assert runs["optimizer.list"].to_list() == [[1.0, 2.5], [], [3.0]]
    assert runs.schema["optimizer.never"] == pl.Float64


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(st.lists(json_values, max_size=6), st.sampled_from([None, *{str(k): k for k in run_types().values()}.values()]))
def test_any_values_make_a_column_and_values_of_its_type_are_unchanged(values, kind):
    made = column("x", values, kind)
    assert made.name == "x"
    assert len(made) == len(values)
    assert [value is None for value in made] == [value is None for value in values]
    if made.dtype != pl.String:
        found = made.to_list()
        assert [str(value) for value in found] == [
            str(v if made.dtype != pl.Float64 or v is None else float(v))
            if made.dtype != pl.List(pl.Float64) or v is None
            else str([float(item) for item in v])
            for v in values
        ]


def test_combined_columns_of_different_types_get_a_type_that_holds_both():
    numbers, words = pl.DataFrame({"a": [1], "b": [1.5], "c": [[0.5]]}), pl.DataFrame({"a": [2.5], "b": ["x"]})
    both = concatenated([numbers, words, pl.DataFrame(schema={"c": pl.String})])
    assert both["c"].to_list() == [[0.5], None]
    assert both["a"].to_list() == [1.0, 2.5]
    assert both["b"].to_list() == ["1.5", "x"]


@given(st.lists(st.tuples(st.integers(0, 2**62), st.floats(allow_nan=False, allow_infinity=False)), max_size=30))
def test_numbers_are_read_without_rounding(tmp_path_factory, values):
    lines = [line(1, "train", loss=loss) | {"step": step} for step, loss in values]
    results = load(write_run(tmp_path_factory.mktemp("runs"), EXPERIMENT, lines))
    assert results.curves["step"].to_list() == [step for step, _ in values]
    assert [loss.hex() for loss in results.curves["loss"]] == [loss.hex() for _, loss in values]


def test_an_incomplete_last_line_is_left_out_in_every_file(tmp_path):
    paths = [write_run(tmp_path, dataclasses.replace(EXPERIMENT, seed=seed), epochs(2)) for seed in range(3)]
    for path, torn in zip(paths, ('{"step": 30, "spl', json.dumps(line(30, "train")), ""), strict=True):
        with (path / "metrics.jsonl").open("a") as file:
            file.write(torn)
    curves = load(tmp_path).curves
    assert curves.group_by("path").len().sort("path").rows() == [(str(path), 6) for path in sorted(paths)]
    assert all(curves.filter(pl.col("path") == str(p))["step"].to_list() == [10] * 3 + [20] * 3 for p in paths)


DAMAGED_LINES = {
    "nonsense": "it is not JSON",
    "": "it is not JSON",
    '{"step": 1': "it is not JSON",
    "[]": "is not an object",
    '{"split": "train"}': "the field 'step' is missing",
    '{"step": null}': "step is None. Expected: an integer",
    '{"step": "1"}': "step is '1'. Expected: an integer",
    '{"step": true}': "step is True. Expected: an integer",
    '{"step": 1}': "the field 'split' is missing",
    json.dumps(line(1, "train") | {"loss": "low"}): "loss is 'low'. Expected: a finite number or null",
    json.dumps(line(1, "train") | {"loss": [1]}): "loss is",
    json.dumps(line(99999999999999999999, "train")): "an integer has 20 digits",
    json.dumps(line(1, "train") | {"loss": math.nan}): "it is not JSON",
    '{"step": 1, "loss": 1e999}': "beyond the range of a float",
    json.dumps(line(1, "train") | {"grad_norm": "low"}): "grad_norm is 'low'. Expected: Float64",
    json.dumps(line(1, "train") | {"accuracy": "high"}): "accuracy is 'high'. Expected: Float64",
    '{"step": 1, "x": ' + "[" * 100_000 + "]" * 100_000 + "}": "it is not JSON",
    '{"step": ' + "1" * 5000 + "}": "it is not JSON",
}


@pytest.mark.parametrize(("text", "message"), DAMAGED_LINES.items(), ids=range(len(DAMAGED_LINES)))
def test_a_damaged_line_is_named_among_many_runs(tmp_path, text, message):
    paths = [write_run(tmp_path, dataclasses.replace(EXPERIMENT, seed=seed), epochs(1)) for seed in range(3)]
    file = paths[1] / "metrics.jsonl"
    file.write_text(file.read_text() + text + "\n" + json.dumps(line(30, "train")) + "\n")
    with pytest.raises(UserError, match=rf"{paths[1].name}/metrics\.jsonl, line 4 is damaged: .*{message}"):
        load(tmp_path)


def test_lines_that_only_the_slow_reader_accepts_are_also_read(tmp_path):
    path = write_run(tmp_path, EXPERIMENT, epochs(1))
    with (path / "metrics.jsonl").open("ab") as file:
        file.write(json.dumps(line(11, "train") | {"other": ["deeper", {"than": "columns"}]}).encode() + b"\n")
        file.write(json.dumps(line(12, "train") | {"loss": 10**19}).encode() + b"\n")
    steps = load(path).curves["step"].to_list()
    assert steps == [record["step"] for record in read_metrics(path / "metrics.jsonl")] == [10, 10, 10, 11, 12]


@pytest.mark.parametrize(
    ("file", "keys", "value"),
    [
        ("config.json", (), "text"),
        ("config.json", (), []),
        ("config.json", ("experiment",), None),
        ("config.json", ("experiment", "seed"), "zero"),
        ("config.json", ("experiment", "seed"), 2**70),
        ("config.json", ("experiment", "workload", "epochs"), 1.5),
        ("config.json", ("experiment", "workload", "problem"), None),
        ("config.json", ("experiment", "workload", "problem"), []),
        ("config.json", ("experiment", "workload"), 1),
        ("config.json", ("metrics",), None),
        ("config.json", ("metrics",), []),
        ("config.json", ("metrics",), {"loss": 1}),
        ("config.json", ("metrics", 0), "accuracy"),
        ("config.json", ("metrics", 0, "higher_is_better"), 1),
        ("config.json", ("metrics", 0, "untrained"), "none"),
        ("config.json", ("metrics", 0, "name"), "loss"),
        ("config.json", ("metrics", 1, "name"), "error"),
        ("config.json", ("digest",), None),
        ("config.json", ("digest",), ["a"]),
        ("config.json", ("environments",), []),
        ("config.json", ("environments",), [{}]),
        ("config.json", ("environments", 0, "devices"), []),
        ("config.json", ("environments", 0, "members"), "many"),
        ("config.json", ("environments", 0, "packages"), {"jax": 1}),
        ("summary.json", (), None),
        ("summary.json", ("status",), None),
        ("summary.json", ("status",), 1),
        ("summary.json", ("final",), 3),
        ("summary.json", ("final", "test_loss"), "low"),
        ("summary.json", ("final", "test_accuracy"), "high"),
        ("summary.json", ("best", "test_accuracy"), [0.5]),
        ("summary.json", ("steps",), 1.5),
    ],
)
def test_a_damaged_record_is_named(tmp_path, file, keys, value):
    other = dataclasses.replace(EXPERIMENT, seed=1)
    write_run(tmp_path, other, epochs(2), summary(other))
    path = write_run(tmp_path, EXPERIMENT, epochs(2), summary(EXPERIMENT))
    record: Any = {"whole": json.loads((path / file).read_text())}
    *rest, last = ("whole", *keys)
    target = record
    for key in rest:
        target = target[key]
    target[last] = value
    (path / file).write_text(json.dumps(record["whole"]))
    with pytest.raises(UserError, match=rf"{path.name}/{file}(: metrics(\[\d\])?)? is damaged"):
        load(tmp_path)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 5000])
def test_a_record_that_is_not_json_is_named(tmp_path, text):
    path = write_run(tmp_path, EXPERIMENT)
    (path / "summary.json").write_bytes(text)
    with pytest.raises(UserError, match=r"summary\.json is damaged: it is not JSON"):
        load(path)


def test_unknown_fields_do_not_replace_known_columns(tmp_path):
    path = write_run(tmp_path, EXPERIMENT, epochs(2), summary(EXPERIMENT, validation_loss=1.0))
    fields: dict[str, Any] = {"path": "/etc", "status": "best", "final": {"validation_loss": 0.0}}
    path = change_experiment(path, **fields, version={"jax": "9"})
    (row,) = load(path).runs.to_dicts()
    assert (row["path"], row["status"], row["final.validation_loss"]) == (str(path), "completed", 1.0)
    assert row["version.jax"] == "0.10.2"


def test_loading_executes_no_code_of_users(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text(
        "import pathlib\npathlib.Path('ran').touch()\n\ndef make(learning_rate=1.0): ...\n"
    )
    own = OPTIMIZERS.from_json({"name": "evil.py:make", "code": "0" * 12, "learning_rate": 0.1})
    evil = Contender(name="evil", optimizer=own, space=RATE)
    results = load(write_study(tmp_path / "two", small_study(contenders=(evil,))))
    assert set(results.runs["optimizer.name"]) == {"evil.py:make"}
    results.save(tmp_path / "recorded")
    load(tmp_path / "recorded")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("path", ["../other", "/etc", "trials/../../x"])
def test_a_study_that_lists_runs_outside_its_folder_is_refused(tmp_path, path):
    folder = write_study(tmp_path / "two", small_study())
    document = json.loads((folder / "study.json").read_text())
    document["runs"][0]["path"] = path
    (folder / "study.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"study\.json is damaged: the run .* is not within its folder"):
        load(folder)


def test_folders_without_runs_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"holds no runs\. Expected a run's directory"):
        load(tmp_path)
    with pytest.raises(UserError, match=r"is not a folder\. Expected a run's directory"):
        load(tmp_path / "absent")


def test_links_are_not_followed_in_circles(tmp_path):
    path = write_run(tmp_path, EXPERIMENT)
    os.symlink(tmp_path, tmp_path / "again")
    assert load(tmp_path).runs["path"].to_list() == [str(path)]


def test_saved_results_are_loaded_again_without_the_training_steps_of_trials(tmp_path):
    folder = write_study(tmp_path / "two", small_study())
    results = load(folder)
    results.save(tmp_path / "recorded")
    again = load(tmp_path / "recorded")
    runs, curves = relative(results, folder)
    trials_of = runs.filter(pl.col("phase") == "trial")["path"]
    kept = curves.filter(~((pl.col("split") == "train_steps") & pl.col("path").is_in(trials_of.implode())))
    assert len(kept) < len(curves)
    for table, found in zip((runs, kept), relative(again, tmp_path / "recorded"), strict=True):
        assert_frame_equal(table, found, check_exact=True)
    assert again.documents == results.documents
    assert set(runs["path"]) == {run.path for run in results.documents[0].runs}
    again.save(tmp_path / "once more")
    for name in ("runs.parquet", "curves.parquet", "study.json"):
        assert (tmp_path / "recorded" / name).read_bytes() == (tmp_path / "once more" / name).read_bytes()


def test_a_study_and_its_parent_folder_are_recorded_identically(tmp_path):
    folder = write_study(tmp_path / "a" / "b" / "two", small_study())
    load(folder).save(tmp_path / "one")
    load(tmp_path / "a").save(tmp_path / "other")
    assert (tmp_path / "one" / "runs.parquet").read_bytes() == (tmp_path / "other" / "runs.parquet").read_bytes()


def test_recorded_files_do_not_contain_the_path_of_their_source(tmp_path):
    folder = write_study(tmp_path / "a_secret_place" / "two", small_study())
    load(folder).save(tmp_path / "recorded")
    for file in (tmp_path / "recorded").iterdir():
        assert b"secret" not in file.read_bytes()
    assert all(not path.startswith("/") for path in pl.read_parquet(tmp_path / "recorded" / "runs.parquet")["path"])


def test_a_single_run_and_runs_outside_studies_are_recorded_completely(tmp_path):
    path = write_run(tmp_path / "runs", EXPERIMENT, epochs(3), summary(EXPERIMENT) | {"steps": 30})
    for source, recorded in ((path, EXPERIMENT.digest), (tmp_path / "runs", f"cnn_adam/{EXPERIMENT.digest}")):
        target = tmp_path / source.name[:4]
        load(source).save(target)
        again = load(target)
        assert again.documents == ()
        assert len(again.curves) == 9
        assert pl.read_parquet(target / "runs.parquet")["path"].to_list() in ([recorded], [EXPERIMENT.digest])


def test_results_of_several_studies_or_over_another_study_are_not_recorded(tmp_path):
    one, two = write_study(tmp_path / "one", small_study(name="one")), write_study(tmp_path / "two", small_study())
    with pytest.raises(UserError, match=r"results of 2 studies. Expected: one study"):
        load(tmp_path).save(tmp_path / "recorded")
    with pytest.raises(UserError, match=r"a study, which these results cannot replace\. Expected: another folder"):
        load(one).save(two)
    loose = load(write_run(tmp_path / "runs", EXPERIMENT))
    load(one).save(tmp_path / "recorded")
    with pytest.raises(UserError, match=r"a study, which these results cannot replace\. Expected: another folder"):
        loose.save(tmp_path / "recorded")
    kept = (tmp_path / "recorded" / "study.json").read_bytes()
    with pytest.raises(UserError, match=r"recorded results of the study one, not of two\. Expected: another folder"):
        load(two).save(tmp_path / "recorded")
    assert (tmp_path / "recorded" / "study.json").read_bytes() == kept
    load(one).save(tmp_path / "recorded", compact=True)  # the same study replaces its own results
    with pytest.raises(UserError, match="is not in /elsewhere"):
        dataclasses.replace(loose, folder="/elsewhere").save(tmp_path / "new")


def test_damaged_recorded_results_are_named(tmp_path):
    load(write_study(tmp_path / "two", small_study())).save(tmp_path / "recorded")
    file = tmp_path / "recorded" / "curves.parquet"
    whole, table = file.read_bytes(), pl.read_parquet(file)
    for damaged in (whole[:-100], b"", b"PAR1" + b"\0" * 100 + b"PAR1"):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"curves\.parquet is damaged or missing"):
            load(tmp_path / "recorded")
    file.unlink()
    with pytest.raises(UserError, match=r"curves\.parquet is damaged or missing"):
        load(tmp_path / "recorded")
    table.with_columns(pl.col("loss").cast(pl.String)).write_parquet(file)
    with pytest.raises(UserError, match=r"curves\.parquet is damaged: the column loss has the type String"):
        load(tmp_path / "recorded")
    table.with_columns(path=pl.lit("other")).write_parquet(file)
    with pytest.raises(UserError, match=r"recorded is damaged: curves\.parquet has lines of runs that"):
        load(tmp_path / "recorded")
    table.drop("path").write_parquet(file)
    with pytest.raises(UserError, match="some rows have no path"):
        load(tmp_path / "recorded")


@pytest.mark.parametrize("path", ["../elsewhere", "/etc"])
def test_recorded_runs_outside_their_folder_are_refused(tmp_path, path):
    load(write_run(tmp_path / "runs", EXPERIMENT)).save(tmp_path / "recorded")
    for name in ("runs", "curves"):
        file = tmp_path / "recorded" / f"{name}.parquet"
        pl.read_parquet(file).with_columns(path=pl.lit(path)).write_parquet(file)
    with pytest.raises(UserError, match="is not within its folder"):
        load(tmp_path / "recorded")


def test_columns_that_an_earlier_version_did_not_record_are_null(tmp_path):
    load(write_run(tmp_path / "runs", EXPERIMENT, epochs(1))).save(tmp_path / "recorded")
    for name, absent in (("runs", "threads"), ("curves", "update_norm")):
        file = tmp_path / "recorded" / f"{name}.parquet"
        pl.read_parquet(file).drop(absent).write_parquet(file)
    again = load(tmp_path / "recorded")
    assert (again.runs.schema["threads"], again.runs["threads"].to_list()) == (pl.Int64, [None])
    assert again.curves["update_norm"].to_list() == [None] * 3


def test_sql_joins_the_tables_and_takes_names_with_dots_in_quotes(tmp_path):
    results = load(write_study(tmp_path / "two", small_study()))
    answer = results.sql(
        """
        SELECT r.contender, r."optimizer.learning_rate" AS rate, MIN(c.loss) AS lowest, COUNT(*) AS lines
        FROM runs r JOIN curves c ON r.path = c.path
        WHERE c.split = 'validation' AND r.phase = 'trial' AND r."optimizer.name" <> 'it''s'
        GROUP BY r.contender, r."optimizer.learning_rate" ORDER BY rate
        """
    )
    rates = sorted(results.runs.filter(pl.col("phase") == "trial")["optimizer.learning_rate"])
    assert answer.rows() == [("sgd", rate, pytest.approx(0.5 ** (rate == rates[1])), 2) for rate in rates]


@pytest.mark.parametrize(
    "query",
    ["", "SELEC", "SELECT nothing FROM runs", "SELECT * FROM walks", "SELECT 1; SELECT 2", "DELETE FROM walks",
     "SELECT optimizer.name FROM runs", "SELECT path + loss FROM curves", "SELECT * FROM runs WHERE path = 'a"],
)  # fmt: skip
def test_an_invalid_query_is_an_error_that_names_the_tables(tmp_path, query):
    results = load(write_run(tmp_path, EXPERIMENT, epochs(1)))
    with pytest.raises(UserError, match=r"cannot be answered: .*; the tables are runs and curves"):
        results.sql(query)


@pytest.mark.parametrize("function", ["read_csv", "READ_CSV", "read_parquet", "read_ipc", "read_json", "read_ndjson"])
@pytest.mark.parametrize(
    "query",
    ["SELECT * FROM {}('{}')", 'SELECT * FROM "{}"(\'{}\')', "SELECT * FROM {} /* of */ ('{}')",
     "SELECT 1 WHERE EXISTS (SELECT * FROM {}('{}'))", "WITH t AS (SELECT * FROM {}('{}')) SELECT * FROM t",
     "SELECT * FROM runs JOIN {}('{}') f ON f.a = runs.seed", "CREATE TABLE t AS SELECT * FROM {}('{}')",
     "EXPLAIN SELECT * FROM {}('{}')"],
)  # fmt: skip
def test_sql_functions_that_read_files_are_refused(tmp_path, function, query):
    results = load(write_run(tmp_path / "runs", EXPERIMENT))
    pl.DataFrame({"a": [1]}).write_csv(tmp_path / "other.csv")
    with pytest.raises(UserError, match=f"the query calls '{function}', and functions that read files"):
        results.sql(query.format(function, tmp_path / "other.csv"))


@pytest.mark.parametrize(
    "query", ["SELECT * FROM '{}'", 'SELECT * FROM "{}"', "COPY runs TO '{}'", "SELECT * INTO '{}' FROM runs"]
)
def test_sql_neither_reads_nor_writes_files_by_their_names(tmp_path, query):
    results = load(write_run(tmp_path / "runs", EXPERIMENT))
    pl.DataFrame({"a": [1]}).write_csv(tmp_path / "other.csv")
    before = (tmp_path / "other.csv").read_bytes()
    with contextlib.suppress(UserError):
        assert "a" not in results.sql(query.format(tmp_path / "other.csv")).columns
    assert (tmp_path / "other.csv").read_bytes() == before


def test_a_query_does_not_change_the_tables(tmp_path):
    results = load(write_run(tmp_path, EXPERIMENT, epochs(1)))
    for query in ("DROP TABLE runs", "TRUNCATE TABLE runs", "DELETE FROM runs"):
        results.sql(query)
        assert results.sql("SELECT COUNT(*) FROM runs").item() == 1


def test_every_value_that_a_real_run_writes_has_a_column(tiny, train_once):
    (run,) = train_once([tiny], Recording(tensorboard=False))
    path = run.path
    results = load(path)
    (row,) = results.runs.to_dicts()
    assert row["status"] == "completed"
    for written in read_metrics(path / "metrics.jsonl"):
        assert written.keys() <= curve_types(["accuracy"]).keys()
    ended = json.loads((path / "summary.json").read_text())
    for at in ("final", "best"):
        found = {name: value for name, value in row.items() if name.startswith(f"{at}.")}
        assert {f"{at}.{name}": value for name, value in ended[at].items()} == found
    for config, parts in (
        (tiny, {"workload", "optimizer", "schedule"}),
        (tiny.workload, {"name", "problem"}),
        (tiny.workload.problem, {"model", "augmentation"}),
    ):
        own = config.to_json().keys() - parts
        assert {name: row[name] for name in own} == {name: getattr(config, name) for name in own}
    assert (row["problem.name"], row["model.name"], row["augmentation.flip"]) == ("classification", "cnn", True)
    assert types_of(results.runs, run_types()) == dict(run_types())


def test_a_compact_record_keeps_confirmation_validation_and_last_lines(tmp_path):
    folder = write_study(tmp_path / "two", small_study())
    load(folder).save(tmp_path / "whole")
    load(folder).save(tmp_path / "compact", compact=True)
    whole, compact = (load(tmp_path / name) for name in ("whole", "compact"))
    assert_frame_equal(compact.runs.drop("path"), whole.runs.drop("path"))
    phases = {path.removeprefix(f"{tmp_path}/compact/"): phase for path, phase in compact.runs["path", "phase"].rows()}
    lines = [
        {
            (path.removeprefix(f"{results_dir}/"), step, split)
            for path, step, split in results.curves.select("path", "step", "split").rows()
        }
        for results_dir, results in ((tmp_path / "whole", whole), (tmp_path / "compact", compact))
    ]
    last = {path: max(step for other, step, _ in lines[0] if other == path) for path in phases}
    assert lines[1] == {
        (path, step, split)
        for path, step, split in lines[0]
        if phases[path] == "confirmation" or split == "validation" or step == last[path]
    }
    assert lines[1] < lines[0]


def test_recording_removes_the_remains_of_a_killed_writer_but_no_file_of_a_user(tmp_path):
    results = load(write_study(tmp_path / "study", small_study()))
    remains, users = (tmp_path / "record" / temporary_name() for _ in "12")
    for folder, name in ((remains, "runs.parquet"), (users, "runs.parquet"), (users, "mine")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("half")
    results.save(tmp_path / "record")
    assert not remains.exists()
    assert [path.name for path in users.iterdir()] == ["mine"]
