"""Words and texts as tokens: the predicted tokens, the splits, and the refused inputs."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import os
import pathlib

import numpy as np
import pytest

from jaxopt_bench.data import tokens
from jaxopt_bench.errors import UserError

WORDS = pathlib.Path(tokens.__file__).parent / "words"


def test_the_words_are_split_and_none_is_lost() -> None:
    found = tokens.words(0.1)
    listed = gzip.decompress((WORDS / "words.txt.gz").read_bytes()).decode().split()
    assert found.validation is not None
    parts = [[tokens.spell(row, 27) for row in part] for part in (found.train, found.validation, found.test)]
    assert [len(part) for part in parts] == [51_435, 5_715, 6_350]
    assert sorted(itertools.chain(*parts)) == listed
    assert parts[0] == [tokens.spell(row, 27) for row in tokens.words(0).train[:51_435]]
    assert tokens.words(0).validation is None
    assert len(tokens.words(0).train) == 57_150
    shuffled = hashlib.sha256("\n".join(parts[2]).encode()).hexdigest()
    assert (
        shuffled == "fb011724f54760b33318c3434f6597d1ec85ebb8db5e844561c5db9cd1ba18d1"
    )  # records contain only the digest of the list, so they would not reveal another order


def test_the_word_list_is_the_one_that_its_readme_describes() -> None:
    notice = (WORDS / "README.md").read_text(encoding="utf-8")
    content = gzip.decompress((WORDS / "words.txt.gz").read_bytes())
    assert hashlib.sha256(content).hexdigest() in notice
    assert f"{len(content.split()):,} English words" in notice
    assert "Copyright 2000-2011 by Kevin Atkinson" in notice
    assert tokens.words(0.1).digest == hashlib.sha256(content).hexdigest()


def test_a_word_is_enclosed_by_boundary_tokens() -> None:
    found = tokens.words(0).train
    word = next(row for row in found if tokens.spell(row, 27) == "abacus")
    letters = [ord(letter) - ord("a") + 1 for letter in "abacus"]
    np.testing.assert_array_equal(word, [0, *letters, 0, *[tokens.PAD] * 9])
    assert (found[:, 0] == tokens.BOUNDARY).all()
    assert ((found == tokens.BOUNDARY).sum(1) == 2).all()


@pytest.mark.parametrize(("length", "size"), [(2, 60), (5, 251), (9, 300), (64, 2000)])
def test_each_byte_of_a_split_except_the_first_is_predicted_once(
    tmp_path: pathlib.Path, length: int, size: int
) -> None:
    content = "".join(np.random.default_rng(size).choice(list("aé☃\n"), size)).encode()
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    found = tokens.text(path, length, 0.2)
    assert found.validation is not None
    rest = content
    for part in (found.train, found.validation, found.test):
        predicted = part[:, 1:][part[:, 1:] != tokens.PAD].tobytes()
        own = part[0, :1].tobytes() + predicted
        assert rest.startswith(own)
        rest = rest[len(own) :]
        np.testing.assert_array_equal(part[1:, 0], part[:-1, -1])
        assert (part[:, :2] != tokens.PAD).all()
    assert rest == b""


def test_the_last_tenth_of_a_text_is_the_test_split(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(bytes(range(100)) * 10)
    found = tokens.text(path, 4, 0.1)
    assert found.validation is not None
    assert found.vocabulary == 256
    np.testing.assert_array_equal(found.train[:2], [[0, 1, 2, 3, 4], [4, 5, 6, 7, 8]])
    sizes = [int((part[:, 1:] != tokens.PAD).sum()) + 1 for part in (found.train, found.validation, found.test)]
    assert sizes == [810, 90, 100]
    assert found.test[0, 0] == 0
    assert found.validation[0, 0] == 10
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"abc\xff" * 400,
            r"is not a text in UTF-8: byte 3 \(of 1600, counted from 0\) is 0xff \(invalid start",
        ),
        (
            b"a" * 85,
            r"has 85 bytes, and its last tenth is the test split\. Expected at least 90 bytes for windows",
        ),
        (b"", r"has 0 bytes"),
    ],
)
def test_a_text_that_cannot_be_used_is_refused(tmp_path: pathlib.Path, content: bytes, message: str) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"dataset {path} {message}"):
        tokens.text(path, 8, 0.1)


def test_a_path_that_is_not_a_regular_file_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match=r"dataset is 'wrods', but there is no such file\. Expected 'words', or the"):
        tokens.text(pathlib.Path("wrods"), 8, 0.1)
    with pytest.raises(UserError, match="is not a regular file"):
        tokens.text(tmp_path, 8, 0.1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is not a regular file"):
        tokens.text(tmp_path / "pipe", 8, 0.1)


def test_a_validation_fraction_that_leaves_a_part_empty_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match=r"validation_fraction is 1e-09, which divides the 57150 words .* into 57150"):
        tokens.words(1e-9)
    path = tmp_path / "text.txt"
    path.write_bytes(b"a" * 200)
    with pytest.raises(UserError, match=r"validation_fraction is 0\.01, .*into 178 to train on and 2 to validate on"):
        tokens.text(path, 8, 0.01)


def test_tokens_are_converted_to_readable_text() -> None:
    assert tokens.spell(np.array([0, 3, 1, 2, 0, 255, 255], np.uint8), 27) == "cab"
    assert tokens.spell(np.array([3, 1, 2], np.uint8), 27) == "cab"
    assert tokens.spell(np.array([0, 255], np.uint8), 27) == ""
    assert tokens.spell(np.frombuffer("é\n\x07z\xff".encode("latin-1"), np.uint8), 256) == "�↵�z"
    assert tokens.spell(np.frombuffer("é☃".encode(), np.uint8), 256) == "é☃"


def test_a_limit_takes_the_first_words_and_does_not_change_the_test_split() -> None:
    whole, few = tokens.words(0), tokens.words(0.2, limit=500)
    assert few.validation is not None
    assert (len(few.train), len(few.validation)) == (400, 100)
    np.testing.assert_array_equal(np.concatenate([few.train, few.validation]), whole.train[:500])
    np.testing.assert_array_equal(few.test, whole.test)
    with pytest.raises(UserError, match="limit is 57151, but only 57150 words are outside the test split"):
        tokens.words(0.1, limit=57_151)
