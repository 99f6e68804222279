"""The table of runs on a terminal: the columns and rows that it shows, and those that it omits."""

from __future__ import annotations

import io

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from jaxopt_bench.reports import ResultsTable


def printed(frame: pl.DataFrame, width: int = 80, **options: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(ResultsTable(frame, **options))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_fields_that_differ_are_columns_and_equal_fields_are_printed_once():
    lines = printed(
        pl.DataFrame(
            {
                "dataset": ["digits"] * 3,
                "optimizer.name": ["adam", "sgd", "adam"],
                "final.loss": [0.123456, None, 12.0],
                "epochs": [10] * 3,
                "model.channels": [[16, 32]] * 3,
            }
        )
    )
    assert lines[0] == "the same in all 3 rows: dataset digits, epochs 10, model.channels [16, 32]"
    assert [line.split() for line in lines if line.startswith(("adam", "sgd"))] == [
        ["adam", "0.1235"],
        ["sgd", "–"],
        ["adam", "12"],
    ]
    assert [line.split() for line in lines[1:3]] == [["optimizer.", "final."], ["name", "loss"]]


def test_a_value_that_some_rows_lack_is_not_the_same_in_all():
    assert not any("the same" in line for line in printed(pl.DataFrame({"a": [1, None], "b": [1, 2]})))


def test_columns_without_any_value_are_named():
    frame = pl.DataFrame({"a": [1, 2], "b": [None, None], "c": pl.Series([None, None], dtype=pl.Float64)})
    assert printed(frame)[-1] == "without any value: b, c"


def test_a_long_table_shows_its_first_rows_and_counts_the_others():
    lines = printed(pl.DataFrame({"a": list(range(1234))}), most=5)
    assert [line.strip() for line in lines if line.strip().isdecimal()] == list("01234")
    assert lines[-1] == "… and 1,229 more rows of 1,234"
    assert not any("more rows" in line for line in printed(pl.DataFrame({"a": list(range(5))}), most=5))


def test_rows_that_are_not_shown_also_determine_whether_a_column_differs():
    lines = printed(pl.DataFrame({"a": [7] * 9 + [8], "b": [1] * 10}), most=3)
    assert lines[0] == "the same in all 10 rows: b 1"
    assert sum(line.strip() == "7" for line in lines) == 3


@settings(max_examples=30)
@given(st.integers(1, 30), st.integers(3, 5), st.integers(40, 200))
def test_columns_fit_the_terminal_or_are_named_below(columns, rows, width):
    frame = pl.DataFrame(
        {f"part.field_number_{i}": [f"value {i} {row // 2}" for row in range(rows)] for i in range(columns)}
    )
    lines = printed(frame, width)
    assert max(map(len, lines)) <= width
    shown = sum(any(f"value {i} 0" in line for line in lines) for i in range(columns))
    below = " ".join(lines).partition("not shown: ")[2]
    assert shown + below.count("part.field_number_") == columns
    assert shown >= 1
    assert "…" not in "".join(lines)


def test_a_narrow_table_first_omits_columns_with_a_different_value_in_each_row():
    frame = pl.DataFrame({"path": ["run/" + 20 * str(i) for i in range(4)], "kind": ["first", "other"] * 2})
    assert printed(frame, width=40)[0].split() == ["path", "kind"]
    assert printed(frame, width=20)[0].split() == ["kind"]
    assert printed(frame, width=20)[-1] == "not shown: path"


def test_a_single_row_is_printed_as_a_list_of_complete_values():
    path = "a/" * 30 + "end"
    lines = printed(pl.DataFrame({"path": [path], "final.loss": [0.25], "empty": [None]}), width=100)
    assert [line.split() for line in lines[:2]] == [["path", path], ["final.loss", "0.25"]]
    assert lines[2] == "without any value: empty"


def test_without_rows_the_columns_are_named():
    assert printed(pl.DataFrame(schema={"a": pl.Int64, "b": pl.String})) == ["no rows; columns: a, b"]


def test_equal_rows_are_printed_without_a_table():
    assert printed(pl.DataFrame({"a": [1, 1], "b": ["x", "x"]})) == ["the same in all 2 rows: a 1, b x"]


def test_without_folding_equal_and_empty_columns_are_shown():
    out = io.StringIO()
    asked = pl.DataFrame({"optimizer": ["adam", "sgd"], "n": [3, 3], "none": pl.Series([None, None], dtype=pl.Int64)})
    Console(file=out, width=80).print(ResultsTable(asked, folds=False))
    head, _, *rows = [line.split() for line in out.getvalue().splitlines() if line.strip()]
    assert head == ["optimizer", "n", "none"]
    assert rows == [["adam", "3", "–"], ["sgd", "3", "–"]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.958333313, "0.9583"),
        (1.5e-7, "1.5e-07"),
        (20461.52, "20,462"),
        (3e12, "3e+12"),
        (100.0, "100"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (20240101, "20240101"),
        (True, "true"),
        ([0.5, 100.0], "[0.5, 100]"),
        ("trials/digits_cnn_adamw/of_a_study/01b931576de6", "trials/dig…_a_study/01b931576de6"),
    ],
)
def test_values_are_short(value, text):
    assert text in "\n".join(printed(pl.DataFrame({"a": [value, None]}))).split("\n")[-2].strip()


def test_markup_and_control_characters_in_files_are_not_interpreted():
    frame = pl.DataFrame({"a[red]": ["[bold]x[/bold]", "\x1b[2J\x07y\nz"], "b": ["[/]", "[/]"], "c\x1b]0;": ["1", "2"]})
    text = "\n".join(printed(frame))
    assert "[bold]x[/bold]" in text
    assert "b [/]" in text
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "�[2J�y�z" in text
