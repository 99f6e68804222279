"""Data directories with unrelated files: these are never executed, waited for, removed or changed."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxopt_bench.data import DATASETS, load, prepare, records
from jaxopt_bench.errors import UserError
from tests.data.test_preparation import as_tfrecord

DIGITS = DATASETS["digits"]
NAMES = [
    "thesis [2026]", "a*b", "what?", "{x}", "back\\slash", "50%", "%s", "#1", "&", "k=v", "it's", '"q"', " spaces ",
    "line\nbreak", "ünï 数据", "~x", "[0:1]", "{DATASET}", "x" * 255, "/".join(["deep" * 40] * 18),
]  # fmt: skip


@pytest.fixture
def digits(digits_dir: Path, tmp_path: Path) -> Path:
    """The version folder of a copy of the digits that a test may change."""
    shutil.copytree(digits_dir, tmp_path / "tfds")
    return tmp_path / "tfds" / "digits" / "1.0.0"


@pytest.mark.parametrize("place", ["image", "another", "root", "nested", "old"])
def test_a_class_named_in_a_data_folder_is_not_imported(
    place: str, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"evilmod_{place}.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'w').close()\n")
    evil = f"evilmod_{place}.F"
    monkeypatch.syspath_prepend(str(tmp_path))
    shutil.rmtree(digits / "decoded")
    tree = json.loads((digits / "features.json").read_text())
    features = tree["featuresDict"]["features"]
    if place == "root":
        tree["pythonClassName"] = evil
    elif place == "nested":
        sequence = "tensorflow_datasets.core.features.sequence_feature.Sequence"
        features["x"] = {"pythonClassName": sequence, "sequence": {"feature": {"pythonClassName": evil}}}
    elif place == "old":
        tree = {"type": evil, "content": {}}
    else:
        features.setdefault(place, {})["pythonClassName"] = evil
    (digits / "features.json").write_text(json.dumps(tree))
    for attempt in (load, prepare):
        with pytest.raises(UserError, match=rf"features\.json names the class '{evil}'"):
            attempt("digits", data_dir=digits.parents[1])
    assert not (tmp_path / "RAN").exists()
    import tensorflow_datasets as tfds

    with pytest.raises(Exception, match="evilmod"):
        tfds.builder_from_directory(str(digits))
    assert (tmp_path / "RAN").exists(), "TFDS would have imported it"


def test_features_of_old_versions_of_tfds_are_read(digits: Path, digits_dir: Path) -> None:
    shutil.rmtree(digits / "decoded")
    core = "tensorflow_datasets.core.features."
    features = {
        "image": {"type": f"{core}image_feature.Image", "content": {"shape": [8, 8, 1]}},
        "label": {"type": f"{core}class_label_feature.ClassLabel", "content": {"num_classes": 10}},
    }
    tree = {"type": f"{core}features_dict.FeaturesDict", "content": features}
    (digits / "features.json").write_text(json.dumps(tree))
    images = load("digits", digits.parents[1]).split("test").inputs
    np.testing.assert_array_equal(images, load("digits", digits_dir).split("test").inputs)


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 100_000, '{"featuresDict": 3}', " " * (17 << 20)])
def test_the_error_for_a_damaged_features_file_names_it(digits: Path, content: str) -> None:
    shutil.rmtree(digits / "decoded")
    (digits / "features.json").write_text(content)
    with pytest.raises(UserError, match=r"digits: features\.json"):
        load("digits", digits.parents[1])


@pytest.mark.parametrize("format", ["EPS", "BMP", "TIFF", "GIF"])
def test_only_png_and_jpeg_images_are_read(format: str) -> None:
    import io

    from PIL import Image

    encoded = io.BytesIO()
    Image.new("L", (8, 8)).save(encoded, format)
    with pytest.raises(OSError, match="cannot identify"):
        records._decode_image(encoded.getvalue(), DIGITS)


@pytest.mark.parametrize(("mode", "size"), [("L", (8, 9)), ("RGB", (8, 8)), ("L", (5000, 5000))])
def test_images_of_another_shape_are_not_decoded(mode: str, size: tuple[int, int]) -> None:
    import io

    from PIL import Image

    encoded = io.BytesIO()
    Image.new(mode, size).save(encoded, "PNG")
    with pytest.raises(ValueError, match="an image is"):
        records._decode_image(encoded.getvalue(), DIGITS)


def snapshot(folder: Path) -> dict[str, Any]:
    """Returns everything below a folder: bytes of files, targets of links, and the types of all other entries."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        kind = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else stat.S_IFMT(mode)
        found[str(path.relative_to(folder))] = (mode, kind)
    return found


def plant(folder: Path, outside: Path) -> None:
    """Adds files, folders and links of a user to a folder, under names of all kinds."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("notes.txt", ".DS_Store", "._x", "Thumbs.db", ".nfs0001", ".digits-old", ".jaxopt-bench-notes.tmp"):
        (folder / name).write_text(f"the user's {name}")
    (folder / ".jaxopt-bench-0123456789abcdef.tmp.txt").write_text("the user's")
    for name in ("my-backup", ".cifar100-abcdef", "incomplete.ABC123_3.0.2", ".jaxopt-bench-0123456789abcdef.tmp"):
        (folder / name).mkdir()
        (folder / name / "precious").write_text("the user's")
    (folder / ".jaxopt-bench-0123456789abcde0.tmp").symlink_to(outside, target_is_directory=True)
    (folder / "link").symlink_to(outside, target_is_directory=True)
    (folder / "link-to-file").symlink_to(outside / "file")
    (folder / "dangling").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe")


@pytest.mark.parametrize("state", ["absent", "prepared", "damaged cache", "TFRecord", "cut off"])
def test_files_of_the_user_are_not_changed(state: str, small_cifar100: Path, tmp_path: Path) -> None:
    data_dir, outside = tmp_path / "tfds", tmp_path / "outside"
    outside.mkdir()
    for name in ("file", "in-use", "train_images.npy", "dataset_info.json"):
        (outside / name).write_text("the user's")
    folder = data_dir / "cifar100" / "3.0.2"
    if state != "absent":
        prepare("cifar100", small_cifar100, data_dir)
    if state == "damaged cache":
        (folder / "decoded" / "train_images.npy").write_bytes(b"damaged")
    if state in ("TFRecord", "cut off"):
        kept = (folder / "cifar100-train.array_record-00000-of-00001").read_bytes()
        as_tfrecord(folder)
        if state == "cut off":  # interrupted after the first file was added
            (folder / "cifar100-train.array_record-00000-of-00001").write_bytes(kept)
    mine = snapshot(tmp_path)
    for place in (data_dir, data_dir / "cifar100", folder, folder / "decoded"):
        plant(place, outside)
    planted = {name: value for name, value in snapshot(tmp_path).items() if name not in mine}
    assert len(planted) > 70
    prepare("cifar100", small_cifar100, data_dir)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        split = load("cifar100", data_dir).split("train")
    assert len(split) == 20
    after = snapshot(tmp_path)
    assert {name: after.get(name) for name in planted} == planted
    changed = {name.rpartition("/")[2] for name in mine if after.get(name) != mine[name]}
    expected = {"damaged cache": {"train_images.npy"}, "TFRecord": {"dataset_info.json"}}
    assert changed <= (expected.get(state, set()) | ({"dataset_info.json"} if state == "cut off" else set()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("cifar100", data_dir).split("train")


@pytest.mark.parametrize("kind", ["other file", "link", "folder", "pipe"])
def test_a_file_in_the_place_of_records_is_named_and_kept(kind: str, small_cifar100: Path, tmp_path: Path) -> None:
    folder = prepare("cifar100", small_cifar100, tmp_path / "tfds")
    as_tfrecord(folder)
    path = folder / "cifar100-test.array_record-00000-of-00001"
    put(path, kind, tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match=r"another file .* has this name.*cifar100-test\.array_record-00000-of-00001"):
        prepare("cifar100", small_cifar100, tmp_path / "tfds")
    after = snapshot(tmp_path)
    assert {name: after[name] for name in before} == before


def put(path: Path, kind: str, tmp_path: Path) -> None:
    if kind == "other file":
        path.write_text("the user's")
    elif kind == "link":
        (tmp_path / "target").write_text("the user's")
        path.symlink_to(tmp_path / "target")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)


def test_a_dataset_info_that_is_a_symbolic_link_is_not_overwritten(small_cifar100: Path, tmp_path: Path) -> None:
    folder = prepare("cifar100", small_cifar100, tmp_path / "tfds")
    as_tfrecord(folder)
    (folder / "dataset_info.json").rename(tmp_path / "another.json")
    (folder / "dataset_info.json").symlink_to(tmp_path / "another.json")
    before = (tmp_path / "another.json").read_bytes()
    with pytest.raises(UserError, match=r"dataset_info\.json is a symbolic link"):
        prepare("cifar100", small_cifar100, tmp_path / "tfds")
    assert (tmp_path / "another.json").read_bytes() == before
    assert (folder / "dataset_info.json").is_symlink()


@pytest.mark.parametrize("kind", ["other file", "link", "folder", "pipe"])
def test_a_file_in_the_place_of_the_cache_is_named_and_kept(
    kind: str, digits: Path, digits_dir: Path, tmp_path: Path
) -> None:
    shutil.rmtree(digits / "decoded")
    (digits / "decoded").mkdir()
    put(digits / "decoded" / "train_images.npy", kind, tmp_path)
    before = snapshot(tmp_path)
    with pytest.warns(UserWarning, match=r"cannot be kept.*another file .* has this name.*train_images\.npy"):
        images = load("digits", digits.parents[1]).split("train").inputs
    np.testing.assert_array_equal(images, load("digits", digits_dir).split("train").inputs)
    assert snapshot(tmp_path) == before


def test_a_cache_behind_a_link_is_filled_and_never_replaced(digits: Path, tmp_path: Path) -> None:
    shutil.rmtree(digits / "decoded")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (digits / "decoded").symlink_to(scratch, target_is_directory=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("digits", digits.parents[1]).split("train")
        load("digits", digits.parents[1]).split("train")
    (scratch / "decoded.json").write_text("{}")
    before = snapshot(scratch)
    with pytest.warns(UserWarning, match=r"another file that this program did not write has this name"):
        load("digits", digits.parents[1]).split("train")
    assert snapshot(scratch) == before


@pytest.mark.parametrize(
    "name", ["dataset_info.json", "features.json", "label.labels.txt", "digits-test.array_record-00000-of-00001"]
)
def test_a_pipe_in_the_place_of_a_file_is_refused_at_once(name: str, digits: Path) -> None:
    shutil.rmtree(digits / "decoded")
    (digits / name).unlink()
    os.mkfifo(digits / name)
    with pytest.raises(UserError, match=rf"{name} is (not a regular file|missing)"):
        load("digits", digits.parents[1])


@pytest.mark.parametrize("name", ["decoded.json", "train_images.npy", "CACHEDIR.TAG"])
def test_a_pipe_in_the_cache_is_not_waited_for(name: str, digits: Path, digits_dir: Path) -> None:
    (digits / "decoded" / name).unlink()
    os.mkfifo(digits / "decoded" / name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = load("digits", digits.parents[1]).split("train").inputs
    np.testing.assert_array_equal(images, load("digits", digits_dir).split("train").inputs)
    assert stat.S_ISFIFO((digits / "decoded" / name).lstat().st_mode)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_path_can_be_a_data_directory_and_a_source(
    name: str, cifar100_files: dict[str, bytes], tmp_path: Path
) -> None:
    source, data_dir = tmp_path / "from" / name, tmp_path / "to" / name
    source.mkdir(parents=True)
    for file, content in cifar100_files.items():
        (source / file).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folder = prepare("cifar100", source, data_dir)
        assert folder == data_dir / "cifar100" / "3.0.2"
        images = load("cifar100", data_dir).split("train").inputs.copy()
        shutil.rmtree(folder / "decoded")
        np.testing.assert_array_equal(load("cifar100", data_dir).split("train").inputs, images)
    assert images.shape == (20, 32, 32, 3)


def test_leftovers_of_killed_processes_are_removed_unless_they_are_in_use(small_cifar100: Path, tmp_path: Path) -> None:
    import fcntl

    parent = tmp_path / "tfds" / "cifar100"
    left, used = (parent / f".jaxopt-bench-{digit * 16}.tmp" for digit in "ab")
    for folder in (left, used):
        folder.mkdir(parents=True)
        (folder / "in-use").touch()
        (folder / "records").write_text("half of it")
    with open(used / "in-use") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        prepare("cifar100", small_cifar100, tmp_path / "tfds")
        assert sorted(path.name for path in parent.iterdir()) == [used.name, "3.0.2"]


RUN = """
import sys, warnings
from jaxopt_bench import data
from jaxopt_bench.errors import UserError
warnings.showwarning = lambda message, *_: print("warning:", message)
for _ in range(2):
    print(len(data.load("digits").split("train")))
try: data.load("cifar100")
except UserError as error: print(error)
"""


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HOME", "/proc/nothing"),
        ("TFDS_DATA_DIR", "/sys"),
        ("TFDS_DATA_DIR", "FILE"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (("HOME", "/sys"), ("HOME", "FILE"), ("TFDS_DATA_DIR", "/proc/nothing"))
        ),
    ],
)
def test_the_digits_can_be_loaded_without_a_writable_folder(variable: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "tmp").mkdir()
    kept = {name: text for name, text in os.environ.items() if name != "TFDS_DATA_DIR"}
    environment = {**kept, "TMPDIR": str(tmp_path / "tmp"), variable: value.replace("FILE", str(tmp_path / "file"))}
    done = subprocess.run(
        [sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    warning, first, second, cifar100 = done.stdout.strip().split("\n")
    assert warning.startswith("warning: cannot write digits to ")
    assert "--data-dir" in warning
    assert warning.count("TFDS_DATA_DIR") == 1
    assert warning.endswith(". Now digits is prepared in a temporary folder, which is removed when the program ends.")
    assert (first, second) == ("1437", "1437")
    assert "cifar100 is not in" in cifar100
    assert not list((tmp_path / "tmp").glob("jaxopt-bench-*")), "the temporary folder is gone"


def test_without_a_home_folder_the_message_names_the_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(UserError, match=r"no home folder.*--data-dir.*TFDS_DATA_DIR"):
        load("cifar100")
    with pytest.warns(UserWarning, match=r"no home folder.*temporary folder"):
        assert len(load("digits").split("test")) == 360


def test_a_data_directory_that_is_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"udcff.* is not UTF-8 text"):
        load("digits", tmp_path / os.fsdecode(b"\xff"))


def test_preparing_again_prints_that_the_data_set_is_already_prepared(
    small_cifar100: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from jaxopt_bench.cli.data import PrepareFlags
    from jaxopt_bench.cli.data import prepare as command

    flags = PrepareFlags("cifar100", small_cifar100, tmp_path / "tfds")
    folder = str(tmp_path / "tfds" / "cifar100" / "3.0.2")
    command(flags)
    first = capsys.readouterr()
    assert first.out == folder + "\n"
    assert "is already prepared" not in first.err
    command(flags)
    again = capsys.readouterr()
    assert again.out == folder + "\n"
    assert again.err == (
        f"cifar100 is already prepared; {small_cifar100} was not read. To prepare it again, remove this folder first:\n"
    )
    command(PrepareFlags("cifar100", None, tmp_path / "tfds"))
    assert capsys.readouterr().err.startswith("cifar100 is already prepared. To prepare")
    with pytest.raises(UserError, match=r"nowhere does not exist\. Expected cifar-100-binary"):
        command(PrepareFlags("cifar100", tmp_path / "nowhere", tmp_path / "tfds"))
