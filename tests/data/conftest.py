"""Fixtures: small archives in the official formats, and the full CIFAR-100, prepared once, if it is available."""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxopt_bench.data import DATASETS, prepare
from tests.data.pickled import python2_pickle

Files = dict[str, bytes]
TRAIN, TEST = 20, 10
KINDS = ("coarse", "fine")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduces CIFAR-10 and CIFAR-100 to 20 training examples and 10 test examples for the duration of a test."""
    for name in ("cifar10", "cifar100"):
        spec = dataclasses.replace(DATASETS[name], train_examples=TRAIN, test_examples=TEST)
        monkeypatch.setitem(DATASETS, name, spec)


@pytest.fixture
def cifar100_files(small: None) -> Files:
    """The files of a small CIFAR-100: random pixels and valid random labels."""
    rng = np.random.default_rng(0)

    def records(count: int) -> bytes:
        coarse, fine = rng.integers(0, 20, (count, 1)), rng.integers(0, 100, (count, 1))
        return np.hstack([coarse, fine, rng.integers(0, 256, (count, 3072))]).astype(np.uint8).tobytes()

    return {
        "train.bin": records(TRAIN),
        "test.bin": records(TEST),
        "coarse_label_names.txt": "".join(f"coarse_{i}\n" for i in range(20)).encode(),
        "fine_label_names.txt": "".join(f"fine_{i}\n" for i in range(100)).encode(),
    }


@pytest.fixture
def cifar10_files(small: None) -> Files:
    """The files of a small CIFAR-10: five training files and, as in the official list of names, an empty last line."""
    rng = np.random.default_rng(1)

    def records(count: int) -> bytes:
        return np.hstack([rng.integers(0, 10, (count, 1)), rng.integers(0, 256, (count, 3072))]).astype("u1").tobytes()

    return {
        **{f"data_batch_{i}.bin": records(TRAIN // 5) for i in range(1, 6)},
        "test_batch.bin": records(TEST),
        "batches.meta.txt": "".join(f"class_{i}\n" for i in range(10)).encode() + b"\n",
    }


@pytest.fixture
def python10_files(cifar10_files: Files) -> Files:
    """The same examples as `cifar10_files`, in the format of CIFAR's Python version."""
    batches = {name: cifar10_files[f"{name}.bin"] for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")}
    names = cifar10_files["batches.meta.txt"].split()
    meta = {b"num_cases_per_batch": TRAIN // 5, b"label_names": names, b"num_vis": 3072}
    return {
        **{name: pickled(content, [b"labels"]) for name, content in batches.items()},
        "batches.meta": python2_pickle(meta),
        "readme.html": b"<html>",
    }


@pytest.fixture
def python100_files(cifar100_files: Files) -> Files:
    """The same examples as `cifar100_files`, in the format of CIFAR's Python version."""
    names = {f"{kind}_label_names".encode(): cifar100_files[f"{kind}_label_names.txt"].split() for kind in KINDS}
    keys = [b"coarse_labels", b"fine_labels"]
    splits = {split: pickled(cifar100_files[f"{split}.bin"], keys) for split in ("train", "test")}
    return {**splits, "meta": python2_pickle(names), "file.txt~": b""}


def pickled(records: bytes, keys: list[bytes]) -> bytes:
    """Converts binary records to a pickle file of the Python version."""
    rows = np.frombuffer(records, np.uint8).reshape(-1, len(keys) + 3072)
    labels = {key: rows[:, i].tolist() for i, key in enumerate(keys)}
    names = [f"some_file_s_{i:06}.png".encode() for i in range(len(rows))]
    return python2_pickle(
        {b"filenames": names, b"batch_label": b"a batch", **labels, b"data": np.ascontiguousarray(rows[:, len(keys) :])}
    )


@pytest.fixture
def make_archive(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes files as members of a `.tar.gz` archive, under a prefix."""

    def make(files: Files, prefix: str = "cifar-100-binary/", name: str = "archive.tar.gz") -> Path:
        path = tmp_path / name
        with tarfile.open(path, "w:gz") as archive:
            for file, content in files.items():
                member = tarfile.TarInfo(prefix + file)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return path

    return make


@pytest.fixture
def small_cifar100(cifar100_files: Files, make_archive: Callable[..., Path]) -> Path:
    """The archive of a small CIFAR-100."""
    return make_archive(cifar100_files)


@pytest.fixture(scope="session")
def python() -> Callable[..., str]:
    """Returns a function that runs a program in its own process and returns its output."""

    def run(program: str, *arguments: object) -> str:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def official() -> Path:
    """The folder with the official archives and their unpacked folders."""
    folder = os.environ.get("JAXOPT_BENCH_CIFAR_DIR")
    if not folder:
        pytest.skip(
            "JAXOPT_BENCH_CIFAR_DIR is not set: it names a folder with cifar-10-binary.tar.gz, cifar-10-batches-bin/, "
            "cifar-100-binary.tar.gz and cifar-100-binary/"
        )
    return Path(folder)


@pytest.fixture(scope="session")
def full_cifar100(official: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the full CIFAR-100, prepared from the official archive."""
    data_dir = tmp_path_factory.mktemp("tfds")
    prepare("cifar100", official / "cifar-100-binary.tar.gz", data_dir)
    return data_dir
