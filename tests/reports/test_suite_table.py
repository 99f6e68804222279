"""The table of optimizers over all workloads, on a terminal and as text."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from jaxopt_bench.cli.answer import print_suite
from jaxopt_bench.reports.suite_table import suite_table
from jaxopt_bench.verdict import compute_suite_verdict, verdict
from tests.verdict.suites import suite
from tests.verdict.test_suite import QUALITIES


def made(qualities=QUALITIES, **fields):
    results, document = suite(qualities, **fields)
    return compute_suite_verdict(results, document, verdict(results, document))


def test_each_row_has_the_numbers_of_the_verdict():
    found = made()
    table = suite_table(found)
    assert table.title == "Results over 7 workloads"
    assert [row[0] for row in table.rows] == ["adam", "adamw", "sgd"]
    row = dict(zip(table.columns, table.rows[0], strict=True))
    own = found.scores["adam"]
    assert row["score"] == f"{own.value:.2f}\n({own.over_seeds[0]:.2f} to {own.over_seeds[1]:.2f})"
    assert row["score, other workloads"] == f"{own.over_workloads[0]:.2f} to {own.over_workloads[1]:.2f}"
    assert row["mean rank"].startswith(f"{found.ranks['adam'].value:.1f}\n(")
    share = found.speed_ups["adam"]
    assert row["steps to results of adamw"].startswith(
        f"{100 * share.value:.0f}%\n({100 * share.over_seeds[0]:.0f}% to"
    )
    assert row["reached on"] == "6 of 7"
    assert table.rows[1][-2:] == ("–", "–")  # the reference itself
    assert table.rows[2][-2] == "not reached"
    numbers = {row["optimizer"]: row for row in table.numbers.to_dicts()}
    assert numbers["adam"]["score"] == own.value
    assert numbers["sgd"]["steps_share"] is None
    assert not any(isinstance(v, float) and math.isinf(v) for row in numbers.values() for v in row.values())


@pytest.mark.parametrize("width", [80, 100])
def test_a_terminal_shows_the_columns_that_fit_its_width(width):
    """The longest name, schedule_free_adamw, has 19 characters."""
    names = {"sgd": "schedule_free_sgd", "adamw": "adamw", "adam": "schedule_free_adamw"}
    console = Console(width=width, file=io.StringIO(), color_system=None)
    print_suite(made({names[name]: own for name, own in QUALITIES.items()}), console)
    shown = console.file.getvalue()
    assert all(f" {name} " in shown for name in names.values())
    assert "not reached" in shown
    assert ("1 of 7" in shown) == (width == 100)
    assert "…" not in shown


def test_missing_intervals_are_dashes_and_a_missing_reference_has_no_columns():
    found = made(
        {name: {w: own[w] for w in ("loss_a", "gap_a")} for name, own in QUALITIES.items() if name != "adamw"}, seeds=2
    )
    table = suite_table(found)
    assert table.columns[-1] == "rank, other workloads"
    assert table.rows[0][2] == table.rows[0][4] == "–"


def test_a_reference_without_results_is_named(capsys):
    qualities = {name: dict.fromkeys(["digits_a", "gap_a"], 1.0 + 0.1 * i) for i, name in enumerate(["sgd", "lion"])}
    results, document = suite(qualities)
    found = compute_suite_verdict(results, document, verdict(results, document), "adamw")
    print_suite(found, Console(width=200), "adamw")
    assert "adamw has no confirmed results yet, so nothing is compared with it." in capsys.readouterr().out
    print_suite(found, Console(width=200))
    assert "nothing is compared" not in capsys.readouterr().out
