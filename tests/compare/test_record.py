"""A study is continued from its record on other machines: no run is trained twice, and the record is the same."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import pickle
import shutil
import signal
import subprocess
import sys
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from jaxopt_bench import UserError
from jaxopt_bench.compare import compare, make_newcomer
from jaxopt_bench.optimizers import SGD
from jaxopt_bench.results import describe_missing_results, load
from jaxopt_bench.results.atomic_files import lock_folder
from jaxopt_bench.study import Study
from tests.compare.conftest import contender

ROOT = pathlib.Path(__file__).parents[2]
TIMINGS = ("seconds", "examples_per_second")


@pytest.fixture(scope="module")
def whole(finished, tmp_path_factory) -> pathlib.Path:
    """Returns the record of the study trained in one folder."""
    folder = tmp_path_factory.mktemp("whole") / "record"
    load(finished).save(folder)
    return folder


def trained(folder: pathlib.Path) -> set[str]:
    """Returns the runs that were trained in a folder."""
    return {str(path.parent.relative_to(folder)) for path in folder.rglob("summary.json")}


def untimed(table: pl.DataFrame) -> pl.DataFrame:
    names = [name for name in table.columns if name.startswith(TIMINGS) or name == "path"]
    return table.drop(names)


def assert_same_record(one: pathlib.Path, other: pathlib.Path) -> None:
    """Asserts that two records are equal up to timings."""
    left, right = load(one), load(other)
    assert [path.removeprefix(f"{one}/") for path in left.runs["path"]] == [
        path.removeprefix(f"{other}/") for path in right.runs["path"]
    ]
    for table in ("runs", "curves", "examples"):
        assert_frame_equal(untimed(getattr(left, table)), untimed(getattr(right, table)), check_column_order=False)
    documents = [json.loads((path / "study.json").read_text()) for path in (one, other)]
    assert documents[0] == documents[1]


def test_each_process_trains_only_the_runs_that_the_record_lacks_and_the_missing_part_is_reported(
    small, whole, tmp_path, digits_dir
):
    record = tmp_path / "record"
    options: dict[str, Any] = {"data_dir": digits_dir, "record": record}
    compare(small, tmp_path / "first", only=["adamw"], **options)
    assert {path.split("/")[1] for path in trained(tmp_path / "first")} == {"tiny_adamw"}
    assert set(load(record).runs["contender"]) == {"adamw"}
    assert describe_missing_results(load(record)) == (
        "The study small is not complete: 1 of 2 pairs of an optimizer and a workload have finished. Missing: tiny, "
        "sgd. They are trained when `compare` continues the study."
    )
    assert describe_missing_results(load(record), ["adamw"]) == (
        "adamw has finished on all workloads of the study small. 1 other optimizer is not recorded yet. The answer is "
        "printed when all have finished."
    )
    assert "Missing: tiny, sgd." in (describe_missing_results(load(record), ["adamw", "sgd"]) or "")
    shutil.rmtree(tmp_path / "first")
    compare(small, tmp_path / "second", **options)
    assert {path.split("/")[1] for path in trained(tmp_path / "second")} == {"tiny_sgd"}
    assert_same_record(record, whole)
    before = (record / "runs.parquet").stat().st_mtime_ns
    compare(small, tmp_path / "third", **options)
    assert trained(tmp_path / "third") == set()
    assert (record / "runs.parquet").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_kill_at_any_time_leaves_a_record_from_which_the_study_continues(small, whole, tmp_path, digits_dir):
    """Child processes are killed just before they rename files of the record, and the study's folder is deleted."""
    record, counts = tmp_path / "record", []
    for time in (2, 3, 5):
        folder = tmp_path / f"out{time}"
        told = tmp_path / "told.pickle"
        told.write_bytes(pickle.dumps((small, folder, record, digits_dir, time)))
        command = [sys.executable, "-m", "tests.compare.killed_while_recording", str(told)]
        child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        known = set()
        if any(name.name in (".recorded", "runs.parquet") for name in record.iterdir()):
            found = load(record)
            known = set(found.runs["path"])
            assert set(found.runs["status"]) == {"completed"}
            assert len(known) in (7, 14)  # complete units only, of an optimizer on a workload
        assert child.returncode == -signal.SIGKILL, child.stderr
        counts.append(len(known))
        shutil.rmtree(folder)
    # Killed before the rename that makes the first unit valid; after it; after all files of the unit were moved.
    assert counts == [0, 7, 7]
    compare(small, tmp_path / "last", data_dir=digits_dir, record=record)
    assert_same_record(record, whole)
    assert not [path.name for path in record.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_a_grown_study_trains_only_its_new_runs(small, whole, tmp_path, digits_dir):
    record = shutil.copytree(whole, tmp_path / "record")
    more = contender("more", SGD(), 1e-2, 1e-1)
    grown = dataclasses.replace(small, contenders=(*small.contenders, more), trials=4, seeds=3)
    compare(grown, tmp_path / "out", data_dir=digits_dir, record=record)
    new = load(tmp_path / "out")
    old = set(load(whole).runs["digest"])
    assert not old & set(new.runs["digest"])
    compare(grown, tmp_path / "at once", data_dir=digits_dir)
    expected, found = load(tmp_path / "at once"), load(record)
    assert describe_missing_results(found) is None
    kept = found.runs.filter(pl.col("phase") != "superseded")
    assert set(kept["digest"]) == set(expected.runs["digest"])
    assert found.documents[0].selections == expected.documents[0].selections
    assert [size.trials for size in found.documents[0].history] == [3, 4]


def test_a_study_continues_from_its_folder_and_its_record_together(small, whole, tmp_path, digits_dir):
    """The folder has finished runs that are not recorded yet."""
    part = small.only(contenders=["sgd"])
    compare(part, tmp_path / "out", data_dir=digits_dir)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("summary.json")}
    compare(small, tmp_path / "other", only=["adamw"], data_dir=digits_dir, record=tmp_path / "record")
    compare(small, tmp_path / "out", data_dir=digits_dir, record=tmp_path / "record")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("summary.json")} == before
    assert set(load(tmp_path / "record").runs["digest"]) == set(load(whole).runs["digest"])


def test_an_unknown_optimizer_among_those_to_train_is_refused(small, whole, tmp_path, digits_dir):
    shutil.copytree(whole, tmp_path / "record")
    with pytest.raises(UserError, match="unknown optimizer of the study small 'adamm'; did you mean adamw"):
        compare(small, tmp_path / "out", only=["adamm"], data_dir=digits_dir, record=tmp_path / "record")


def changed_rate(small: Study) -> Study:
    wider = contender("sgd", SGD(momentum=0.9), 1e-4, 1e-1)
    return dataclasses.replace(small, contenders=(wider, small.contenders[1]))


def changed_batch(small: Study) -> Study:
    return dataclasses.replace(small, workloads=(dataclasses.replace(small.workloads[0], batch_size=32),))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (changed_rate, "contenders sgd: space.optimizer.learning_rate.low 0.001"),
        (changed_batch, "workloads tiny: batch_size 64"),
        (lambda small: dataclasses.replace(small, seed=9), "seed: 0; this command has 9"),
        (lambda small: dataclasses.replace(small, search="halving"), "another search than 'halving'"),
    ],
)
def test_another_study_is_refused(change, named, small, whole, tmp_path, digits_dir):
    record = shutil.copytree(whole, tmp_path / "record")
    before = {path.name: path.read_bytes() for path in record.iterdir()}
    with pytest.raises(UserError, match=named):
        compare(change(small), tmp_path / "out", data_dir=digits_dir, record=record)
    assert {path.name: path.read_bytes() for path in record.iterdir()} == before
    assert trained(tmp_path) == set()


def test_an_optimizer_whose_file_has_changed_is_refused(small, mine, tmp_path, digits_dir):
    """The study's fields are the same. Only the digests differ."""
    study = dataclasses.replace(small, contenders=(make_newcomer(small, f"{mine}:mine"),), trials=1, seeds=1)
    compare(study, tmp_path / "out", data_dir=digits_dir, record=tmp_path / "record")
    mine.write_text(mine.read_text().replace("optax.trace(b1)", "optax.trace(b1, nesterov=True)"))
    again = dataclasses.replace(study, contenders=(make_newcomer(small, f"{mine}:mine"),))
    with pytest.raises(UserError, match="mine"):
        compare(again, tmp_path / "new", data_dir=digits_dir, record=tmp_path / "record")
    assert trained(tmp_path / "new") == set()


@pytest.mark.parametrize("table", ["runs", "curves"])
def test_a_tampered_record_is_refused(table, small, whole, tmp_path, digits_dir):
    record = shutil.copytree(whole, tmp_path / "record")
    path = record / f"{table}.parquet"
    name = "final.validation_loss" if table == "runs" else "loss"
    pl.read_parquet(path).with_columns(pl.col(name) * 0.5).write_parquet(path)
    with pytest.raises(UserError, match="holds files of two runs"):
        compare(small, tmp_path / "out", data_dir=digits_dir, record=record)


def test_a_record_with_changed_digests_is_refused(small, whole, tmp_path, digits_dir):
    record = shutil.copytree(whole, tmp_path / "record")
    one = load(whole).runs.filter(contender="sgd", phase="trial")["digest"][0]
    (record / "study.json").write_text((record / "study.json").read_text().replace(one, "0123456789ab"))
    table = pl.read_parquet(record / "runs.parquet")
    for column in ("digest", "path"):
        table = table.with_columns(pl.col(column).str.replace(one, "0123456789ab"))
    table.write_parquet(record / "runs.parquet")
    lines = pl.read_parquet(record / "curves.parquet").with_columns(pl.col("path").str.replace(one, "0123456789ab"))
    lines.write_parquet(record / "curves.parquet")
    with pytest.raises(UserError, match=f"another definition of sgd on tiny: trial 0 .* 0123456789ab there and {one}"):
        compare(small, tmp_path / "out", data_dir=digits_dir, record=record)


def test_two_processes_cannot_write_to_one_record(small, tmp_path, digits_dir):
    (tmp_path / "record").mkdir()
    with lock_folder(tmp_path / "record"), pytest.raises(UserError, match="another process writes into"):
        compare(small, tmp_path / "out", data_dir=digits_dir, record=tmp_path / "record")
