"""Preparing data sets: the records equal TFDS's own, failures leave no partial data, and the user's files are kept."""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from jaxopt_bench.data import DATASETS, Dataset, load, prepare
from jaxopt_bench.data.archives import read_cifar
from jaxopt_bench.errors import UserError

Files = dict[str, bytes]


def records_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.array_record-*"))


def as_tfrecord(folder: Path) -> dict[str, bytes]:
    """Changes a prepared folder into one that TFDS wrote in its default format, and returns its files."""
    (folder / "decoded" / "decoded.json").unlink()
    for path in (folder / "decoded").iterdir():
        path.unlink()
    (folder / "decoded").rmdir()
    for path in records_of(folder):
        path.rename(folder / path.name.replace("array_record", "tfrecord"))
    info = json.loads((folder / "dataset_info.json").read_text())
    del info["fileFormat"]  # as TFDS wrote it before it supported other formats
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("name", "prefix"), [("cifar10", "cifar-10-batches-bin"), ("cifar100", "cifar-100-binary")])
def test_the_examples_are_those_tfds_generates(
    name: str, prefix: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle is TFDS's own generator. `open` replaces the only TensorFlow function that it calls."""
    from PIL import Image
    from tensorflow_datasets.image_classification import cifar

    from jaxopt_bench.data import builders

    for file, content in request.getfixturevalue(f"{name}_files").items():
        (tmp_path / file).write_bytes(content)
    opens = types.SimpleNamespace(gfile=types.SimpleNamespace(GFile=open))
    monkeypatch.setattr(cifar, "tf", types.SimpleNamespace(io=opens))
    theirs = {"cifar10": cifar.Cifar10, "cifar100": cifar.Cifar100}[name](data_dir=str(tmp_path / "theirs"))
    ours: Any = {"cifar10": builders.Cifar10, "cifar100": builders.Cifar100}[name](data_dir=str(tmp_path / "ours"))
    ours.contents = read_cifar(tmp_path, DATASETS[name])
    assert (ours.name, ours.version, ours.info.features.get_tensor_info()) == (
        theirs.name,
        theirs.version,
        theirs.info.features.get_tensor_info(),
    )
    for split, generated in ours._split_generators(None).items():
        files = getattr(theirs._cifar_info, f"{split}_files")
        expected = list(theirs._generate_examples(f"{split}_", [str(tmp_path / file) for file in files]))
        produced = list(generated)
        assert [key for key, _ in produced] == [key for key, _ in expected]
        for (_, mine), (_, other) in zip(produced, expected, strict=True):
            np.testing.assert_array_equal(np.asarray(Image.open(mine.pop("image"))), other.pop("image"))
            assert mine == other


@pytest.mark.parametrize("shape", [(32, 32, 3), (8, 8, 1), (5, 7, 3)])
def test_images_are_stored_without_loss(shape: tuple[int, int, int]) -> None:
    from PIL import Image

    from jaxopt_bench.data import builders

    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with Image.open(builders._png(image)) as png:
        assert png.format == "PNG"
        np.testing.assert_array_equal(np.asarray(png).reshape(shape), image)


def test_tfds_reads_the_prepared_records(small_cifar100: Path, cifar100_files: Files, tmp_path: Path) -> None:
    folder = prepare("cifar100", small_cifar100, tmp_path / "tfds")
    assert folder == tmp_path / "tfds" / "cifar100" / "3.0.2"
    contents = read_cifar(small_cifar100, DATASETS["cifar100"])
    by_name: Any = tfds.data_source("cifar100", data_dir=tmp_path / "tfds")
    by_folder: Any = tfds.builder_from_directory(str(folder)).as_data_source()
    ours = load("cifar100", tmp_path / "tfds")
    for split in ("train", "test"):
        assert len(by_name[split]) == len(by_folder[split]) == DATASETS["cifar100"].examples(split)
        for i, example in enumerate(by_name[split]):
            prefix, _, index = example["id"].decode().partition("_")
            original = contents.splits[split]
            assert prefix == split
            np.testing.assert_array_equal(example["image"], original.images[int(index)])
            assert example["coarse_label"] == original.labels["coarse_label"][int(index)]
            assert example["label"] == original.labels["label"][int(index)]
            np.testing.assert_array_equal(ours.split(split).inputs[i], example["image"])
            assert ours.split(split).labels[i] == example["label"]


def test_tfds_recognises_the_prepared_data_set(small_cifar100: Path, tmp_path: Path) -> None:
    folder = prepare("cifar100", small_cifar100, tmp_path / "tfds")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    builder = tfds.builder("cifar100", data_dir=tmp_path / "tfds")
    builder.download_and_prepare(file_format="array_record")
    assert builder.info.features["label"].names == [f"fine_{i}" for i in range(100)]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_preparing_again_changes_nothing(small_cifar100: Path, tmp_path: Path) -> None:
    folder = prepare("cifar100", small_cifar100, tmp_path / "tfds")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert prepare("cifar100", small_cifar100, tmp_path / "tfds") == folder
    assert prepare("cifar100", None, tmp_path / "tfds") == folder, "and does not ask for a download"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_nothing_is_written_if_the_source_is_incomplete(
    cifar100_files: Files, make_archive: Callable[..., Path], tmp_path: Path
) -> None:
    cifar100_files["test.bin"] = cifar100_files["test.bin"][:-1]
    with pytest.raises(UserError, match=r"test\.bin has"):
        prepare("cifar100", make_archive(cifar100_files), tmp_path / "tfds")
    assert not (tmp_path / "tfds").exists()


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError])
def test_a_failure_while_writing_leaves_no_data_set(
    failure: type[BaseException], small_cifar100: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jaxopt_bench.data import builders

    encode, calls = builders._png, []

    def failing(image: np.ndarray) -> Any:
        calls.append(1)
        if len(calls) == 25:  # in the test split, after the train split was written
            raise failure("No space left on device")
        return encode(image)

    monkeypatch.setattr(builders, "_png", failing)
    with pytest.raises(KeyboardInterrupt if failure is KeyboardInterrupt else UserError, match="No space left"):
        prepare("cifar100", small_cifar100, tmp_path / "tfds")
    assert not list((tmp_path / "tfds" / "cifar100").iterdir())
    monkeypatch.setattr(builders, "_png", encode)
    with pytest.raises(UserError, match="is not in"):
        load("cifar100", tmp_path / "tfds")
    assert len(records_of(prepare("cifar100", small_cifar100, tmp_path / "tfds"))) == 2


def test_leftovers_of_a_killed_process_are_not_used_as_a_data_set(small_cifar100: Path, tmp_path: Path) -> None:
    folder = prepare("cifar100", small_cifar100, tmp_path / "tfds")
    folder.rename(folder.with_name("incomplete.X1Y2Z3_3.0.2"))
    with pytest.raises(UserError, match="is not in"):
        load("cifar100", tmp_path / "tfds")


def test_an_empty_version_folder_is_filled(small_cifar100: Path, tmp_path: Path) -> None:
    (tmp_path / "tfds" / "cifar100" / "3.0.2").mkdir(parents=True)
    assert len(records_of(prepare("cifar100", small_cifar100, tmp_path / "tfds"))) == 2


@pytest.mark.parametrize("lost", ["dataset_info.json", "cifar100-test.array_record-00000-of-00001"])
def test_an_incomplete_version_folder_is_named_and_kept(lost: str, small_cifar100: Path, tmp_path: Path) -> None:
    folder = prepare("cifar100", small_cifar100, tmp_path / "tfds")
    (folder / lost).unlink()
    left = sorted(folder.rglob("*"))
    with pytest.raises(
        UserError,
        match=rf"{folder} does not contain a complete cifar100: .*{lost}.*Remove this folder.*cifar100` again",
    ):
        load("cifar100", tmp_path / "tfds")
    with pytest.raises(UserError, match=rf"{lost}.*Remove this folder"):
        prepare("cifar100", small_cifar100, tmp_path / "tfds")
    assert sorted(folder.rglob("*")) == left


def test_the_error_for_tfrecords_names_both_solutions(small_cifar100: Path, tmp_path: Path) -> None:
    as_tfrecord(prepare("cifar100", small_cifar100, tmp_path / "tfds"))
    with pytest.raises(UserError, match=r"prepare cifar100`.* --from PATH.*convert_format --dataset_version_dir=/"):
        load("cifar100", tmp_path / "tfds")


def test_the_converter_of_tfds_has_the_flags_that_the_message_names() -> None:
    from importlib import util

    spec = util.find_spec("tensorflow_datasets.scripts.convert_format")
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).read_text()
    for flag in ("'dataset_version_dir'", "'out_file_format'"):
        assert flag in text


def test_array_records_are_added_beside_tfrecords(small_cifar100: Path, tmp_path: Path) -> None:
    folder = prepare("cifar100", small_cifar100, tmp_path / "tfds")
    expected = load("cifar100", tmp_path / "tfds").split("train").inputs.copy()
    before = as_tfrecord(folder)
    assert prepare("cifar100", small_cifar100, tmp_path / "tfds") == folder
    for name, content in before.items():
        if name != "dataset_info.json":
            assert (folder / name).read_bytes() == content
    assert sorted(path.name for path in (tmp_path / "tfds").iterdir() if path.name.startswith(".")) == []
    data: Dataset = load("cifar100", tmp_path / "tfds")
    np.testing.assert_array_equal(data.split("train").inputs, expected)
    assert data.class_names[:2] == ("fine_0", "fine_1")
    builder = tfds.builder_from_directory(str(folder))
    assert {f.value for f in builder.info.available_file_formats()} == {"tfrecord", "array_record"}
    np.testing.assert_array_equal(builder.as_data_source("train")[0]["image"], expected[0])
    # TFDS's own class of the data set ignores alternative formats when it reads the folder, so the format is given.
    source = tfds.data_source(
        "cifar100", data_dir=tmp_path / "tfds", split="train", builder_kwargs={"file_format": "array_record"}
    )
    np.testing.assert_array_equal(source[0]["image"], expected[0])
    assert tfds.builder("cifar100", data_dir=tmp_path / "tfds").info.file_format.value == "tfrecord"


def test_tfrecords_with_other_shards_are_refused_and_kept(small_cifar100: Path, tmp_path: Path) -> None:
    folder = prepare("cifar100", small_cifar100, tmp_path / "tfds")
    as_tfrecord(folder)
    info = json.loads((folder / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = ["12", "8"]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    left = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match=r"train split has the shards \[12, 8\], not \[20\]"):
        prepare("cifar100", small_cifar100, tmp_path / "tfds")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == left


def test_preparing_the_digits_from_a_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--from .*comes with this package"):
        prepare("digits", tmp_path, tmp_path)


def test_a_data_directory_that_cannot_be_created_is_named(small_cifar100: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write cifar100 to .*file/tfds/cifar100/3\.0\.2"):
        prepare("cifar100", small_cifar100, tmp_path / "file" / "tfds")
