"""Users' arrays, tables and image folders are read, or refused with a message that names the file, field or row."""

from __future__ import annotations

import pathlib
import pickle

import numpy as np
import pytest
from PIL import Image

from jaxopt_bench.data import folders
from jaxopt_bench.data.csv import read_csv
from jaxopt_bench.data.folders import read_folder
from jaxopt_bench.data.npz import read_npz
from jaxopt_bench.data.user_data import read_user_data
from jaxopt_bench.data.user_files import FileName, file_name, is_file_name, split_examples
from jaxopt_bench.errors import UserError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (20, 4, 5, 3), np.uint8)
LABELS = np.arange(20) % 4


def stored(folder: pathlib.Path, **arrays) -> pathlib.Path:
    np.savez(folder / "mine.npz", **arrays)
    return folder / "mine.npz"


def test_splits_of_a_npz_file_are_kept(tmp_path):
    path = stored(
        tmp_path, train_images=IMAGES[:16], train_labels=LABELS[:16], test_images=IMAGES[16:], test_labels=LABELS[16:]
    )
    data = read_npz(path)
    assert (data.kind, data.class_names) == ("images", ("0", "1", "2", "3"))
    np.testing.assert_array_equal(data.test[0], IMAGES[16:])
    np.testing.assert_array_equal(data.test[1], LABELS[16:])
    pairs = {(image.tobytes(), label) for image, label in zip(*data.train, strict=True)}
    assert pairs == {(image.tobytes(), label) for image, label in zip(IMAGES[:16], LABELS[:16], strict=True)}
    assert list(data.train[1]) != list(LABELS[:16])  # shuffled: the last examples validate, and may all be of one class


def test_without_given_splits_a_fixed_fifth_is_the_test_split(tmp_path):
    data = read_npz(stored(tmp_path, images=IMAGES[..., 0], labels=LABELS, class_names=list("abcd")))
    assert data.class_names == tuple("abcd")
    assert data.train[0].shape == (16, 4, 5, 1)
    assert data.test[0].shape == (4, 4, 5, 1)
    found = np.concatenate([data.train[0], data.test[0]])[..., 0]
    assert {image.tobytes() for image in found} == {image.tobytes() for image in IMAGES[..., 0]}
    again = read_npz(stored(tmp_path, images=IMAGES[..., 0], labels=LABELS, class_names=list("abcd")))
    np.testing.assert_array_equal(again.test[0], data.test[0])


@pytest.mark.parametrize(("shape", "kind"), [((20, 7), "vectors"), ((20, 7, 2), "sequences")])
def test_inputs_are_vectors_or_sequences(shape, kind, tmp_path):
    inputs = RANDOM.normal(size=shape)
    data = read_npz(stored(tmp_path, inputs=inputs, labels=LABELS))
    assert (data.kind, data.train[0].dtype, data.train[0].shape[1:]) == (kind, np.float32, shape[1:])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": IMAGES, "labels": LABELS}, r"contains the arrays pictures, labels\. Expected train_images"),
        ({"images": IMAGES}, r"has no array 'labels' \(it contains images\)"),
        ({"images": IMAGES, "labels": LABELS[:-1]}, r"images has 20 examples and labels 19"),
        (
            {"images": np.zeros((20, 5), np.float32), "labels": LABELS},
            r"images is an array of float32 of shape \[20, 5\]\. .* For vectors and sequences, use the name inputs",
        ),
        ({"images": IMAGES / 255, "labels": LABELS}, r"images is an array of float64 of shape .* Expected uint8"),
        (
            {"images": IMAGES.transpose(0, 3, 1, 2), "labels": LABELS},
            r"shape \[20, 3, 4, 5\]\. Expected uint8 of shape",
        ),
        (
            {"images": IMAGES, "labels": np.eye(4)[LABELS]},
            r"labels is an array of float64 of shape \[20, 4\]\. Expected int",
        ),
        ({"images": IMAGES, "labels": LABELS * 2}, r"labels has labels up to 6, and none is 1\."),
        ({"images": IMAGES, "labels": LABELS + 1}, r"labels has labels up to 4, and none is 0"),
        ({"images": IMAGES, "labels": LABELS * 0}, r"labels has one class only \(0\)"),
        ({"images": IMAGES, "labels": LABELS - 1}, r"labels\[0\] is -1\. Expected integers from 0 on"),
        ({"images": IMAGES, "labels": LABELS, "class_names": ["a"]}, r"class_names has 1 different names\. Expected 4"),
        ({"images": IMAGES, "labels": LABELS, "weights": LABELS}, r"contains the array 'weights'"),
        ({"inputs": np.full((20, 2), np.nan), "labels": LABELS}, r"inputs\[0, 0\] is nan\. Expected finite numbers"),
        ({"images": IMAGES[:1], "labels": LABELS[:1]}, r"labels has one class only"),
        ({"images": np.array([None] * 20), "labels": LABELS}, r"images cannot be read: Object arrays"),
        (
            {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES, "test_labels": LABELS + 1},
            r"test_labels\[3\] is 4\. Expected 0 to 3, the classes of train_labels",
        ),
        (
            {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES[:, 1:], "test_labels": LABELS},
            r"test_images has the shape \[20, 3, 5, 3\] and train_images \[20, 4, 5, 3\]",
        ),
    ],
)
def test_the_error_for_an_invalid_npz_file_names_the_array(arrays, message, tmp_path):
    path = stored(tmp_path, **arrays)
    with pytest.raises(UserError, match=message) as error:
        read_npz(path)
    assert str(path) in str(error.value)


def test_a_file_named_npz_with_other_contents_is_refused(tmp_path):
    path = tmp_path / "mine.npz"
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UserError, match=r"is damaged or not a \.npz file"):
        read_npz(path)
    with open(path, "wb") as file:
        np.save(file, LABELS)
    with pytest.raises(UserError, match="contains one array without a name"):
        read_npz(path)


TABLE = """age,colour,smokes,price,kind
20,red,true,1.5,a
30,blue,false,2.5,b
40,red,true,3.5,a
"""


def table(folder: pathlib.Path, text: str = TABLE) -> pathlib.Path:
    path = folder / "mine.csv"
    path.write_text(text)
    return path


def test_columns_of_numbers_are_kept_and_texts_become_categories(tmp_path):
    found = read_csv(table(tmp_path), "price")
    assert found.feature_names == ("age", "colour=blue", "colour=red", "smokes", "kind=a", "kind=b")
    np.testing.assert_array_equal(found.features, [[20, 0, 1, 1, 1, 0], [30, 1, 0, 0, 0, 1], [40, 0, 1, 1, 1, 0]])
    np.testing.assert_array_equal(found.targets, [1.5, 2.5, 3.5])
    classes = read_csv(tmp_path / "mine.csv", "kind")
    assert classes.targets is None
    labels, names = classes.classes(tmp_path / "mine.csv")
    assert (list(labels), names) == ([0, 1, 0], ("a", "b"))


def test_the_digest_of_a_table_depends_only_on_its_content(tmp_path):
    first = read_csv(table(tmp_path), "price").digest
    moved = (tmp_path / "mine.csv").rename(tmp_path / "other.csv")
    assert read_csv(moved, "price").digest == first
    assert read_csv(table(tmp_path, TABLE.replace("40", "41")), "price").digest != first


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        (TABLE, None, r"has the columns age, colour, smokes, price, kind\. Expected --target COLUMN"),
        (TABLE, "prise", r"unknown column of .*did you mean price"),
        (
            TABLE.replace("30", ""),
            "price",
            r"row 2: the value of 'age' is missing or not a finite number \(1 such rows",
        ),
        (TABLE.replace("blue", "NA"), "price", r"row 2: the value of 'colour' is missing"),
        (TABLE.replace("3.5", "inf"), "price", r"row 3: the value of 'price' is missing or not a finite"),
        (TABLE + "50,red\n", "price", r"row 4: the value of 'smokes' is missing"),
        (TABLE + "50,red,true,1,a,b,c\n", "price", r"cannot be read as a table: "),
        ("", "price", r"cannot be read as a table: empty CSV\. Expected a CSV file with a header, commas between"),
        (
            "a;b\n1,5;2,3\n",
            "b",
            r"cannot be read as a table: [^\n]*\. Expected a CSV file .* points in decimal numbers",
        ),
        (TABLE.replace(",", ";"), "price", r"has one column, 'age;.*, which contains ';'\. Expected columns separated"),
        ("age,price\n", "price", r"has a header and no rows"),
        ("price\n1\n2\n", "price", r"has only the column 'price'"),
        ("age,age,price\n1,2,3\n", "price", r"has the column 'age' twice"),
        (
            "name,price\n" + "".join(f"n{i},{i}\n" for i in range(101)),
            "price",
            r"the column 'name' has 101 different texts, such as 'n0'\. Expected numbers, or at most 100",
        ),
    ],
)
def test_the_error_for_an_invalid_table_names_the_row_or_column(text, target, message, tmp_path):
    path = table(tmp_path, text)
    with pytest.raises(UserError, match=message) as error:
        read_csv(path, target)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("price", r"row 1: price is 1\.5\. Expected classes: texts, or integers from 0 on"),
        ("age", r"age has labels up to 40, and none is 0"),
        ("same", r"same is 'x' in every row\. Expected at least two"),
    ],
)
def test_a_column_that_does_not_contain_classes_is_refused(column, message, tmp_path):
    path = table(tmp_path, TABLE.replace("\n", ",x\n").replace("kind,x", "kind,same"))
    with pytest.raises(UserError, match=message):
        read_csv(path, column).classes(path)


def write_images(folder: pathlib.Path, images=IMAGES, labels=LABELS) -> pathlib.Path:
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / f"class{label}" / f"{number:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.squeeze()).save(place)
    return folder


def pairs(*splits) -> set:
    return {(image.tobytes(), int(label)) for split in splits for image, label in zip(*split, strict=True)}


def test_image_folders_are_decoded_only_once(tmp_path, monkeypatch):
    folder = write_images(tmp_path / "flowers")
    (folder / ".hidden").touch()
    (folder / "class0" / "Thumbs.db").touch()
    data = read_folder(folder)
    assert (data.kind, data.class_names) == ("images", ("class0", "class1", "class2", "class3"))
    assert len(data.test[1]) == 4
    assert pairs(data.train, data.test) == pairs((IMAGES, LABELS))
    decode, calls = folders._decode, []
    monkeypatch.setattr(folders, "_decode", lambda *given: calls.append(given) or decode(*given))
    again = read_folder(folder)
    assert not calls
    assert again.digest == data.digest
    np.testing.assert_array_equal(again.test[0], data.test[0])
    moved = folder.rename(tmp_path / "others")
    assert read_folder(moved).digest == data.digest
    Image.fromarray(IMAGES[3]).save(moved / "class0" / "00.png")
    assert read_folder(moved).digest != data.digest
    assert len(calls) == 2


def test_a_damaged_cache_is_rebuilt(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXOPT_BENCH_CACHE_DIR", str(tmp_path / "cache"))
    folder = write_images(tmp_path / "flowers")
    first = read_folder(folder)
    train = np.array(first.train[0])
    (place,) = (tmp_path / "cache" / "images").iterdir()
    content = bytearray((place / "images.npy").read_bytes())
    content[-1] ^= 1
    (place / "images.npy").write_bytes(content)
    np.testing.assert_array_equal(read_folder(folder).train[0], train)
    monkeypatch.setenv("JAXOPT_BENCH_CACHE_DIR", "")
    np.testing.assert_array_equal(read_folder(folder).train[0], train)


def test_folders_named_train_and_test_are_the_splits(tmp_path):
    write_images(tmp_path / "flowers" / "train", IMAGES[:16], LABELS[:16])
    write_images(tmp_path / "flowers" / "test", IMAGES[16:], LABELS[16:])
    data = read_folder(tmp_path / "flowers")
    assert pairs(data.test) == pairs((IMAGES[16:], LABELS[16:]))
    assert pairs(data.train) == pairs((IMAGES[:16], LABELS[:16]))
    (tmp_path / "flowers" / "test" / "class0").rename(tmp_path / "flowers" / "test" / "other")
    with pytest.raises(UserError, match=r"test/other is not a class in .*train"):
        read_folder(tmp_path / "flowers")


def test_grey_images_have_one_channel_unless_others_have_colours(tmp_path):
    grey = write_images(tmp_path / "grey", IMAGES[..., 0])
    assert read_folder(grey).train[0].shape == (16, 4, 5, 1)
    Image.fromarray(IMAGES[0]).save(grey / "class0" / "00.png")
    assert read_folder(grey).train[0].shape == (16, 4, 5, 3)


def test_images_are_scaled_to_one_size(tmp_path):
    folder = write_images(tmp_path / "flowers")
    Image.fromarray(np.full((9, 7, 3), 200, np.uint8)).save(folder / "class1" / "large.jpg", quality=100)
    with pytest.raises(
        UserError, match=r"large.jpg has 9 × 7 pixels, and .*class0/00.png has 4 × 5\. Expected .*--resize"
    ):
        read_folder(folder)
    data = read_folder(folder, (6, 3))
    images = np.concatenate([data.train[0], data.test[0]])
    assert images.shape == (21, 6, 3, 3)
    assert any(abs(image.astype(int) - 200).max() <= 2 for image in images)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("class0/broken.png", b"\x89PNG\r\n\x1a\n and no more", r"class0/broken.png cannot be decoded"),
        ("class0/text.jpg", b"GIF89a", r"class0/text.jpg cannot be decoded"),
        ("class0/text.png", b"not an image", r"class0/text.png cannot be decoded: it is not an image\. Expected a PNG"),
        ("loose.png", b"", r"loose.png is not a folder\. Expected a folder for each class"),
        ("empty/notes.txt", b"", r"empty contains no PNG or JPEG image"),
    ],
)
def test_the_error_for_an_invalid_image_folder_names_the_file(name, content, message, tmp_path):
    folder = write_images(tmp_path / "flowers")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_folder(folder)


def test_a_single_class_and_more_than_8_bits_a_channel_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"contains 1 folders of images \(class0\)\. Expected at least two"):
        read_folder(write_images(tmp_path / "one", labels=LABELS * 0))
    folder = write_images(tmp_path / "deep")
    Image.fromarray(np.full((4, 5), 40_000, np.uint16)).save(folder / "class0" / "00.png")
    with pytest.raises(UserError, match=r"00.png has more than 8 bits a channel"):
        read_folder(folder)


def test_a_file_name_omits_the_folder_but_keeps_the_path(tmp_path, monkeypatch):
    path = table(tmp_path)
    name = file_name(str(path))
    assert (name, name.existing_path()) == ("mine.csv", path)
    assert pickle.loads(pickle.dumps(name)).existing_path() == path
    assert file_name("mine.csv").existing_path() == path  # as if read from a record in this process
    (tmp_path / "flowers").mkdir()
    monkeypatch.chdir(tmp_path)
    assert file_name("flowers") == "flowers/"
    assert is_file_name("flowers")
    assert not is_file_name("digits")
    with pytest.raises(UserError, match=r"dataset is 'gone.csv', which is not in the working directory"):
        FileName("gone.csv").existing_path()
    with pytest.raises(UserError, match=r"absent.csv does not exist"):
        file_name("nowhere/absent.csv").existing_path()


def test_too_few_examples_for_a_test_split_are_refused(tmp_path):
    train, test = split_examples(3, tmp_path)
    assert sorted([*train, *test]) == [0, 1, 2]
    with pytest.raises(UserError, match=rf"{tmp_path} has 2 examples\. Expected at least 3, since 20% of them"):
        split_examples(2, tmp_path)


def test_a_table_of_classes_is_standardised_by_its_training_examples(tmp_path):
    values = RANDOM.normal(5, 3, 50)
    text = "x,same,kind\n" + "".join(f"{x},1,{'ab'[i % 2]}\n" for i, x in enumerate(values))
    name = file_name(str(table(tmp_path, text)))
    data = read_user_data(name, "kind")
    (train, labels), (test, _) = data.train, data.test
    assert (train.shape, test.shape, data.kind) == ((40, 2), (10, 2), "vectors")
    order, rest = split_examples(50, tmp_path)
    np.testing.assert_allclose(train[:, 0], (values[order] - values[order].mean()) / values[order].std(), rtol=1e-5)
    np.testing.assert_allclose(test[:, 0], (values[rest] - values[order].mean()) / values[order].std(), rtol=1e-5)
    assert not train[:, 1].any()
    assert list(labels) == [i % 2 for i in order]
    with pytest.raises(UserError, match=r"resize is \(3, 4\), but mine.csv is not a folder of images"):
        read_user_data(name, "kind", (3, 4))
    with pytest.raises(UserError, match=r"target is 'kind', but mine.npz is not a table"):
        read_user_data(file_name(str(stored(tmp_path, images=IMAGES, labels=LABELS))), "kind")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"notes.txt is not a supported file\. Expected the path of a file"):
        read_user_data(file_name(str(tmp_path / "notes.txt")))
