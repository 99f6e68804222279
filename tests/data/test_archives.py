"""The official archives: what is read from them, and what each kind of damage is called."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxopt_bench.data import DATASETS
from jaxopt_bench.data.archives import Contents, read_cifar
from jaxopt_bench.data.specs import SPLITS
from jaxopt_bench.errors import UserError

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
    for split in SPLITS:
        np.testing.assert_array_equal(one.splits[split].images, other.splits[split].images)
        for feature, labels in one.splits[split].labels.items():
            np.testing.assert_array_equal(labels, other.splits[split].labels[feature])


def test_a_record_is_two_labels_and_three_planes(small_cifar100: Path, cifar100_files: Files) -> None:
    train = read100(small_cifar100).splits["train"]
    record = cifar100_files["train.bin"][7 * RECORD : 8 * RECORD]
    assert (train.labels["coarse_label"][7], train.labels["label"][7]) == (record[0], record[1])
    for row, column, channel in [(0, 0, 0), (3, 5, 1), (31, 31, 2)]:
        assert train.images[7, row, column, channel] == record[2 + 1024 * channel + 32 * row + column]


def test_archive_folder_and_parent_folder_hold_the_same(
    small_cifar100: Path, cifar100_files: Files, tmp_path: Path
) -> None:
    folder = unpack(cifar100_files, tmp_path / "unpacked" / "cifar-100-binary")
    assert_same(read100(small_cifar100), read100(folder))
    assert_same(read100(small_cifar100), read100(folder.parent))


def test_the_training_files_of_cifar10_follow_each_other(
    cifar10_files: Files, make_archive: Callable[..., Path]
) -> None:
    contents = read_cifar(make_archive(cifar10_files, "cifar-10-batches-bin/"), DATASETS["cifar10"])
    assert contents.label_names == {"label": tuple(f"class_{i}" for i in range(10))}
    labels = [cifar10_files[f"data_batch_{i}.bin"][k * 3073] for i in range(1, 6) for k in range(4)]
    np.testing.assert_array_equal(contents.splits["train"].labels["label"], labels)


@pytest.mark.parametrize("prefix", ["/etc/cifar-100-binary/", "../../cifar-100-binary/", "./", ""])
def test_where_members_claim_to_lie_does_not_matter(
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


def test_a_path_that_does_not_exist(small: None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.tar\.gz does not exist; expected the official cifar-100-binary"):
        read100(tmp_path / "nowhere.tar.gz")


@pytest.mark.parametrize("content", [b"", b"not an archive at all", b"\x1f\x8b but not gzip"])
def test_a_file_that_is_no_archive(content: bytes, small: None, tmp_path: Path) -> None:
    source = tmp_path / "wrong.tar.gz"
    source.write_bytes(content)
    with pytest.raises(UserError, match=r"wrong\.tar\.gz is .*(not a (whole|sound)|truncated or damaged)"):
        read100(source)


@pytest.mark.parametrize("header", [{"size": 30 * "9"}, {"size": "-5"}, {"GNU.sparse.map": "0,a"}])
def test_headers_whose_numbers_are_none(header: dict[str, str], small: None, tmp_path: Path) -> None:
    source = tmp_path / "wrong.tar.gz"
    with tarfile.open(source, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("cifar-100-binary/train.bin")
        member.size, member.pax_headers = 3, header
        archive.addfile(member, io.BytesIO(b"abc"))
    with pytest.raises(UserError, match=r"wrong\.tar\.gz"):
        read100(source)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9, 0.9999])
def test_a_truncated_archive(share: float, small_cifar100: Path) -> None:
    whole = small_cifar100.read_bytes()
    small_cifar100.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match="truncated or damaged"):
        read100(small_cifar100)


def test_a_flipped_byte_in_an_archive(small_cifar100: Path) -> None:
    content = bytearray(small_cifar100.read_bytes())
    content[len(content) // 2] ^= 0x10
    small_cifar100.write_bytes(content)
    with pytest.raises(UserError, match=r"truncated or damaged|not a (whole|sound)"):
        read100(small_cifar100)


@pytest.mark.parametrize("file", ["train.bin", "test.bin", "fine_label_names.txt", "coarse_label_names.txt"])
def test_a_missing_member(file: str, cifar100_files: Files, make_archive: Callable[..., Path], tmp_path: Path) -> None:
    del cifar100_files[file]
    for source in (make_archive(cifar100_files), unpack(cifar100_files, tmp_path / "unpacked")):
        with pytest.raises(UserError, match=f"lacks {file} .*it holds"):
            read100(source)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (20 * RECORD - 1, "no multiple of the record size of 3074 bytes"),
        (20 * 3073, "no multiple of the record size of 3074 bytes"),
        (19 * RECORD, "holds 19 examples; expected 20"),
        (21 * RECORD, "holds 21 examples; expected 20"),
        (0, "holds 0 examples; expected 20"),
    ],
)
def test_a_wrong_size(
    size: int, message: str, cifar100_files: Files, make_archive: Callable[..., Path], tmp_path: Path
) -> None:
    cifar100_files["train.bin"] = bytes(size)
    for source in (make_archive(cifar100_files), unpack(cifar100_files, tmp_path / "unpacked")):
        with pytest.raises(UserError, match=rf"train\.bin.* {message}"):
            read100(source)


@pytest.mark.parametrize(
    ("byte", "value", "message"),
    [(0, 20, "coarse_label is 20; expected 0 to 19"), (1, 100, "label is 100; expected 0 to 99")],
)
def test_a_label_out_of_range(
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
        (b"apple\nbear\n", "lists 2 different names; expected 100"),
        (b"same\n" * 100, "lists 1 different names; expected 100"),
        (b"\xff\xfe" * 50, "is not text"),
        (b"x" * 100_000, "too many for a list of names"),
    ],
)
def test_a_wrong_list_of_names(
    content: bytes, message: str, cifar100_files: Files, make_archive: Callable[..., Path]
) -> None:
    cifar100_files["fine_label_names.txt"] = content
    with pytest.raises(UserError, match=rf"fine_label_names\.txt.* {message}"):
        read100(make_archive(cifar100_files))


def test_the_other_cifar_is_named_by_what_it_holds(cifar10_files: Files, make_archive: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=r"lacks train\.bin \(it holds cifar-10-batches-bin/data_batch_1\.bin"):
        read100(make_archive(cifar10_files, "cifar-10-batches-bin/"))


@pytest.mark.parametrize(("name", "folder"), [("cifar10", "cifar-10-batches-bin"), ("cifar100", "cifar-100-binary")])
def test_the_real_archives_are_whole(official: Path, name: str, folder: str) -> None:
    contents = read_cifar(official / folder, DATASETS[name])
    for split in SPLITS:
        counts = np.bincount(contents.splits[split].labels["label"])
        np.testing.assert_array_equal(counts, DATASETS[name].examples(split) // DATASETS[name].num_classes)
