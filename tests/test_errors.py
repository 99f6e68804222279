"""Error messages for users."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jaxopt_bench.errors import UserError, in_one_line, unknown_name

names = st.text(alphabet="abcdefghij_0123456789", min_size=1, max_size=12)


def test_the_error_for_an_unknown_name_has_the_nearest_and_all_names() -> None:
    error = unknown_name("optimizer", "adm", ["sgd", "padam", "adam"])
    assert isinstance(error, UserError)
    assert str(error) == "unknown optimizer 'adm'; did you mean adam or padam? Expected: adam, padam, sgd."


def test_of_many_names_only_the_nearest_are_listed() -> None:
    many = [f"experiment_{number:03}" for number in range(94)]
    message = str(unknown_name("experiment", "experimnt_093", many))
    assert "Expected: experiment_093, " in message
    assert message.endswith(", … (94 names).")
    assert "experiment_001" not in message
    assert str(unknown_name("experiment", "?", many)).endswith(
        "Expected: experiment_000, experiment_001, experiment_002, … (94 names)."
    )


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    assert str(unknown_name("model", "xyzzy", ["cnn", "alexnet"])) == "unknown model 'xyzzy'. Expected: alexnet, cnn."


def test_the_middle_of_a_very_long_message_is_left_out() -> None:
    error = UserError(f"epochs is {'9' * 10_000}. Expected: an integer.")
    assert str(error).startswith("epochs is 999")
    assert str(error).endswith("999. Expected: an integer.")
    assert len(str(error)) < 2000
    assert str(unknown_name("model", "x" * 10_000, ["cnn"])).endswith("Expected: cnn.")


def test_the_error_for_a_name_in_an_empty_table_says_that_it_is_empty() -> None:
    assert str(unknown_name("model", "cnn", [])) == "unknown model 'cnn'. Expected: none at all."


@given(st.sets(names, min_size=1, max_size=3), st.data())
def test_a_name_with_one_letter_too_many_is_still_recognised(known: set[str], data: Any) -> None:
    meant = data.draw(st.sampled_from(sorted(known)))
    written = meant + "x"  # no name contains an x
    said, _, suggestions = str(unknown_name("model", written, known)).partition(" Expected: ")[0].partition("; ")
    assert said == f"unknown model {written!r}"
    assert meant in suggestions.removeprefix("did you mean ").removesuffix("?").split(" or ")


@given(st.sets(names, max_size=8))
def test_every_accepted_name_is_listed_once_and_in_order(known: set[str]) -> None:
    listed = str(unknown_name("model", "x", iter(known))).partition("Expected: ")[2]
    assert listed == (", ".join(sorted(known)) if known else "none at all") + "."


def test_an_exception_with_a_long_message_is_shortened_to_one_line() -> None:
    assert in_one_line(ValueError("first\n  second")) == "ValueError: first second"
    line = in_one_line(RuntimeError("word\n" * 1000))
    assert line.startswith("RuntimeError: word word")
    assert line.endswith(" …")
    assert len(line) <= 500
