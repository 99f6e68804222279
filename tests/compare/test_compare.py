"""Studies on real data: they follow the protocol, and no run is lost or trained twice after any interruption."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import polars as pl
import pytest
from rich.console import Console

from jaxopt_bench import UserError, data
from jaxopt_bench.compare import Progress, compare, progress_for
from jaxopt_bench.compare.folder import StudyFolder
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, AdamW, Axis, Space
from jaxopt_bench.problems import Classification
from jaxopt_bench.results import load
from jaxopt_bench.study import Document, Selection, Study, Target, plan_finalists, plan_trials, points, units
from tests.compare.conftest import contender, records


class Killed(Exception):  # noqa: N818 (it is not an error)
    """Simulates the end of a process."""


class Stops(Progress):
    """Simulates the end of the process before or after its n-th job."""

    def __init__(self, job: int, after: bool):
        self.left, self.after = job, after

    def begin(self, job):
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        return super().begin(job)

    def end(self, job):
        if self.left == 0 and self.after:
            raise Killed


def lines(run: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_runs_of_each_phase_agree_with_study_json_and_the_protocol(small, finished):
    document = json.loads((finished / "study.json").read_text())
    assert Study.from_json(document["study"]) == small
    names = ("trial", "finalist", "confirmation")
    phases = {phase: [run for run in document["runs"] if run["phase"] == phase] for phase in names}
    assert {phase: len(runs) for phase, runs in phases.items()} == {"trial": 6, "finalist": 4, "confirmation": 4}
    for run in phases["trial"] + phases["finalist"]:
        assert run["path"].startswith(f"{run['phase']}s/tiny_")
        assert not any(line["split"] == "test" for line in lines(finished / run["path"]))
        assert not list((finished / run["path"]).glob("checkpoints/*"))
    for run in phases["confirmation"]:
        assert run["path"].startswith("confirmations/tiny_")
        assert [line["epoch"] for line in lines(finished / run["path"]) if line["split"] == "test"] == [1]
    for phase in ("trials", "finalists"):
        assert not list(finished.glob(f"{phase}/*/population-*/checkpoints/*"))
    seeds = [seed for runs in phases.values() for seed in {run["seed"] for run in runs}]
    assert len(set(seeds)) == len(seeds)


def validation_losses(folder: pathlib.Path, phase: str, contender: str) -> dict[int, float]:
    """Returns the mean final validation loss of each trial in a phase."""
    found: dict[int, list[float]] = {}
    for run in json.loads((folder / "study.json").read_text())["runs"]:
        if (run["phase"], run["contender"]) == (phase, contender):
            summary = json.loads((folder / run["path"] / "summary.json").read_text())
            found.setdefault(run["trial"], []).append(summary["final"]["validation_loss"])
    return {trial: sum(losses) / len(losses) for trial, losses in found.items()}


def test_the_winner_has_the_lowest_validation_loss_of_the_retrained_best_trials(finished):
    document = json.loads((finished / "study.json").read_text())
    for winner in document["selections"]:
        tried = validation_losses(finished, "trial", winner["contender"])
        again = validation_losses(finished, "finalist", winner["contender"])
        assert [*again] == sorted(tried, key=lambda trial: tried[trial])[:2]
        assert winner["finalists"] == {str(trial): loss for trial, loss in again.items()}
        assert winner["value"] == min(again.values()) == again[winner["trial"]]
        confirmed = [
            r for r in document["runs"] if r["phase"] == "confirmation" and r["contender"] == winner["contender"]
        ]
        for run in confirmed:
            optimizer = json.loads((finished / run["path"] / "config.json").read_text())["experiment"]["optimizer"]
            assert optimizer["learning_rate"] == winner["values"]["optimizer.learning_rate"]


def test_no_trial_opens_the_test_split(small, tmp_path, digits_dir, monkeypatch):
    split = data.Dataset.split

    def guarded(dataset, name):
        if name == "test":
            raise PermissionError("the test split was opened")
        return split(dataset, name)

    monkeypatch.setattr(data.Dataset, "split", guarded)
    with pytest.raises(PermissionError, match="the test split was opened"):
        compare(small, tmp_path / "study", data_dir=digits_dir)
    document = json.loads((tmp_path / "study" / "study.json").read_text())
    assert len(document["selections"]) == 2  # all trials were trained and judged before the first confirmation failed
    runs = load(tmp_path / "study").runs
    assert set(runs.filter(runs["phase"] != "confirmation")["status"]) == {"completed"}


def test_a_study_that_is_killed_repeatedly_has_the_results_of_one_that_was_not(small, finished, tmp_path, digits_dir):
    for job, after in ((1, False), (1, True), (1, True), (2, False), (1, True), (2, True)):
        with pytest.raises(Killed):
            compare(small, tmp_path / "small", data_dir=digits_dir, progress=Stops(job, after))
    compare(small, tmp_path / "small", data_dir=digits_dir)
    assert records(tmp_path / "small") == records(finished)
    for phase in ("trials", "finalists"):
        assert not list((tmp_path / "small" / phase).rglob("checkpoints/*"))


def test_a_finished_study_trains_nothing(small, finished, digits_dir):
    written = {path: path.stat().st_mtime_ns for path in finished.rglob("summary.json")}
    compare(small, finished, data_dir=digits_dir, progress=Stops(1, after=False))
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("summary.json")} == written


def confirmations(folder: pathlib.Path, contender: str) -> list[pathlib.Path]:
    runs = json.loads((folder / "study.json").read_text())["runs"]
    return [folder / r["path"] for r in runs if r["phase"] == "confirmation" and r["contender"] == contender]


@pytest.mark.parametrize(
    ("phase", "removed"),
    [
        ("confirmations", [("config.json",)]),
        pytest.param("confirmations", [("metrics.jsonl",)], marks=pytest.mark.slow),
        ("confirmations", [("config.json", "metrics.jsonl"), ("config.json",)]),  # a whole population
        pytest.param("confirmations", [("metrics.jsonl", "summary.json")], marks=pytest.mark.slow),
        ("trials", [("metrics.jsonl",)]),
        ("finalists", [("metrics.jsonl",), ("config.json",)]),
        pytest.param("trials", [("config.json",)] * 3, marks=pytest.mark.slow),
    ],
)
def test_a_run_with_missing_files_is_trained_again(small, finished, tmp_path, digits_dir, capsys, phase, removed):
    folder = tmp_path / "small"
    shutil.copytree(finished, folder)
    runs = sorted(p for p in (folder / phase / "tiny_sgd").iterdir() if not p.name.startswith("population-"))
    damaged = list(zip(runs, removed, strict=False))
    for run, names in damaged:
        (run / "mine.txt").write_text(run.name)
        for name in names:
            (run / name).unlink()
    console = Console(width=200)
    compare(small, folder, data_dir=digits_dir, progress=progress_for(console))
    said = capsys.readouterr().out
    found, whole = records(folder), records(finished)
    for run, _ in damaged:
        aside = run.with_name(f"{run.name}.incomplete-1")
        assert f"a run was incomplete and is trained again; its incomplete files are now in {aside}" in said
        assert (aside / "mine.txt").read_text() == run.name
        assert load(folder).runs.filter(pl.col("path") == str(run))["status"].to_list() == ["completed"]
        found.pop(str(aside.relative_to(folder)), None)
    assert found.keys() == whole.keys()
    assert found["study.json"] == whole["study.json"]
    for name in found.keys() - {"study.json"}:
        again, before = (
            {key: value for key, value in each[name][1]["final"].items() if value is not None}
            for each in (found, whole)
        )
        assert again == pytest.approx(before, rel=1e-3)
    assert len(load(folder / "confirmations").runs) == 4


def test_exchanged_run_folders_are_reported_before_training(small, finished, tmp_path, digits_dir):
    shutil.copytree(finished, tmp_path / "small")
    one, other = (confirmations(tmp_path / "small", name)[0] for name in ("sgd", "adamw"))
    one.rename(tmp_path / "aside")
    other.rename(one)
    (tmp_path / "aside").rename(other)
    for budget in (small, dataclasses.replace(small, seeds=3)):
        with pytest.raises(UserError, match=rf"({one.name}|{other.name}) holds another run: digest is"):
            compare(budget, tmp_path / "small", data_dir=digits_dir, progress=Stops(1, after=False))


def test_a_seed_that_was_copied_over_another_is_named(small, finished, tmp_path, digits_dir):
    shutil.copytree(finished, tmp_path / "small")
    one, other = confirmations(tmp_path / "small", "sgd")
    shutil.rmtree(other)
    shutil.copytree(one, other)
    with pytest.raises(UserError, match=rf"{other.name} holds another run: digest is '{one.name}'"):
        compare(small, tmp_path / "small", data_dir=digits_dir, progress=Stops(1, after=False))


@pytest.mark.slow
def test_a_grown_study_trains_no_run_twice_and_equals_one_begun_at_that_size(small, finished, tmp_path, digits_dir):
    larger = dataclasses.replace(small, trials=5, seeds=3)
    compare(larger, tmp_path / "at once", data_dir=digits_dir)
    shutil.copytree(finished, tmp_path / "grown")
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "grown").rglob("summary.json")}
    document = compare(larger, tmp_path / "grown", data_dir=digits_dir)
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())
    at_once = records(tmp_path / "at once")
    grown = records(tmp_path / "grown")
    superseded = [run for run in grown["study.json"]["runs"] if run["phase"] == "superseded"]
    grown["study.json"]["runs"] = [run for run in grown["study.json"]["runs"] if run["phase"] != "superseded"]
    for run in superseded:
        del grown[run["path"]]
    assert grown == at_once
    assert [size.trials for size in document.history] == [3, 5]


def test_a_study_that_does_not_match_its_folder_is_refused_and_changes_nothing(small, finished, digits_dir):
    before = (finished / "study.json").read_bytes()
    wider = (contender("sgd", SGD(momentum=0.9), high=1.0), small.contenders[1])
    with pytest.raises(UserError, match=r"sgd: space.optimizer.learning_rate.high 0.1; this command has .*high 1.0"):
        compare(dataclasses.replace(small, contenders=wider), finished, data_dir=digits_dir)
    with pytest.raises(UserError, match="search: sobol; this command has random"):
        compare(dataclasses.replace(small, search="random"), finished, data_dir=digits_dir)
    assert (finished / "study.json").read_bytes() == before


def test_more_seeds_supersede_no_run_and_more_trials_select_finalists_again(small, tmp_path):
    """No run is trained: only the phases of runs in `study.json` are checked."""
    folder = StudyFolder(tmp_path)
    study = dataclasses.replace(small, contenders=small.contenders[:1])
    (unit,) = units(folder.begin(study))
    among = tuple(run.experiment.digest for run in plan_trials(study, unit))
    chosen = Selection(*unit.key, 2, 0.5, points(study, unit)[2], (), 0, among, {2: 0.5, 0: 0.6})
    folder.record(finalists=plan_finalists(study, unit, [2, 0]), among=plan_trials(study, unit))
    folder.record(selections=[chosen])
    assert [run.phase for run in folder.document.runs] == ["trial"] * 3 + ["finalist"] * 2 + ["confirmation"] * 2
    folder.begin(dataclasses.replace(study, seeds=3))
    assert folder.document.finalists(unit.key) == (2, 0)
    assert folder.document.selections == (chosen,)
    larger = folder.begin(dataclasses.replace(study, trials=5))
    assert folder.document.finalists(unit.key) == folder.document.selections == ()
    assert [run.phase for run in folder.document.runs] == ["trial"] * 5 + ["superseded"] * 5
    # A process that has not read the larger study yet records its finalists.
    folder.record(finalists=plan_finalists(study, unit, [2, 0]), among=plan_trials(study, unit))
    assert folder.document.finalists(unit.key) == ()
    folder.record(finalists=plan_finalists(larger, unit, [4, 2]), among=plan_trials(larger, unit))
    runs = folder.document.runs
    assert [(run.phase, run.trial) for run in runs if run.phase == "finalist"] == [("finalist", 4), ("finalist", 2)]
    assert len({run.path for run in runs}) == len(runs) == 5 + 2 + 4
    with pytest.raises(UserError, match="has finalists: 2; this command has 3"):
        folder.begin(dataclasses.replace(study, finalists=3))


def test_a_study_whose_trials_an_earlier_version_drew_is_not_continued(small, tmp_path):
    path = tmp_path / "study.json"
    dataclasses.replace(Document(small), format=1).write(path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"study\.json has the format 1: .* cannot continue .* Expected another folder"):
        StudyFolder(tmp_path).begin(small)
    assert path.read_bytes() == before


def test_diverged_trials_count_and_an_optimizer_with_only_those_has_no_winner(small, tmp_path, digits_dir):
    wild = dataclasses.replace(
        small,
        contenders=(contender("mixed", SGD(), low=1e-2, high=1e30), contender("wild", SGD(), low=1e28, high=1e30)),
    )
    document = compare(wild, tmp_path / "wild", data_dir=digits_dir)
    mixed, all_lost = document.selections
    assert 1 <= mixed.diverged < 3
    assert (all_lost.trial, all_lost.diverged) == (None, 3)
    runs = load(tmp_path / "wild").runs
    assert runs.filter(runs["contender"] == "wild", runs["phase"] == "confirmation").is_empty()
    again = compare(wild, tmp_path / "wild", data_dir=digits_dir, progress=Stops(1, after=False))
    assert again == document


@pytest.mark.slow
def test_consecutive_shards_have_the_same_results_as_one_process(small, finished, tmp_path, digits_dir):
    for index in (2, 0, 1, 3):
        compare(small, tmp_path / "shards", data_dir=digits_dir, shard=(index, 4))
    assert records(tmp_path / "shards") == records(finished)


@pytest.mark.slow
def test_concurrent_shards_share_a_folder_safely(small, finished, tmp_path, digits_dir):
    (tmp_path / "study").mkdir()
    shutil.copy(finished / "study.json", tmp_path / "study" / "study.json")
    command = [sys.executable, "-m", "jaxopt_bench", "compare", str(tmp_path / "study"), "--data-dir", str(digits_dir)]
    shards = [subprocess.Popen([*command, "--shard", f"{i}/2"], stdout=subprocess.PIPE, text=True) for i in range(2)]
    for shard in shards:
        out, _ = shard.communicate(timeout=300)
        assert shard.returncode == 0, out
    ended, alone = records(tmp_path / "study"), records(finished)
    assert ended["study.json"]["selections"] == alone["study.json"]["selections"]
    assert ended == alone


@pytest.mark.slow
def test_refitting_confirms_on_all_training_examples(small, tmp_path, digits_dir):
    study = dataclasses.replace(small, refit=True, contenders=small.contenders[:1], seeds=1)
    compare(study, tmp_path / "refit", data_dir=digits_dir)
    runs = load(tmp_path / "refit").runs
    fractions = dict(zip(runs["phase"], runs["validation_fraction"], strict=True))
    assert fractions == {"trial": 0.1, "finalist": 0.1, "confirmation": 0.0}


def test_an_untuned_optimizer_is_confirmed_as_given_and_timed_if_it_has_a_target(small, tmp_path, digits_dir):
    study = dataclasses.replace(
        small,
        trials=None,
        contenders=(dataclasses.replace(small.contenders[1], optimizer=AdamW(learning_rate=0.01), space=Space()),),
        targets=(Target(workload="tiny", measure="validation_accuracy", value=0.01),),
    )
    document = compare(study, tmp_path / "fixed", data_dir=digits_dir)
    assert {run.phase for run in document.runs} == {"confirmation"}
    (timing,) = document.timings
    assert 0 < timing.seconds_per_step < 1
    again = compare(study, tmp_path / "fixed", data_dir=digits_dir, progress=Stops(1, after=False))
    assert again.timings == document.timings


@pytest.mark.slow
def test_repetitions_draw_other_trials_with_other_seeds(small, tmp_path, digits_dir):
    study = dataclasses.replace(small, repetitions=2, contenders=small.contenders[:1])
    document = compare(study, tmp_path / "twice", data_dir=digits_dir)
    assert [s.repetition for s in document.selections] == [0, 1]
    runs = load(tmp_path / "twice").runs
    first, second = (runs.filter(runs["repetition"] == r) for r in (0, 1))
    assert set(first["optimizer.learning_rate"]).isdisjoint(second["optimizer.learning_rate"])
    assert set(first["seed"]).isdisjoint(second["seed"])


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0)])
def test_a_shard_that_does_not_exist_is_refused(small, tmp_path, shard):
    with pytest.raises(UserError, match=f"the shard {shard[0]}/{shard[1]} does not exist"):
        compare(small, tmp_path / "study", shard=shard)
    assert not (tmp_path / "study").exists()


def test_missing_data_are_reported_before_anything_is_written(small, tmp_path):
    workload = dataclasses.replace(small.workloads[0], problem=Classification(dataset="cifar10"))
    study = dataclasses.replace(small, workloads=(workload,))
    with pytest.raises(UserError, match="data prepare cifar10"):
        compare(study, tmp_path / "study", data_dir=tmp_path / "empty")
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_an_optimizer_with_a_line_search_is_refused_before_anything_is_written(small, tmp_path, digits_dir):
    study = dataclasses.replace(small, contenders=(*small.contenders, contender("lbfgs", OPTIMIZERS["lbfgs"])))
    with pytest.raises(
        UserError, match=r"optimizer lbfgs .* But batch_size is 64, .* Expected 1293, the number of trai"
    ):
        compare(study, tmp_path / "study", data_dir=digits_dir)
    assert not (tmp_path / "study").exists()


def test_selection_by_steps_prefers_the_trial_that_reaches_the_target_first(small, tmp_path, digits_dir):
    rates = Space({"optimizer.learning_rate": Axis(1e-4, 3e-2, "log")})
    study = dataclasses.replace(
        small,
        select="steps_to_target",
        workloads=(dataclasses.replace(small.workloads[0], epochs=4),),
        contenders=(dataclasses.replace(small.contenders[1], space=rates),),
        targets=(Target(workload="tiny", measure="validation_accuracy", value=0.4),),
        trials=4,
        finalists=0,
        seeds=1,
    )
    (winner,) = compare(study, tmp_path / "steps", data_dir=digits_dir).selections
    reached = {}
    for run in json.loads((tmp_path / "steps" / "study.json").read_text())["runs"]:
        good = [
            line["step"]
            for line in lines(tmp_path / "steps" / run["path"])
            if line["split"] == "validation" and line["accuracy"] >= 0.4
        ]
        if run["phase"] == "trial" and good:
            reached[run["trial"]] = good[0]
    assert winner.value == min(reached.values()) == reached[winner.trial]
