"""Reading the official archives, and the error messages for each kind of damage."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxopt_bench.data import DATASETS, containers
from jaxopt_bench.data.archives import Contents, read_cifar
from jaxopt_bench.data.specs import DATASET_SPLITS
from jaxopt_bench.errors import UserError
from tests.data.conftest import pickled
from tests.data.pickled import python2_pickle

Files = dict[str, bytes]
RECORD = 3074


def read100(source: Path) -> Contents:
    return read_cifar(source, DATASETS["cifar100"])


def unpack(files: Files, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def assert_same(one: Contents, other: Contents) -> None:
    assert one.label_names == other.label_names
    for split in DATASET_SPLITS:
        np.testing.assert_array_equal(one.splits[split].images, other.splits[split].images)
        for feature, labels in one.splits[split].labels.items():
            np.testing.assert_array_equal(labels, other.splits[split].labels[feature])


def test_a_record_is_two_labels_and_three_planes(small_cifar100: Path, cifar100_files: Files) -> None:
    train = read100(small_cifar100).splits["train"]
    record = cifar100_files["train.bin"][7 * RECORD : 8 * RECORD]
    assert (train.labels["coarse_label"][7], train.labels["label"][7]) == (record[0], record[1])
    for row, column, channel in [(0, 0, 0), (3, 5, 1), (31, 31, 2)]:
        assert train.images[7, row, column, channel] == record[2 + 1024 * channel + 32 * row + column]


def test_archive_folder_and_parent_folder_give_the_same_data(
    small_cifar100: Path, cifar100_files: Files, tmp_path: Path
) -> None:
    folder = unpack(cifar100_files, tmp_path / "unpacked" / "cifar-100-binary")
    assert_same(read100(small_cifar100), read100(folder))
    assert_same(read100(small_cifar100), read100(folder.parent))


def test_the_training_files_of_cifar10_are_read_in_order(
    cifar10_files: Files, make_archive: Callable[..., Path]
) -> None:
    contents = read_cifar(make_archive(cifar10_files, "cifar-10-batches-bin/"), DATASETS["cifar10"])
    assert contents.label_names == {"label": tuple(f"class_{i}" for i in range(10))}
    labels = [cifar10_files[f"data_batch_{i}.bin"][k * 3073] for i in range(1, 6) for k in range(4)]
    np.testing.assert_array_equal(contents.splits["train"].labels["label"], labels)


@pytest.mark.parametrize("prefix", ["/etc/cifar-100-binary/", "../../cifar-100-binary/", "./", ""])
def test_the_folders_in_the_names_of_members_are_ignored(
    prefix: str, small_cifar100: Path, cifar100_files: Files, make_archive: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_archive(cifar100_files, prefix, "odd.tar.gz")
    before = sorted(tmp_path.rglob("*"))
    assert_same(read100(source), read100(small_cifar100))
    assert sorted(tmp_path.rglob("*")) == before, "reading an archive writes nothing"


def test_a_link_is_not_followed(cifar100_files: Files, tmp_path: Path) -> None:
    outside = tmp_path / "train.bin"
    outside.write_bytes(cifar100_files.pop("train.bin"))
    source = tmp_path / "links.tar.gz"
    with tarfile.open(source, "w:gz") as archive:
        link = tarfile.TarInfo("cifar-100-binary/train.bin")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        archive.addfile(link)
        for name, content in cifar100_files.items():
            member = tarfile.TarInfo(f"cifar-100-binary/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(UserError, match=r"lacks train\.bin"):
        read100(source)


def test_a_path_that_does_not_exist_is_refused(small: None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.tar\.gz does not exist. Expected cifar-100-binary"):
        read100(tmp_path / "nowhere.tar.gz")


@pytest.mark.parametrize("content", [b"", b"not an archive at all", b"\x1f\x8b but not gzip"])
def test_a_file_that_is_not_an_archive_is_refused(content: bytes, small: None, tmp_path: Path) -> None:
    source = tmp_path / "wrong.tar.gz"
    source.write_bytes(content)
    with pytest.raises(UserError, match=r"wrong\.tar\.gz is .*(not a tar or zip|truncated or damaged)"):
        read100(source)


@pytest.mark.parametrize("header", [{"size": 30 * "9"}, {"size": "-5"}, {"GNU.sparse.map": "0,a"}])
def test_headers_with_invalid_numbers_are_refused(header: dict[str, str], small: None, tmp_path: Path) -> None:
    source = tmp_path / "wrong.tar.gz"
    with tarfile.open(source, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("cifar-100-binary/train.bin")
        member.size, member.pax_headers = 3, header
        archive.addfile(member, io.BytesIO(b"abc"))
    with pytest.raises(UserError, match=r"wrong\.tar\.gz"):
        read100(source)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9, 0.9999])
def test_a_truncated_archive_is_refused(share: float, small_cifar100: Path) -> None:
    whole = small_cifar100.read_bytes()
    small_cifar100.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match="truncated or damaged"):
        read100(small_cifar100)


def test_a_flipped_bit_in_an_archive_is_detected(small_cifar100: Path) -> None:
    content = bytearray(small_cifar100.read_bytes())
    content[len(content) // 2] ^= 0x10
    small_cifar100.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged"):
        read100(small_cifar100)


@pytest.mark.parametrize("file", ["train.bin", "test.bin", "fine_label_names.txt", "coarse_label_names.txt"])
def test_the_error_for_a_missing_member_names_it(
    file: str, cifar100_files: Files, make_archive: Callable[..., Path], tmp_path: Path
) -> None:
    del cifar100_files[file]
    for source in (make_archive(cifar100_files), unpack(cifar100_files, tmp_path / "unpacked")):
        with pytest.raises(UserError, match=f"lacks {file} .*it holds"):
            read100(source)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (20 * RECORD - 1, "not a multiple of the record size of 3074 bytes"),
        (20 * 3073, "not a multiple of the record size of 3074 bytes"),
        (19 * RECORD, "holds 19 examples. Expected 20"),
        (21 * RECORD, "holds 21 examples. Expected 20"),
        (0, "holds 0 examples. Expected 20"),
    ],
)
def test_a_member_of_a_wrong_size_is_refused(
    size: int, message: str, cifar100_files: Files, make_archive: Callable[..., Path], tmp_path: Path
) -> None:
    cifar100_files["train.bin"] = bytes(size)
    for source in (make_archive(cifar100_files), unpack(cifar100_files, tmp_path / "unpacked")):
        with pytest.raises(UserError, match=rf"train\.bin.* {message}"):
            read100(source)


@pytest.mark.parametrize(
    ("byte", "value", "message"),
    [(0, 20, "coarse_label is 20. Expected 0 to 19"), (1, 100, "label is 100. Expected 0 to 99")],
)
def test_a_label_out_of_range_is_refused(
    byte: int, value: int, message: str, cifar100_files: Files, make_archive: Callable[..., Path]
) -> None:
    content = bytearray(cifar100_files["test.bin"])
    content[4 * RECORD + byte] = value
    cifar100_files["test.bin"] = bytes(content)
    with pytest.raises(UserError, match=rf"test\.bin, record 4: {message}"):
        read100(make_archive(cifar100_files))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"apple\nbear\n", "lists 2 different names. Expected 100"),
        (b"same\n" * 100, "lists 1 different names. Expected 100"),
        (b"\xff\xfe" * 50, "is not text"),
        (b"x" * 100_000, "too many for a list of names"),
    ],
)
def test_a_wrong_list_of_names_is_refused(
    content: bytes, message: str, cifar100_files: Files, make_archive: Callable[..., Path]
) -> None:
    cifar100_files["fine_label_names.txt"] = content
    with pytest.raises(UserError, match=rf"fine_label_names\.txt.* {message}"):
        read100(make_archive(cifar100_files))


def test_the_error_for_the_other_cifar_lists_its_files(cifar10_files: Files, make_archive: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=r"lacks train\.bin \(it holds cifar-10-batches-bin/data_batch_1\.bin"):
        read100(make_archive(cifar10_files, "cifar-10-batches-bin/"))


@pytest.mark.parametrize(("name", "folder"), [("cifar10", "cifar-10-batches-bin"), ("cifar100", "cifar-100-binary")])
def test_the_official_archives_are_complete(official: Path, name: str, folder: str) -> None:
    contents = read_cifar(official / folder, DATASETS[name])
    for split in DATASET_SPLITS:
        counts = np.bincount(contents.splits[split].labels["label"])
        np.testing.assert_array_equal(counts, DATASETS[name].examples(split) // DATASETS[name].num_classes)


def make_zip(files: Files, path: Path, prefix: str = "cifar-100-binary/", method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        if prefix:
            archive.writestr(prefix, "")
        for name, content in files.items():
            archive.writestr(prefix + name, content)
    return path


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("version", ["cifar100_files", "python100_files"])
def test_a_tar_archive_is_recognised_by_its_content(
    mode: str, version: str, request: pytest.FixtureRequest, small_cifar100: Path, tmp_path: Path
) -> None:
    path = tmp_path / "any-name"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.add(unpack(request.getfixturevalue(version), tmp_path / "some-folder"), "some-folder")
    assert_same(read100(path), read100(small_cifar100))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("version", ["cifar100_files", "python100_files"])
@pytest.mark.parametrize("prefix", ["cifar-100/", "", "a\\b\\"])
def test_a_zip_is_read(
    method: int, version: str, prefix: str, request: pytest.FixtureRequest, small_cifar100: Path, tmp_path: Path
) -> None:
    path = make_zip(request.getfixturevalue(version), tmp_path / "x.zip", prefix, method)
    assert_same(read100(path), read100(small_cifar100))


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_python_version_has_the_same_examples(
    name: str, request: pytest.FixtureRequest, make_archive: Callable[..., Path], tmp_path: Path
) -> None:
    number = name.removeprefix("cifar")
    binary = unpack(request.getfixturevalue(f"cifar{number}_files"), tmp_path / "binary")
    files = request.getfixturevalue(f"python{number}_files")
    folder = unpack(files, tmp_path / "parent" / ("cifar-10-batches-py" if number == "10" else "cifar-100-python"))
    expected = read_cifar(binary, DATASETS[name])
    for source in (make_archive(files, folder.name + "/", "python.tar.gz"), folder, folder.parent):
        assert_same(read_cifar(source, DATASETS[name]), expected)


def test_the_binary_version_is_read_if_both_versions_are_present(
    python100_files: Files, cifar100_files: Files, small_cifar100: Path, tmp_path: Path
) -> None:
    hostile = {**python100_files, "meta": b"cos\nsystem\nU\x09touch RAN\x85R."}
    assert_same(read100(unpack({**hostile, **cifar100_files}, tmp_path / "both")), read100(small_cifar100))


@pytest.mark.parametrize("file", ["train", "test", "meta"])
def test_a_python_version_that_would_run_code_is_refused(
    file: str,
    python100_files: Files,
    make_archive: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    python100_files[file] = b"cos\nsystem\nU\x09touch RAN\x85R."
    for source in (make_archive(python100_files), unpack(python100_files, tmp_path / "folder")):
        with pytest.raises(UserError, match=rf"{file} is not the .* file: it names 'os\.system', .*binary"):
            read100(source)
    assert not (tmp_path / "RAN").exists()


def test_a_damaged_python_version_is_refused(python100_files: Files, cifar100_files: Files, tmp_path: Path) -> None:
    def refused(message: str, **files: bytes) -> None:
        folder = unpack({**python100_files, **files}, tmp_path / f"folder{len(list(tmp_path.iterdir()))}")
        with pytest.raises(UserError, match=message):
            read100(folder)

    records, keys = cifar100_files["test.bin"], [b"coarse_labels", b"fine_labels"]
    rows = np.ascontiguousarray(np.frombuffer(records, np.uint8).reshape(-1, RECORD)[:, 2:])
    few, mixed = [0] * 9, [0, b"x"] * 5
    refused(r"test holds images of shape \[9, 3072\]\. Expected \[10, 3072\]", test=pickled(records[:-RECORD], keys))
    refused(r"test has no list 'fine_labels'", test=pickled(records, [b"coarse_labels", b"labels"]))
    refused(r"test, record 0: label is 255\. Expected 0 to 99", test=pickled(b"\1\xff" + records[2:], keys))
    refused(r"test, record 0: coarse_label is 20\. Expected 0 to 19", test=pickled(b"\x14" + records[1:], keys))
    refused(r"test holds images of shape list", test=python2_pickle({b"data": [1]}))
    refused(r"test has 9 'coarse_labels'\. Expected 10", test=python2_pickle({b"data": rows, b"coarse_labels": few}))
    refused(r"test, record 1: coarse_label is b'x'", test=python2_pickle({b"data": rows, b"coarse_labels": mixed}))
    refused(r"meta has no list 'coarse_label_names'", meta=python2_pickle({b"fine_label_names": [b"x"]}))
    refused(r"meta lists 1 different names\. Expected 20", meta=python2_pickle({b"coarse_label_names": [b"x"] * 20}))
    refused(r"meta lists 'coarse_label_names' that are not", meta=python2_pickle({b"coarse_label_names": [1] * 20}))
    refused(r"train is not the official pickle file: it is damaged", train=python100_files["train"][:-5])
    refused(r"train has \d+ bytes\. Expected at most", train=bytes(20 * 3328 + 65537))
    del python100_files["test"]
    refused(r"lacks test \(it holds file\.txt~, meta, train\)")


def test_the_error_for_the_wrong_python_version_names_the_expected_one(
    python10_files: Files, make_archive: Callable[..., Path]
) -> None:
    with pytest.raises(UserError, match=r"lacks train.* \(it holds cifar-10-batches-py/data_b.*cifar-100-python"):
        read100(make_archive(python10_files, "cifar-10-batches-py/"))


@pytest.mark.slow
def test_the_full_python_version_has_the_same_examples(official: Path, tmp_path: Path) -> None:
    binary = official / "cifar-100-binary"
    keys = [b"coarse_labels", b"fine_labels"]
    files = {split: pickled((binary / f"{split}.bin").read_bytes(), keys) for split in DATASET_SPLITS}
    lists = {f"{kind}_label_names": (binary / f"{kind}_label_names.txt").read_bytes() for kind in ("fine", "coarse")}
    meta = python2_pickle({name.encode(): content.split() for name, content in lists.items()})
    # The checksum of the official file, as recorded in torchvision.
    assert hashlib.md5(meta).hexdigest() == "7973b15100ade9c7d40fb424638fde48"
    source = make_zip({**files, "meta": meta}, tmp_path / "x.zip", method=zipfile.ZIP_STORED)
    assert_same(read100(source), read100(binary))


def bomb(path: Path, kind: str) -> None:
    """Writes a small file that decompresses to 400 MB."""
    if kind == "member of a zip":
        make_zip({"train.bin": bytes(400 << 20)}, path)
        return
    compress = bz2.compress if kind == "bzip2" else gzip.compress
    member = tarfile.TarInfo("train.bin" if kind == "train" else "other")
    if kind == "members":
        path.write_bytes(compress(member.tobuf() * 32_000) * 25)
        return
    member.size = 6 << 30
    member.type = tarfile.XHDTYPE if kind == "header" else tarfile.REGTYPE
    path.write_bytes(compress(member.tobuf(tarfile.GNU_FORMAT)) + compress(bytes(16 << 20)) * 25)


@pytest.mark.parametrize("kind", ["train", "other", "header", "members", "member of a zip", "bzip2"])
def test_decompression_bombs_are_refused_in_little_memory(
    kind: str, small: None, tmp_path: Path, python: Callable[..., str]
) -> None:
    bomb(tmp_path / "bomb", kind)
    assert (tmp_path / "bomb").stat().st_size < 5 << 20
    program = (
        "import resource, sys, pathlib\n"
        "from jaxopt_bench.data import DATASETS, archives\n"
        "from jaxopt_bench.errors import UserError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: archives.read_cifar(pathlib.Path(sys.argv[1]), DATASETS['cifar100'])\n"
        "except UserError as error: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)\n"
    )
    used, _, message = python(program, tmp_path / "bomb").partition(" ")
    assert int(used) < 200_000, "kilobytes"
    assert "bomb" in message


def test_the_size_of_an_archive_is_limited(small_cifar100: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_LARGEST_ARCHIVE", -(4 << 20))
    with pytest.raises(UserError, match=r"has more than .* bytes when it is decompressed"):
        read100(small_cifar100)


def test_a_pipe_is_refused_at_once(small: None, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=r"pipe is not a regular file"):
        read100(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "test.bin").write_bytes(b"")
    os.mkfifo(tmp_path / "folder" / "train.bin")
    with pytest.raises(UserError, match=r"train\.bin is not a regular file"):
        read100(tmp_path / "folder")


def test_unrelated_files_in_a_folder_are_ignored(cifar100_files: Files, small_cifar100: Path, tmp_path: Path) -> None:
    folder = unpack({**cifar100_files, ".DS_Store": b"x", "._train.bin": b"x", "Thumbs.db": b""}, tmp_path / "folder")
    (folder / "train").mkdir()
    assert_same(read100(folder), read100(small_cifar100))


def test_a_damaged_zip_is_refused(cifar100_files: Files, tmp_path: Path) -> None:
    path = make_zip(cifar100_files, tmp_path / "x.zip")
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:1000] + b"xxxx" + whole[1004:]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"x\.zip is (truncated or )?damaged"):
            read100(path)
