"""Fuzz tests: damaged archives and caches are refused, rebuilt or read without harm, and never crash the reader."""

from __future__ import annotations

import gzip
import io
import random
import shutil
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest

from jaxopt_bench.data import DATASETS, load
from jaxopt_bench.data.archives import Contents, read_cifar
from jaxopt_bench.errors import UserError
from tests.mutations import damaged_json, scrambled

TIMES = [40, pytest.param(2500, marks=pytest.mark.slow)]
NAMES = ("../train.bin", "/etc/passwd", "cifar-100-binary/train.bin/..", "train.bin", "a" * 90, "\udcff", "")
TYPES = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE)


def same(one: Contents, other: Contents) -> bool:
    return one.label_names == other.label_names and all(
        np.array_equal(one.splits[split].images, other.splits[split].images)
        and all(np.array_equal(labels, other.splits[split].labels[n]) for n, labels in one.splits[split].labels.items())
        for split in one.splits
    )


@pytest.mark.parametrize("times", TIMES)
def test_a_scrambled_archive_is_refused_or_read_unchanged(times: int, small_cifar100: Path) -> None:
    spec, content = DATASETS["cifar100"], small_cifar100.read_bytes()
    whole = read_cifar(small_cifar100, spec)
    refused = 0
    for i in range(times):
        small_cifar100.write_bytes(scrambled(content, random.Random(i)))
        try:
            assert same(read_cifar(small_cifar100, spec), whole)
        except UserError:
            refused += 1
    assert refused > times / 2


@pytest.mark.parametrize("times", TIMES)
def test_scrambled_members_are_refused_or_read_and_no_file_is_written(
    times: int, small_cifar100: Path, tmp_path: Path
) -> None:
    spec, tar = DATASETS["cifar100"], gzip.decompress(small_cifar100.read_bytes())
    before = sorted(tmp_path.rglob("*"))
    refused = 0
    for i in range(times):
        dice = random.Random(i)
        made = _with_another_member(tar, dice) if dice.random() < 0.5 else scrambled(tar, dice)
        small_cifar100.write_bytes(gzip.compress(made, 1))
        try:
            found = read_cifar(small_cifar100, spec)
        except UserError:
            refused += 1
        else:
            assert {split: len(part.images) for split, part in found.splits.items()} == {"train": 20, "test": 10}
    assert 0 < refused < times
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("times", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_damaged_cached_arrays_are_rebuilt(times: int, digits_dir: Path, tmp_path: Path) -> None:
    known = load("digits", digits_dir)
    whole = {split: known.split(split) for split in ("train", "test")}  # type: ignore[arg-type]
    shutil.copytree(digits_dir / "digits", tmp_path / "digits")
    (folder,) = tmp_path.rglob("decoded")
    contents = {path: path.read_bytes() for path in sorted(folder.iterdir())}
    for i in range(times):
        dice = random.Random(i)
        path, content = dice.choice(list(contents.items()))
        path.write_bytes((damaged_json if path.suffix == ".json" else scrambled)(content, dice))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = load("digits", tmp_path)
            assert (dataset.mean, dataset.std, dataset.class_names) == (known.mean, known.std, known.class_names)
            for split, arrays in whole.items():
                found = dataset.split(split)  # type: ignore[arg-type]
                np.testing.assert_array_equal(found.inputs, arrays.inputs)
                np.testing.assert_array_equal(found.labels, arrays.labels)


@pytest.mark.parametrize("times", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_damaged_dataset_info_is_refused_or_gives_the_same_data(times: int, digits_dir: Path, tmp_path: Path) -> None:
    known = load("digits", digits_dir).split("test").inputs
    shutil.copytree(digits_dir / "digits", tmp_path / "digits")
    (path,) = tmp_path.rglob("dataset_info.json")
    content, refused = path.read_bytes(), 0
    for i in range(times):
        path.write_bytes(damaged_json(content, random.Random(i)))
        try:
            np.testing.assert_array_equal(load("digits", tmp_path).split("test").inputs, known)
        except UserError:
            refused += 1
    assert 0 < refused < times


def _with_another_member(tar: bytes, dice: random.Random) -> bytes:
    """Returns the tar with one more member, of a random name, type and size, at a random position."""
    made = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(tar)) as source, tarfile.open(fileobj=made, mode="w") as target:
        members = source.getmembers()
        at = dice.randrange(len(members) + 1)
        for i, member in enumerate([*members, None]):
            if i == at:
                extra = tarfile.TarInfo(dice.choice(NAMES))
                extra.type, extra.linkname = dice.choice(TYPES), dice.choice(NAMES)
                content = b"x" * dice.choice((0, 10, 100_000))
                extra.size = len(content) if extra.isreg() else 0
                target.addfile(extra, io.BytesIO(content))
            if member is not None:
                target.addfile(member, source.extractfile(member))
    return made.getvalue()
