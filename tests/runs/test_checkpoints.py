"""Checkpoints: damaged and incomplete checkpoints are never restored."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import random
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.runs.checkpoint_folders import MANIFEST, MARKER, hash_files, is_ours
from jaxopt_bench.runs.checkpoints import (
    Checkpoints,
    checkpoint_steps,
    remove_checkpoints,
    restore,
    restore_latest,
)
from jaxopt_bench.strict_json import write_json


def tree(value: float) -> dict:
    return {"weights": {"kernel": jnp.full((4, 3), value), "bias": jnp.zeros(3)}, "step": jnp.int32(value)}


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """Returns a folder with the checkpoints of steps 1, 2 and 3."""
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (1, 2, 3):
        checkpoints.save(step, tree(step))
    checkpoints.close()
    return tmp_path


def files(checkpoint: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files that a complete checkpoint needs."""
    return sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != MARKER)


def test_a_saved_checkpoint_is_restored_unchanged(folder):
    step, restored = restore_latest(folder, jax.eval_shape(lambda: tree(0)))
    assert step == 3
    jax.tree.map(np.testing.assert_array_equal, restored, tree(3))
    jax.tree.map(np.testing.assert_array_equal, restore(folder, 1, tree(0)), tree(1))


def test_no_save_is_skipped_in_fast_succession(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=100)
    for step in range(12):
        checkpoints.save(step, tree(step))
    checkpoints.close()
    assert checkpoint_steps(tmp_path) == list(range(12))


def test_saved_arrays_have_the_values_of_the_call_though_buffers_are_reused(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    value = {"x": np.ones(1000)}
    checkpoints.save(1, value)
    value["x"] *= 2
    checkpoints.close()
    np.testing.assert_array_equal(restore(tmp_path, 1, value)["x"], 1)


def test_the_last_and_the_best_checkpoints_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in range(1, 7):
        checkpoints.save(step, tree(step), best={2})
    checkpoints.close()
    assert checkpoint_steps(tmp_path) == [2, 5, 6]


def test_a_flipped_bit_in_any_file_is_detected_and_the_previous_step_restored(folder):
    rng = random.Random(0)
    for path in files(folder / "3"):
        content = path.read_bytes()
        if not content:
            continue
        position = rng.randrange(len(content))
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 1 << rng.randrange(8)]) + content[position + 1 :]
        )
        said: list[str] = []
        step, restored = restore_latest(folder, tree(0), warn=said.append)
        assert step == 2, path
        assert "damaged" in said[0]
        jax.tree.map(np.testing.assert_array_equal, restored, tree(2))
        path.write_bytes(content)
    assert restore_latest(folder, tree(0))[0] == 3


def test_missing_and_truncated_files_are_detected(folder):
    for path in files(folder / "3"):
        content = path.read_bytes()
        path.unlink()
        assert restore_latest(folder, tree(0), warn=lambda _: None)[0] == 2
        if content:
            path.write_bytes(content[: len(content) // 2])
            assert restore_latest(folder, tree(0), warn=lambda _: None)[0] == 2
        path.write_bytes(content)
    assert restore_latest(folder, tree(0))[0] == 3


def test_if_every_checkpoint_is_damaged_restoring_raises_an_error(folder):
    for step in (1, 2, 3):
        (folder / str(step) / MANIFEST).write_text("{")
    with pytest.raises(UserError, match=r"every checkpoint in .* is damaged") as error:
        restore_latest(folder, tree(0), warn=lambda _: None)
    assert all(str(folder / str(step)) in str(error.value) for step in (1, 2, 3))


def test_a_checkpoint_without_a_manifest_is_ignored_and_removed(folder):
    (folder / "3" / MANIFEST).unlink()
    assert restore_latest(folder, tree(0))[0] == 2
    Checkpoints(folder, after=2).close()
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]


@pytest.mark.parametrize("changed", ["name", "sum"])
def test_a_checkpoint_is_removed_if_its_manifest_has_another_name_or_sum_of_a_file(folder, changed):
    """One flipped byte can change a name or a sum in the manifest, which still is valid JSON."""
    manifest = json.loads((folder / "3" / MANIFEST).read_text())
    (name, *_), sums = manifest["sha256"], manifest["sha256"]
    if changed == "name":
        sums[f"{name}x"] = sums.pop(name)
    else:
        sums[name] = "0" + sums[name][1:] if sums[name][0] != "0" else "1" + sums[name][1:]
    (folder / "3" / MANIFEST).write_text(json.dumps(manifest))
    (folder / "3" / "arrays" / "notes").write_text("a file of the user")
    assert restore_latest(folder, tree(0))[0] == 2
    with pytest.raises(UserError, match="3 has the name of a checkpoint that this run will write"):
        Checkpoints(folder, after=2)
    assert [path.name for path in (folder / "3").rglob("*") if path.is_file()] == ["notes"]
    (folder / "3" / "arrays" / "notes").unlink()
    (folder / "3" / "arrays").rmdir()
    (folder / "3").rmdir()
    Checkpoints(folder, after=2).close()
    assert checkpoint_steps(folder) == [1, 2]


def test_checkpoints_after_the_resumed_one_are_removed(folder):
    Checkpoints(folder, after=2).close()
    assert checkpoint_steps(folder) == [1, 2]


def test_a_missing_folder_of_checkpoints_restores_none(tmp_path):
    assert restore_latest(tmp_path / "absent", tree(0)) is None


@pytest.mark.parametrize(
    "other",
    [
        {"extra": jnp.zeros(2)},
        {"weights": {"kernel": jnp.zeros((4, 2)), "bias": jnp.zeros(3)}},
        {"weights": {"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(3)}},
    ],
    ids=["one more", "smaller", "turned"],
)
def test_arrays_of_another_experiment_are_refused(folder, other):
    with pytest.raises(UserError, match="other arrays"):
        restore(folder, 3, tree(0) | other)


def test_files_that_orbax_cannot_read_are_refused_though_their_sums_are_right(folder):
    refused = 0
    for path in files(folder / "3" / "arrays"):
        before = path.read_bytes()
        for content in (b"{", b"[]", b"\0" * 100):
            path.write_bytes(content)
            write_json(folder / "3" / MANIFEST, {"step": 3, "sha256": hash_files(folder / "3")})
            try:
                jax.tree.map(np.testing.assert_array_equal, restore(folder, 3, tree(0)), tree(3))
            except UserError:
                refused += 1
        path.write_bytes(before)
    assert refused >= 6


@pytest.mark.parametrize("manifest", ["[]", '{"sha256": []}', '{"sha256": 1' + "0" * 30 + "}", "[" * 10**5])
def test_a_damaged_manifest_is_a_damaged_checkpoint(folder, manifest):
    (folder / "3" / MANIFEST).write_text(manifest)
    assert restore_latest(folder, tree(0), warn=lambda _: None)[0] == 2


def test_a_failed_save_is_reported_when_it_is_awaited(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    (tmp_path / "checkpoints").rmdir()
    (tmp_path / "checkpoints").write_text("a file where the folder was")
    checkpoints.save(1, tree(1))
    with pytest.raises(UserError, match=r"checkpoints/1 could not be written \(.*the same command starts again"):
        checkpoints.wait()


NAMES = [
    "thesis [2026]",
    "a]b",
    "*",
    "what?",
    "{a,b}",
    "back\\slash",
    "100%20",
    "#1",
    "a&b=c",
    'it\'s "quoted"',
    "line\nbreak",
    "Zürich ☃ 数据",
    "ü" * 127,
    "/".join(["deep"] * 60),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_checkpoint_can_be_read_under_any_path(tmp_path, name):
    (tmp_path / name).mkdir(parents=True)
    checkpoints = Checkpoints(tmp_path / name / "checkpoints")
    checkpoints.save(1, tree(1))
    checkpoints.close()
    _, found = restore_latest(tmp_path / name / "checkpoints", tree(0), warn=pytest.fail)
    jax.tree.map(np.testing.assert_array_equal, found, tree(1))
    (tmp_path / name / "checkpoints").rename(tmp_path / "moved")
    jax.tree.map(np.testing.assert_array_equal, restore(tmp_path / "moved", 1, tree(0)), tree(1))


def test_arrays_that_cannot_be_read_back_make_no_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxopt_bench.runs.checkpoints._through_link", contextlib.nullcontext)
    checkpoints = Checkpoints(tmp_path / "[1]")
    checkpoints.save(1, tree(1))
    with pytest.raises(UserError, match="could not be written"):
        checkpoints.close()
    assert list((tmp_path / "[1]").iterdir()) == []


def test_arrays_that_are_read_back_with_other_values_make_no_checkpoint(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    other = jax.tree.map(lambda leaf: np.array(leaf) + np.ones((), leaf.dtype), tree(1))
    monkeypatch.setattr(checkpoints._checkpointer, "restore", lambda *_, **__: other)
    checkpoints.save(1, tree(1))
    with pytest.raises(UserError, match="read back with other values"):
        checkpoints.close()
    assert checkpoint_steps(tmp_path) == []


def test_nan_is_read_back_as_nan(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"x": jnp.full(3, jnp.nan)})
    checkpoints.close()
    assert np.isnan(restore(tmp_path, 1, {"x": jnp.zeros(3)})["x"]).all()


def contents(folder: pathlib.Path) -> dict[str, object]:
    """Returns everything in a folder: the bytes of files, the targets of links, None for folders."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = path.readlink()
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def test_files_of_others_among_checkpoints_are_not_removed(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(folder / "3", elsewhere / "3")
    (elsewhere / "mine").write_text("mine")
    planted = {"my-backup/notes.txt", "notes", "3-copy/manifest.json", "0/marker.json", ".jaxopt-bench-1.tmp/x", "2/x"}
    planted |= {"2/arrays/x", "03/a", "1.orbax-checkpoint-tmp/a", f".jaxopt-bench-{'0' * 16}.tmp/mine"}
    for name in planted:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    shutil.copytree(folder / "1", folder / "0", dirs_exist_ok=True)  # a copy that has the name of a checkpoint
    (folder / "linked").symlink_to(elsewhere)
    (folder / "2" / "linked").symlink_to(elsewhere)
    (folder / "2" / "arrays" / "linked").symlink_to(elsewhere)
    before, outside = contents(folder), contents(elsewhere)
    warnings: list[str] = []
    checkpoints = Checkpoints(folder, keep=1, after=3, warn=warnings.append)
    checkpoints.save(4, tree(4))
    checkpoints.save(5, tree(5))
    checkpoints.close()
    after = contents(folder)
    own = ("1", "2", "3", "4", "5")
    foreign = {name for name in before if name.split("/")[0] not in own} | planted | {"2/linked", "2/arrays/linked"}
    assert {name: after.get(name, "gone") for name in foreign} == {name: before[name] for name in foreign}
    assert contents(elsewhere) == outside
    assert restore_latest(folder, tree(0))[0] == 5
    assert not any((folder / str(step) / MANIFEST).exists() for step in (1, 2, 3, 4))
    assert any(str(folder / "0") in text for text in warnings)


@pytest.mark.parametrize("link", ["checkpoints", "run"])
def test_nothing_is_removed_through_a_link(tmp_path, link):
    (tmp_path / "real").mkdir()
    real = Checkpoints(tmp_path / "real" / "checkpoints", keep=3)
    for step in (1, 2, 3):
        real.save(step, tree(step))
    real.close()
    (tmp_path / "real" / "checkpoints" / f".jaxopt-bench-{'0' * 16}.tmp").mkdir()
    before = contents(tmp_path / "real")
    if link == "checkpoints":
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "checkpoints").symlink_to(tmp_path / "real" / "checkpoints")
    else:
        (tmp_path / "run").symlink_to(tmp_path / "real")
    remove_checkpoints(tmp_path / "run" / "checkpoints")
    warnings: list[str] = []
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", keep=1, after=3, warn=warnings.append)
    for step in (4, 5):
        checkpoints.save(step, tree(step))
    checkpoints.close()
    assert before.items() <= contents(tmp_path / "real").items()
    assert checkpoint_steps(tmp_path / "run" / "checkpoints") == [1, 2, 3, 5]  # step 4 was saved by this process
    assert len(warnings) == 1
    assert "symbolic link" in warnings[0]


@pytest.mark.parametrize("kind", ["file", "folder", "link", "copy"])
def test_a_path_that_blocks_a_checkpoint_is_named_before_training(folder, kind):
    if kind == "file":
        (folder / "4").write_text("mine")
    elif kind == "folder":
        (folder / "4").mkdir()
        (folder / "4" / "mine").write_text("mine")
    elif kind == "link":
        (folder / "4").symlink_to(folder / "3")
    else:
        shutil.copytree(folder / "3", folder / "4")
    before = contents(folder)
    with pytest.raises(UserError, match=rf"{folder}/4 has the name of a checkpoint.*Move it away"):
        Checkpoints(folder, after=3)
    assert contents(folder) == before


def test_a_copy_under_another_step_is_not_restored_as_that_step(folder):
    shutil.copytree(folder / "2", folder / "7")
    said: list[str] = []
    assert restore_latest(folder, tree(0), warn=said.append)[0] == 3
    assert "copy of that of step 2" in said[0]


@pytest.mark.parametrize("name", [".DS_Store", "._arrays", ".nfs000000000123abcd", "Thumbs.db", "desktop.ini"])
def test_files_of_operating_systems_do_not_damage_a_checkpoint(folder, name):
    checkpoints = Checkpoints(folder, keep=4, after=3)
    rename = pathlib.Path.rename

    def rename_among_system_files(path: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
        if path.parent == folder:
            (path / "arrays" / "late").write_text("")  # another program writes it at the end of the save
        return rename(path, target)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pathlib.Path, "rename", rename_among_system_files)
        checkpoints.save(4, tree(4))
        checkpoints.close()
    for place in (folder, folder / "4", folder / "4" / "arrays", folder / "4" / "arrays" / "d"):
        (place / name).write_bytes(b"\0\1")
    assert restore_latest(folder, tree(0), warn=pytest.fail)[0] == 4
    (folder / "4" / "arrays" / "late").unlink()
    assert restore_latest(folder, tree(0), warn=pytest.fail)[0] == 4


def test_system_files_that_exist_during_a_save_may_be_removed_later(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    save = checkpoints._checkpointer.save

    def save_beside_a_system_file(path: pathlib.Path, **options: object) -> None:
        save(path, **options)
        (path / ".DS_Store").write_bytes(b"\0\1")

    monkeypatch.setattr(checkpoints._checkpointer, "save", save_beside_a_system_file)
    checkpoints.save(1, tree(1))
    checkpoints.close()
    (tmp_path / "1" / "arrays" / ".DS_Store").unlink()
    assert restore_latest(tmp_path, tree(0), warn=pytest.fail)[0] == 1


def test_an_old_checkpoint_that_cannot_be_removed_causes_a_warning(folder, monkeypatch):
    unlink = pathlib.Path.unlink

    def busy(path: pathlib.Path, missing_ok: bool = False) -> None:
        if "1" in path.relative_to(folder).parts[:1]:
            raise OSError(errno.EBUSY, "Device or resource busy", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(pathlib.Path, "unlink", busy)
    warnings: list[str] = []
    checkpoints = Checkpoints(folder, keep=2, after=3, warn=warnings.append)
    for step in (4, 5, 6):
        checkpoints.save(step, tree(step))
    checkpoints.close()
    assert checkpoint_steps(folder) == [1, 5, 6]
    assert len(warnings) == 1
    assert "busy" in warnings[0]


def test_a_named_pipe_in_place_of_a_file_is_detected_as_damage(folder):
    for path in files(folder / "3"):
        content = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        assert restore_latest(folder, tree(0), warn=lambda _: None)[0] == 2
        path.unlink()
        path.write_bytes(content)


def test_files_that_orbax_writes_after_a_failed_save_are_recognised(tmp_path):
    """On a full disk, Orbax's threads may still write after the marker was removed."""
    folder = tmp_path / ".jaxopt-bench-0123456789abcdef.tmp"
    (folder / "arrays.orbax-checkpoint-tmp").mkdir(parents=True)
    assert is_ours(folder)
    (folder / "notes.txt").touch()
    assert not is_ours(folder)


@pytest.mark.parametrize("moment", ["before Orbax writes", "while Orbax writes", "before the manifest is written"])
def test_a_save_does_not_create_the_directory_of_a_removed_run(tmp_path, monkeypatch, moment):
    run = tmp_path / "run"
    run.mkdir()
    checkpoints = Checkpoints(run / "checkpoints")
    checkpointer = checkpoints._checkpointer
    owner, name = {
        "before Orbax writes": (checkpointer, "save"),
        "while Orbax writes": (checkpointer._handler, "save"),
        "before the manifest is written": (checkpointer, "restore"),
    }[moment]
    call = getattr(owner, name)

    def remove_the_run(*args: object, **options: object) -> object:
        found = call(*args, **options) if name == "restore" else None
        shutil.rmtree(run)
        return found if name == "restore" else call(*args, **options)

    monkeypatch.setattr(owner, name, remove_the_run)
    checkpoints.save(1, tree(1))
    with pytest.raises(UserError, match="could not be written"):
        checkpoints.close()
    assert not run.exists()
