"""Loading data sets by name: the digits without preparation, the use of the cache, and the imported modules."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from jaxopt_bench.data import DATASETS, DatasetSpec, load, prepare, records
from jaxopt_bench.data.archives import read_cifar
from jaxopt_bench.errors import UserError

LOADED = """
import json, sys
from pathlib import Path
from jaxopt_bench.data import load
data = load("digits", Path(sys.argv[1]))
data.split("train").inputs.sum()
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.fixture(scope="module")
def digits_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("tfds")
    load("digits", data_dir)
    return data_dir


@pytest.fixture
def digits(digits_dir: Path, tmp_path: Path) -> Path:
    """A copy of the digits that a test may damage."""
    shutil.copytree(digits_dir, tmp_path / "tfds")
    return tmp_path / "tfds"


def decoded(data_dir: Path) -> Path:
    return data_dir / "digits" / "1.0.0" / "decoded"


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_digits_are_those_of_the_packaged_file(digits_dir: Path, split: str) -> None:
    data = load("digits", digits_dir)
    with np.load(Path(records.__file__).parent / "digits" / "digits.npz") as arrays:
        chosen = arrays["is_test"] == (split == "test")
        original = sorted(
            (x.tobytes(), y) for x, y in zip(arrays["images"][chosen], arrays["labels"][chosen], strict=True)
        )
    read = data.split(split)  # type: ignore[arg-type]
    assert read.inputs.max() == 240
    assert sorted(((x // 15).tobytes(), y) for x, y in zip(read.inputs, read.labels, strict=True)) == original
    assert len(read) == data.spec.examples(split)  # type: ignore[arg-type]
    assert data.class_names == tuple("0123456789")


def test_the_digits_file_is_the_result_of_the_code_in_its_readme() -> None:
    from sklearn import datasets
    from sklearn import model_selection as selection

    source = datasets.load_digits()
    _, test = selection.train_test_split(np.arange(1797), test_size=360, stratify=source.target, random_state=0)
    with np.load(Path(records.__file__).parent / "digits" / "digits.npz") as arrays:
        np.testing.assert_array_equal(arrays["images"], source.images)
        np.testing.assert_array_equal(arrays["labels"], source.target)
        np.testing.assert_array_equal(np.flatnonzero(arrays["is_test"]), np.sort(test))


def test_both_splits_of_digits_have_the_same_class_proportions(digits_dir: Path) -> None:
    data = load("digits", digits_dir)
    train, test = (np.bincount(data.split(name).labels) for name in ("train", "test"))
    np.testing.assert_allclose(test / (train + test), 360 / 1797, atol=0.01)


def test_the_error_for_an_absent_cifar_names_the_folder_and_how_to_prepare_it(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load("cifar100", tmp_path)
    for part in (
        str(tmp_path / "cifar100" / "3.0.2"),
        "jaxopt-bench data prepare cifar100`",
        "--from PATH",
        "cifar-100-binary.tar.gz",
        "--data-dir",
        "TFDS_DATA_DIR",
    ):
        assert part in str(caught.value)


def test_unknown_names_are_refused(digits_dir: Path) -> None:
    with pytest.raises(UserError, match="did you mean digits"):
        load("digit")
    with pytest.raises(UserError, match="unknown dataset"):
        prepare("imagenet")
    with pytest.raises(UserError, match="unknown split 'valid'"):
        load("digits", digits_dir).split("valid")  # type: ignore[arg-type]


def test_loading_from_the_cache_does_not_import_tfds(digits_dir: Path, python: Callable[..., str]) -> None:
    modules = set(json.loads(python(LOADED, digits_dir)))
    assert modules.isdisjoint({"tensorflow", "tensorflow_datasets", "array_record", "PIL", "sklearn"})


def test_preparing_and_decoding_import_no_tensorflow(tmp_path: Path, python: Callable[..., str]) -> None:
    modules = set(json.loads(python(LOADED, tmp_path)))
    assert "tensorflow_datasets" in modules, "the program did prepare"
    assert modules.isdisjoint({"tensorflow", "sklearn", "scipy"})


def test_without_tfds_the_error_names_the_packages_to_install(digits: Path, python: Callable[..., str]) -> None:
    shutil.rmtree(decoded(digits))
    hidden = "import sys; sys.modules['tensorflow_datasets'] = None\n" + LOADED.replace(
        'data = load("digits", Path(sys.argv[1]))',
        "from jaxopt_bench.errors import UserError\n"
        "try: load('digits', Path(sys.argv[1]))\n"
        "except UserError as error: sys.exit(print(error))",
    )
    assert "Install tensorflow-datasets, array-record and pillow" in python(hidden, digits)


def test_the_test_split_is_not_opened_until_it_is_requested(digits: Path) -> None:
    (decoded(digits) / "test_images.npy").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load("digits", digits)
        assert len(data.split("train")) == 1437
    with pytest.warns(UserWarning, match=r"test_images\.npy cannot be read.*decoded again"):
        assert len(data.split("test")) == 360


@pytest.mark.parametrize("file", ["train_images.npy", "train_labels.npy", "decoded.json"])
def test_a_damaged_cache_is_rebuilt(digits: Path, digits_dir: Path, file: str) -> None:
    path = decoded(digits) / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2] = b"\x00\x00"
    content[-3] ^= 0xFF
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="decoded again from the record files"):
        split = load("digits", digits).split("train")
    np.testing.assert_array_equal(split.inputs, load("digits", digits_dir).split("train").inputs)
    for sound in decoded(digits_dir).iterdir():
        assert (decoded(digits) / sound.name).read_bytes() == sound.read_bytes()


def test_a_cache_of_other_records_is_rebuilt(digits: Path) -> None:
    values = json.loads((decoded(digits) / "decoded.json").read_text())
    values["records"] = {name: size + 1 for name, size in values["records"].items()}
    (decoded(digits) / "decoded.json").write_text(json.dumps(values))
    with pytest.warns(UserWarning, match="made from other record files"):
        load("digits", digits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("digits", digits).split("train")


def test_data_are_decoded_in_memory_if_the_cache_cannot_be_written(digits: Path, digits_dir: Path) -> None:
    shutil.rmtree(decoded(digits))
    decoded(digits).write_text("stands where the folder would be made, which stops even the superuser")
    with pytest.warns(UserWarning, match=r"cannot be kept in .*decoded again each time") as caught:
        data = load("digits", digits)
    assert len(caught) == 1
    whole = load("digits", digits_dir)
    assert (data.mean, data.std, data.class_names) == (whole.mean, whole.std, whole.class_names)
    for name in ("train", "test"):
        np.testing.assert_array_equal(data.split(name).inputs, whole.split(name).inputs)
        np.testing.assert_array_equal(data.split(name).labels, whole.split(name).labels)


def test_processes_that_start_at_the_same_time_do_not_interfere(tmp_path: Path, digits_dir: Path) -> None:
    command = [sys.executable, "-c", LOADED, str(tmp_path)]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split = load("digits", tmp_path).split("train")
    np.testing.assert_array_equal(split.inputs, load("digits", digits_dir).split("train").inputs)
    left = {path.name for path in (tmp_path / "digits").rglob("*")}
    assert not [name for name in left if "incomplete" in name or name.endswith(".tmp")]


@pytest.mark.slow
def test_the_full_cifar100_equals_the_content_of_the_archive(full_cifar100: Path, official: Path) -> None:
    data = load("cifar100", full_cifar100)
    contents = read_cifar(official / "cifar-100-binary", DATASETS["cifar100"])
    assert data.class_names == contents.label_names["label"]
    for name in ("train", "test"):
        original, split = contents.splits[name], data.split(name)
        expected = sorted(zip(map(hash, map(bytes, original.images)), original.labels["label"].tolist(), strict=True))
        assert sorted(zip(map(hash, map(bytes, split.inputs)), split.labels.tolist(), strict=True)) == expected
    for channel in range(3):
        values = contents.splits["train"].images[..., channel]
        mean, square = values.mean() / 255, np.square(values, dtype=np.uint32).mean() / 255**2
        np.testing.assert_allclose(
            (data.mean[channel], data.std[channel]), (mean, np.sqrt(square - mean**2)), rtol=1e-9
        )


@pytest.mark.slow
def test_the_record_order_of_cifar100_is_that_of_tfds(full_cifar100: Path) -> None:
    import tensorflow_datasets as tfds

    # The first record of each train split of 50,000 examples with numbered keys, as TFDS's catalogue of CIFAR-10 shows.
    assert tfds.data_source("cifar100", data_dir=full_cifar100, split="train")[0]["id"] == b"train_16399"


@pytest.mark.slow
def test_loading_cifar100_from_the_cache_takes_less_than_a_second(full_cifar100: Path) -> None:
    load("cifar100", full_cifar100).split("train")
    start = time.monotonic()
    split = load("cifar100", full_cifar100).split("train")
    assert len(split) == 50_000
    assert time.monotonic() - start < 1


def test_another_tfds_data_set_needs_only_one_row_once_it_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    import tensorflow_datasets.public_api as tfds
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (9, 4, 6, 3), dtype=np.uint8)

    class Stripes(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        VERSION = tfds.core.Version("2.0.0")

        def _info(self) -> tfds.core.DatasetInfo:
            features = {"image": tfds.features.Image(shape=(4, 6, 3)), "label": tfds.features.ClassLabel(num_classes=3)}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager: object) -> dict[str, object]:
            return {"train": self._generate_examples(range(6)), "test": self._generate_examples(range(6, 9))}

        def _generate_examples(self, indices: range) -> Iterator[tuple[int, dict[str, object]]]:
            for index in indices:
                Image.fromarray(pixels[index]).save(file := io.BytesIO(), format="png")
                file.seek(0)
                yield index, {"image": file, "label": index % 3}

    spec = DatasetSpec("stripes", (4, 6, 3), 3, 6, 3, "stripes", "2.0.0")
    monkeypatch.setitem(DATASETS, "stripes", spec)
    for attempt in (load, prepare):
        with pytest.raises(UserError, match="tfds build stripes --file_format=array_record"):
            attempt("stripes", data_dir=tmp_path)
    Stripes(data_dir=str(tmp_path)).download_and_prepare(file_format="array_record")
    dataset = load("stripes", tmp_path)
    found = {image.tobytes() for image in dataset.split("train").inputs}
    assert found == {image.tobytes() for image in pixels[:6]}
    assert sorted(dataset.split("test").labels.tolist()) == [0, 1, 2]
