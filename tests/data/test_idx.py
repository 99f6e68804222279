"""The official idx files of MNIST and Fashion-MNIST: reading, checking, and preparing the same examples as TFDS."""

from __future__ import annotations

import dataclasses
import gzip
import os
import struct
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxopt_bench.data import DATASETS, load, prepare
from jaxopt_bench.data.idx import read_idx
from jaxopt_bench.errors import UserError

TRAIN, TEST = 20, 10
NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def idx(array: np.ndarray) -> bytes:
    """Returns an array of bytes as an idx file: two zeros, 8 for bytes, the number of axes, their lengths."""
    return struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte": rng.integers(0, 256, (TRAIN, 28, 28), np.uint8),
        "train-labels-idx1-ubyte": rng.integers(0, 10, TRAIN, np.uint8),
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (TEST, 28, 28), np.uint8),
        "t10k-labels-idx1-ubyte": rng.integers(0, 10, TEST, np.uint8),
    }


@pytest.fixture
def folder(arrays: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a folder with small files, two of them compressed."""
    for name in ("mnist", "fashion_mnist"):
        monkeypatch.setitem(
            DATASETS, name, dataclasses.replace(DATASETS[name], train_examples=TRAIN, test_examples=TEST)
        )
    place = tmp_path / "official"
    place.mkdir()
    for name, array in arrays.items():
        compressed = name.startswith("train")
        content = gzip.compress(idx(array)) if compressed else idx(array)
        (place / (name + ".gz" * compressed)).write_bytes(content)
    return place


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_examples_are_those_tfds_generates(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle is TFDS's own generator. `open` replaces the only TensorFlow function that it calls."""
    from PIL import Image
    from tensorflow_datasets.image_classification import mnist

    from jaxopt_bench.data import builders

    opens = types.SimpleNamespace(gfile=types.SimpleNamespace(GFile=open))
    monkeypatch.setattr(mnist, "tf", types.SimpleNamespace(io=opens))
    kinds: dict[str, Any] = {
        "mnist": (mnist.MNIST, builders.MNIST),
        "fashion_mnist": (mnist.FashionMNIST, builders.FashionMNIST),
    }
    theirs, ours = (cls(data_dir=str(tmp_path / str(i))) for i, cls in enumerate(kinds[name]))
    ours.contents = read_idx(folder, DATASETS[name])
    assert (ours.name, ours.version, ours.info.features.get_tensor_info()) == (
        theirs.name,
        theirs.version,
        theirs.info.features.get_tensor_info(),
    )
    for split, generated in ours._split_generators(None).items():
        stem, count = {"train": ("train", TRAIN), "test": ("t10k", TEST)}[split]
        paths = []
        for kind in ("images-idx3", "labels-idx1"):  # TFDS decompresses these files after the download
            content = next(folder.glob(f"{stem}-{kind}-ubyte*")).read_bytes()
            paths.append(tmp_path / f"{stem}-{kind}")
            paths[-1].write_bytes(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
        expected = list(theirs._generate_examples(count, *map(str, paths)))
        produced = list(generated)
        assert [key for key, _ in produced] == [key for key, _ in expected]
        for (_, mine), (_, other) in zip(produced, expected, strict=True):
            np.testing.assert_array_equal(np.asarray(Image.open(mine.pop("image")))[..., None], other.pop("image"))
            assert mine == other


@pytest.mark.parametrize(("name", "classes"), [("mnist", tuple("0123456789")), ("fashion_mnist", NAMES)])
def test_prepared_data_are_read_back(
    name: str, classes: tuple[str, ...], folder: Path, arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    assert prepare(name, folder, tmp_path / "tfds") == tmp_path / "tfds" / name / "3.0.1"
    dataset = load(name, tmp_path / "tfds")
    assert dataset.class_names == classes
    for split, stem in (("train", "train"), ("test", "t10k")):
        found = dataset.split(split)
        images, labels = arrays[f"{stem}-images-idx3-ubyte"], arrays[f"{stem}-labels-idx1-ubyte"]
        pairs = {(image.tobytes(), label) for image, label in zip(found.inputs, found.labels, strict=True)}
        assert pairs == {(image.tobytes(), label) for image, label in zip(images, labels, strict=True)}
    assert prepare(name, None, tmp_path / "tfds").is_dir()  # already prepared, so it needs no source


def damage(folder: Path, name: str, change: Any) -> None:
    path = next(folder.glob(f"{name}*"))
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("t10k-labels", lambda content: content[:-1] + b"\x0a", r"the label of example 9 is 10\. Expected 0 to 9"),
        ("t10k-labels", lambda content: content[:-1], r"contains 17 bytes\. Expected 18 bytes"),
        ("t10k-images", lambda content: content + b"\x00", r"has 7857 bytes\. Expected 7856"),
        ("train-images", lambda content: content[:-4], r"train-images-idx3-ubyte.gz is truncated or damaged"),
        ("train-labels", lambda content: content[:20] + b"\xff" + content[21:], r"train-labels-idx1-ubyte.gz"),
        ("train-labels", lambda content: gzip.compress(bytes(10**6)), r"contains 29 bytes or more\. Expected 28"),
        ("t10k-images", lambda content: b"\x00\x00\x0b" + content[3:], r"says 0xb03 .* Expected 0x803"),
        (
            "t10k-images",
            lambda content: content[:7] + b"\x09" + content[8:],
            r"shape \[9, 28, 28\]\. Expected 0x803 and \[10",
        ),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(
    name: str, change: Any, message: str, folder: Path, tmp_path: Path
) -> None:
    damage(folder, name, change)
    with pytest.raises(UserError, match=message):
        prepare("mnist", folder, tmp_path / "tfds")
    assert not (tmp_path / "tfds").exists()


def test_the_error_for_a_missing_file_or_folder_names_the_expected_files(folder: Path, tmp_path: Path) -> None:
    next(folder.glob("t10k-images*")).unlink()
    with pytest.raises(
        UserError, match=r"does not contain t10k-images-idx3-ubyte \(it contains .*Expected a folder with train-images"
    ):
        prepare("fashion_mnist", folder, tmp_path / "tfds")
    with pytest.raises(UserError, match=r"is not a folder\. Expected a folder with train-images"):
        prepare("mnist", folder / "train-images-idx3-ubyte.gz", tmp_path / "tfds")
    for call in (lambda: prepare("mnist", None, tmp_path / "tfds"), lambda: load("mnist", tmp_path / "tfds")):
        with pytest.raises(UserError, match=r"`jaxopt-bench data prepare mnist --from FOLDER` reads a folder with"):
            call()


def test_the_error_for_an_incomplete_folder_names_the_command_with_a_source(tmp_path: Path) -> None:
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    (tmp_path / "mnist" / "3.0.1" / "features.json").touch()
    with pytest.raises(UserError, match=r"complete mnist: .*run `jaxopt-bench data prepare mnist --from FOLDER` again"):
        load("mnist", tmp_path)


@pytest.mark.slow
def test_the_official_files_are_prepared(tmp_path: Path) -> None:
    """The class counts, the mean and the deviation are those that the authors and torchvision's users publish."""
    place = os.environ.get("JAXOPT_BENCH_FASHION_MNIST_DIR")
    if not place:
        pytest.skip("JAXOPT_BENCH_FASHION_MNIST_DIR is not set: it names a folder with the official files")
    prepare("fashion_mnist", Path(place), tmp_path)
    dataset = load("fashion_mnist", tmp_path)
    train = dataset.split("train")
    assert np.bincount(train.labels).tolist() == [6000] * 10
    assert np.bincount(dataset.split("test").labels).tolist() == [1000] * 10
    np.testing.assert_allclose((dataset.mean[0], dataset.std[0]), (0.2860, 0.3530), atol=5e-5)
