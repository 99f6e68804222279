"""Checkpoints: what is damaged or half-written is never taken for good."""

from __future__ import annotations

import pathlib
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.runs.checkpoints import MANIFEST, Checkpoints, _sums, checkpoint_steps, restore, restore_latest
from jaxopt_bench.runs.directory import write_json


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
    return sorted(path for path in checkpoint.rglob("*") if path.is_file())


def test_what_was_saved_is_restored(folder):
    step, restored = restore_latest(folder, jax.eval_shape(lambda: tree(0)))
    assert step == 3
    jax.tree.map(np.testing.assert_array_equal, restored, tree(3))
    jax.tree.map(np.testing.assert_array_equal, restore(folder, 1, tree(0)), tree(1))


def test_no_save_is_skipped_however_fast_they_come(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=100)
    for step in range(12):
        checkpoints.save(step, tree(step))
    checkpoints.close()
    assert checkpoint_steps(tmp_path) == list(range(12))


def test_the_saved_arrays_are_those_of_the_call_though_their_buffers_are_reused(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    value = {"x": np.ones(1000)}
    checkpoints.save(1, value)
    value["x"] *= 2
    checkpoints.close()
    np.testing.assert_array_equal(restore(tmp_path, 1, value)["x"], 1)


def test_the_last_and_the_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in range(1, 7):
        checkpoints.save(step, tree(step), best={2})
    checkpoints.close()
    assert checkpoint_steps(tmp_path) == [2, 5, 6]


def test_every_flipped_byte_is_noticed_and_the_checkpoint_before_is_used(folder):
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


def test_missing_truncated_and_extra_files_are_noticed(folder):
    for path in files(folder / "3"):
        content = path.read_bytes()
        path.unlink()
        assert restore_latest(folder, tree(0), warn=lambda _: None)[0] == 2
        if content:
            path.write_bytes(content[: len(content) // 2])
            assert restore_latest(folder, tree(0), warn=lambda _: None)[0] == 2
        path.write_bytes(content)
    (folder / "3" / "stray").write_text("x")
    assert restore_latest(folder, tree(0), warn=lambda _: None)[0] == 2


def test_where_all_are_damaged_nothing_is_started_from_zero(folder):
    for step in (1, 2, 3):
        (folder / str(step) / MANIFEST).write_text("{")
    with pytest.raises(UserError, match="every checkpoint is damaged") as error:
        restore_latest(folder, tree(0), warn=lambda _: None)
    assert all(str(folder / str(step)) in str(error.value) for step in (1, 2, 3))


def test_a_folder_without_a_manifest_does_not_count_and_is_removed(folder):
    (folder / "3" / MANIFEST).unlink()
    (folder / "4.orbax-checkpoint-tmp").mkdir()
    assert restore_latest(folder, tree(0))[0] == 2
    Checkpoints(folder).close()
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]


def test_checkpoints_after_the_one_gone_on_from_are_removed(folder):
    Checkpoints(folder, after=2).close()
    assert checkpoint_steps(folder) == [1, 2]


def test_none_saved_is_none(tmp_path):
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


def test_what_is_no_checkpoint_of_orbax_is_refused_though_its_sums_are_right(folder):
    refused = 0
    for path in files(folder / "3" / "arrays"):
        before = path.read_bytes()
        for content in (b"{", b"[]", b"\0" * 100):
            path.write_bytes(content)
            write_json(folder / "3" / MANIFEST, {"sha256": _sums(folder / "3")})
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


def test_a_failed_save_is_reported_by_the_next(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    (tmp_path / "checkpoints").rmdir()
    (tmp_path / "checkpoints").write_text("a file where the folder was")
    checkpoints.save(1, tree(1))
    with pytest.raises(
        UserError, match=r"checkpoints/1 could not be written \(.*the same command goes on from the begin"
    ):
        checkpoints.wait()
