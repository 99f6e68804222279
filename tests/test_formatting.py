"""Numbers and lists are formatted for people to read."""

from __future__ import annotations

import pytest

from jaxopt_bench.formatting import format_bytes, format_count, format_percent, join_words


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0%"), (1e-9, "less than 0.1%"), (0.0005, "0.1%"), (0.25, "25%"), (0.1234, "12.3%"),
        (1 - 1e-9, "more than 99.9%"), (1.0, "100%"),
    ],
)  # fmt: skip
def test_a_share_is_rounded_but_not_to_0_or_100_percent(share, text):
    assert format_percent(share) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"), (999, "1.0 kB"), (994, "990 bytes"), (1000, "1.0 kB"), (23_456_789, "23 MB"), (9.96e6, "10 MB"),
        (9.94e6, "9.9 MB"), (123e9, "120 GB"), (5e16, "50,000 TB"),
    ],
)  # fmt: skip
def test_bytes_have_two_digits_in_the_largest_unit(count, text):
    assert format_bytes(count) == text


def test_a_list_in_a_sentence_has_an_and_before_its_last_item():
    assert [join_words(["a"]), join_words(["a", "b"]), join_words(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_a_noun_has_an_s_unless_its_number_is_one():
    assert [format_count(count, "run") for count in (0, 0.5, 1.0, 2, 1234)] == [
        "0 runs", "0.5 runs", "1 run", "2 runs", "1,234 runs"
    ]  # fmt: skip
