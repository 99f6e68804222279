"""The cache of decoded arrays on disk: reading it back, detecting damage, and writing it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxopt_bench.data import Split, cache
from jaxopt_bench.data.specs import DatasetSpec, SplitName

SPEC = DatasetSpec("toy", (4, 6, 2), 3, 30, 11, "random bytes", "1.0.0")
RECORDS = {"toy-train": 7, "toy-test": 5}
NAMES = ("a", "b", "c")


def decode(split: SplitName) -> Split:
    rng = np.random.default_rng(SPEC.examples(split))
    images = rng.integers(0, 256, (SPEC.examples(split), *SPEC.shape), np.uint8)
    return Split(images, rng.integers(0, 3, SPEC.examples(split), np.int32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cache.write(tmp_path / "decoded", NAMES, RECORDS, decode)
    return tmp_path / "decoded"


def manifest_in(folder: Path) -> cache.Manifest:
    manifest = cache.read(folder, SPEC, RECORDS)
    assert manifest is not None
    return manifest


@pytest.mark.parametrize("split", ["train", "test"])
def test_written_arrays_are_read_back_as_memory_maps(folder: Path, split: SplitName) -> None:
    read, expected = cache.open_split(folder, manifest_in(folder), SPEC, split), decode(split)
    np.testing.assert_array_equal(read.inputs, expected.inputs)
    np.testing.assert_array_equal(read.labels, expected.labels)
    assert (read.inputs.dtype, read.labels.dtype) == (np.uint8, np.int32)
    assert isinstance(read.inputs, np.memmap)
    assert not read.inputs.flags.writeable


def test_the_statistics_are_those_of_the_training_split(folder: Path) -> None:
    manifest, images = manifest_in(folder), decode("train").inputs.astype(np.float64) / 255
    np.testing.assert_allclose(manifest.mean, images.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(manifest.std, images.std((0, 1, 2)), rtol=1e-12)
    assert manifest.class_names == NAMES


def test_the_cache_contains_only_the_expected_files(folder: Path) -> None:
    arrays = {f"{split}_{kind}.npy" for split in ("train", "test") for kind in ("images", "labels")}
    assert {path.name for path in folder.iterdir()} == arrays | {"decoded.json", "CACHEDIR.TAG"}


def test_reading_an_absent_cache_returns_none(tmp_path: Path) -> None:
    assert cache.read(tmp_path / "decoded", SPEC, RECORDS) is None


@pytest.mark.parametrize("records", [{}, {"toy-train": 8, "toy-test": 5}, {"toy-train": 7}])
def test_a_cache_made_from_other_record_files_is_refused(folder: Path, records: dict[str, int]) -> None:
    with pytest.raises(cache.UnsoundCacheError, match="made from other record files"):
        cache.read(folder, SPEC, records)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"class_names": 3}', '{"mean": '])
def test_a_damaged_manifest_is_detected(folder: Path, content: str) -> None:
    (folder / "decoded.json").write_text(content)
    with pytest.raises(cache.UnsoundCacheError, match=r"decoded\.json is damaged"):
        cache.read(folder, SPEC, RECORDS)


def test_another_format_version_is_detected(folder: Path) -> None:
    values = json.loads((folder / "decoded.json").read_text())
    (folder / "decoded.json").write_text(json.dumps({**values, "format": 99}))
    with pytest.raises(cache.UnsoundCacheError, match="of format 99, not 2"):
        cache.read(folder, SPEC, RECORDS)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
@pytest.mark.parametrize("file", ["train_images.npy", "train_labels.npy"])
def test_a_damaged_file_is_detected_when_it_is_opened(folder: Path, file: str, damage: Callable[[Path], None]) -> None:
    damage(folder / file)
    manifest = manifest_in(folder)
    with pytest.raises(cache.UnsoundCacheError, match=file):
        cache.open_split(folder, manifest, SPEC, "train")
    assert len(cache.open_split(folder, manifest, SPEC, "test")) == 11, "the other split's files are not opened"


def test_an_interrupted_write_leaves_the_existing_cache_unchanged(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def interrupted(split: SplitName) -> Split:
        if split == "test":
            raise KeyboardInterrupt
        return decode(split)

    with pytest.raises(KeyboardInterrupt):
        cache.write(folder, NAMES, RECORDS, interrupted)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_writing_again_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    cache.write(tmp_path / "again" / "decoded", NAMES, RECORDS, decode)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / "decoded" / path.name).read_bytes()


def test_an_unwritable_folder_raises_os_error_before_anything_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "decoded").write_text("a file is in the way")

    def never(split: SplitName) -> Split:
        raise AssertionError("decoded in vain")

    with pytest.raises(OSError, match="decoded"):
        cache.write(tmp_path / "decoded", NAMES, RECORDS, never)
