"""Files, folders and links of users in the folders of runs, studies and reports are never changed."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil

import pytest

from jaxopt_bench import data, load_run, train, train_population
from jaxopt_bench.compare import compare
from jaxopt_bench.files import temporary_name
from jaxopt_bench.optimizers import AdamW
from jaxopt_bench.reports.report import report_of, write
from jaxopt_bench.results import load
from jaxopt_bench.runs import Interrupted, Options, Recording, Reporter
from jaxopt_bench.study import Study
from jaxopt_bench.training import CodePath
from tests.compare.conftest import contender
from tests.runs.test_train import Killed, KilledAt, StoppedAt

NAMES = ("notes.txt", ".DS_Store", "._notes", "Thumbs.db", ".nfs0000000000000001", ".a.tmp", "config.json~", "1.old")
FOLDERS = ("my-backup", "2024", "arrays.bak", "checkpoints.old")
WEIRD = "thesis [2026] 100% *?{a}\\'\"#&=\nü"


class Planted:
    """Foreign files, folders and links, and the content of each when it was planted."""

    def __init__(self, elsewhere: pathlib.Path):
        self.elsewhere = elsewhere
        (elsewhere / "3" / "arrays").mkdir(parents=True)
        (elsewhere / "3" / "arrays" / "theirs").write_text("theirs")
        self.kept = snapshot(elsewhere)

    def plant(self, root: pathlib.Path) -> None:
        """Creates foreign files in a folder and in all folders below it, except in those that were planted."""
        folders = [root, *(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())]
        for folder in [f for f in folders if not any(f.is_relative_to(kept) for kept in self.kept)]:
            for name in NAMES:
                if not (folder / name).exists():
                    (folder / name).write_text(f"mine: {name}")
                    self.kept |= {folder / name: snapshot_of(folder / name)}
            for name in (*FOLDERS, temporary_name()):
                (folder / name).mkdir(exist_ok=True)
                (folder / name / "mine").write_text("mine")
                self.kept |= {path: snapshot_of(path) for path in (folder / name, folder / name / "mine")}
            for name, target in (
                ("linked", self.elsewhere),
                ("gone", folder / "gone-away"),
                ("7", self.elsewhere / "3"),
            ):
                if not os.path.lexists(folder / name):
                    (folder / name).symlink_to(target)
                    self.kept |= {folder / name: snapshot_of(folder / name)}

    def lost(self) -> list[pathlib.Path]:
        """Returns the paths that have changed since they were planted."""
        return [path for path, was in self.kept.items() if snapshot_of(path) != was]


def snapshot(folder: pathlib.Path) -> dict[pathlib.Path, object]:
    return {path: snapshot_of(path) for path in [folder, *folder.rglob("*")]}


def snapshot_of(path: pathlib.Path) -> object:
    """Returns the target of a link, the content of a file, or whether a folder exists."""
    if path.is_symlink():
        return path.readlink()
    return path.read_bytes() if path.is_file() else path.is_dir()


@pytest.fixture
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return Planted(tmp_path_factory.mktemp("elsewhere"))


@pytest.mark.slow
def test_foreign_files_stay_through_runs_sweeps_studies_and_reports(tiny, planted, tmp_path, digits_dir):
    root = tmp_path / WEIRD
    recording = Recording(log_every=6, checkpoint_every=7)
    options = {"recording": recording, "code_path": CodePath("pure", "compiled", "map")}
    quiet = {**options, "data_dir": root / "data", "reporter": Reporter()}
    for name in ("data", "runs", "study", "record", "report/figures", "report/tables"):
        (root / name).mkdir(parents=True)
    shutil.copytree(digits_dir, root / "data", dirs_exist_ok=True)
    planted.plant(root)

    with pytest.raises(Killed):
        train(tiny, Options(runs_dir=root / "runs", **{**quiet, "reporter": KilledAt(16)}))
    planted.plant(root)
    with pytest.raises(Interrupted):
        train(tiny, Options(runs_dir=root / "runs", **{**quiet, "reporter": StoppedAt(30)}))
    planted.plant(root)
    whole = train(tiny, Options(runs_dir=root / "runs", **quiet))
    fresh = train(tiny, Options(runs_dir=root / "runs", fresh=True, **quiet))
    assert fresh.path != whole.path
    assert whole.summary is not None
    assert fresh.summary is not None
    assert fresh.summary["final"] == whole.summary["final"]

    several = [dataclasses.replace(tiny, optimizer=AdamW(learning_rate=1e-3), seed=seed) for seed in range(3)]
    with pytest.raises(Killed):
        train_population(several, Options(runs_dir=root / "runs", **{**quiet, "reporter": KilledAt(16)}))
    planted.plant(root)
    # The population is divided, with its checkpoints.
    train_population(several, Options(runs_dir=root / "runs", largest=2, **quiet))

    study = Study(
        name="small [ours]",
        workloads=(dataclasses.replace(tiny.workload, epochs=1),),
        contenders=(contender("adam [ours]", AdamW()),),
        trials=3,
        finalists=0,
        seeds=2,
    )
    compare(study, root / "study", data_dir=root / "data")
    planted.plant(root)
    compare(dataclasses.replace(study, trials=4), root / "study", data_dir=root / "data")
    results = load(root / "study")
    assert len(results.runs.filter(phase="trial")) == 4
    for _ in range(2):
        results.save(root / "record")
        planted.plant(root / "record")
    write(report_of(load(root / "record"), "small"), root / "report")

    cache = next((root / "data").rglob("train_images.npy"))
    cache.write_bytes(cache.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="decoded again"):
        data.load("digits", root / "data").split("train")
    data.prepare("digits", None, root / "data")
    load_run(whole.path)
    assert planted.lost() == []
    print(f"\nforeign files, folders and links planted: {len(planted.kept)}; found as they were: {len(planted.kept)}")
