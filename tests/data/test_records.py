"""Prepared folders: the choice of the data directory, incomplete folders, and damaged records."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jaxopt_bench.data import DATASETS, load, records
from jaxopt_bench.errors import UserError

DIGITS = DATASETS["digits"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    load("digits", tmp_path)
    return tmp_path / "digits" / "1.0.0"


def test_the_data_directory_is_the_argument_the_variable_or_tfdss_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", "/somewhere/else")
    assert records.data_directory(Path("~/given")) == Path.home() / "given"
    assert records.data_directory(None) == Path("/somewhere/else")
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert records.data_directory(None) == Path.home() / "tensorflow_datasets"


def test_a_missing_and_an_empty_folder_are_absent(tmp_path: Path) -> None:
    assert records.state(tmp_path / "nowhere", DIGITS) is records.State.ABSENT
    assert records.state(tmp_path, DIGITS) is records.State.ABSENT


def test_a_complete_folder_is_ready(folder: Path) -> None:
    assert records.state(folder, DIGITS) is records.State.READY
    assert sum(records.fingerprint(folder, DIGITS).values()) == sum(
        path.stat().st_size for path in folder.glob("*.array_record-*")
    )


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"splits": 3}'])
def test_the_error_for_a_damaged_info_file_names_it(folder: Path, content: str) -> None:
    (folder / "dataset_info.json").write_text(content)
    with pytest.raises(UserError, match=r"dataset_info\.json .*Remove this folder"):
        records.state(folder, DIGITS)


def test_a_part_of_the_data_set_is_refused(folder: Path) -> None:
    info = json.loads((folder / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = ["100"]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(UserError, match="its train split has 100 examples, not 1437"):
        records.state(folder, DIGITS)


def damage(content: bytearray, position: int) -> None:
    for i in range(position, position + 64):
        content[i] ^= 0x5A


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_damaged_records_are_refused(folder: Path, place: float) -> None:
    path = folder / "digits-test.array_record-00000-of-00001"
    content = bytearray(path.read_bytes())
    used = np.flatnonzero(content)  # the rest is padding
    damage(content, int(used[int(place * len(used))]))
    path.write_bytes(content)
    with pytest.raises(UserError, match="its test records cannot be decoded"):
        records.decode(folder, DIGITS, "test")


def test_damaged_padding_does_not_change_the_decoded_records(folder: Path) -> None:
    whole = records.decode(folder, DIGITS, "test")
    path = folder / "digits-test.array_record-00000-of-00001"
    content = bytearray(path.read_bytes())
    position = len(content) - 64
    assert not any(content[position:])
    damage(content, position)
    path.write_bytes(content)
    decoded = records.decode(folder, DIGITS, "test")
    np.testing.assert_array_equal(decoded.inputs, whole.inputs)
    np.testing.assert_array_equal(decoded.labels, whole.labels)


def test_a_truncated_record_file_is_refused(folder: Path) -> None:
    path = folder / "digits-train.array_record-00000-of-00001"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"its train records cannot be decoded"):
        records.decode(folder, DIGITS, "train")
