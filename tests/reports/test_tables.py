"""Tables of a report: they show the numbers of the verdict, and names cannot break their formats."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence

import polars as pl
import pytest
import rich.console

from jaxopt_bench.optimizers import OPTIMIZERS
from jaxopt_bench.problems import Metric
from jaxopt_bench.reports import tables, terminal
from jaxopt_bench.reports.table import Table, csv_text
from jaxopt_bench.reports.workload_data import split_runs, split_study
from jaxopt_bench.results import Results
from jaxopt_bench.study import Target
from jaxopt_bench.verdict import judge_claims, verdict
from tests.reports.builders import ACCURACY, ENERGY, R2, make_results, make_study

HOSTILE = "<b>a|b</b> & 50%_{x} \\end{tabular}"


def test_the_csv_file_of_the_ranking_has_the_numbers_of_the_verdict():
    study = make_study(["adam", "sgd"])
    results, document = make_results(study)
    found = verdict(results, document)
    rows = list(csv.DictReader(io.StringIO(tables.ranking_table(found, found.rankings[0]).text("csv"))))
    for row, standing in zip(rows, found.rankings[0].standings, strict=True):
        estimate = standing.results["test_accuracy"]
        assert row["optimizer"] == standing.contender
        assert float(row["test_accuracy"]) == pytest.approx(estimate.mean)
        assert float(row["test_accuracy_low"]) == pytest.approx(estimate.low)
        assert int(row["trials"]) == 4
        assert float(row["cost_seconds"]) == pytest.approx(4 + 3 * 2 + 5)  # trials, finalists, confirmations


def test_seconds_that_were_recorded_before_are_marked():
    results, document = make_results(make_study(["adam", "sgd"]))
    found = verdict(results, document)
    table = tables.ranking_table(found, found.rankings[0], recorded=["sgd"])
    costs = {row[0]: row[-1] for row in table.rows}
    assert costs == {"adam": "15 s", "sgd": "15 s*"}
    assert "Seconds with * were recorded before" in table.note
    assert "*" not in tables.ranking_table(found, found.rankings[0]).note


def test_finalists_are_listed_in_the_order_of_their_choice_with_their_results():
    results, document = make_results(make_study(["adam", "sgd"], trials=2))
    adam, sgd = document.selections
    adam = dataclasses.replace(adam, trial=0, finalists={1: None, 0: 0.25})
    found = verdict(results, dataclasses.replace(document, selections=(adam, sgd)))
    table = tables.finalists_table(found, found.rankings[0])
    assert table is not None
    assert table.columns == ("optimizer", "trial", "mean validation loss", "selected")
    assert [row[1:] for row in table.rows if row[0] == "adam"] == [("1", "–", "no"), ("0", "0.2500 nats", "yes")]
    assert "trained again with 2 other seeds" in table.note
    rows = [row for row in csv.DictReader(io.StringIO(table.text("csv"))) if row["optimizer"] == "adam"]
    assert [(row["trial"], row["value"], row["selected"]) for row in rows] == [
        ("1", "", "false"),
        ("0", "0.25", "true"),
    ]
    results, document = make_results(make_study(["adam", "sgd"], finalists=0))
    found = verdict(results, document)
    assert tables.finalists_table(found, found.rankings[0]) is None


def test_contenders_without_a_winner_are_listed_last():
    study = make_study(["adam", "sgd"])
    results, document = make_results(study, diverged=["sgd"])
    found = verdict(results, document)
    table = tables.ranking_table(found, found.rankings[0])
    assert [row[0] for row in table.rows] == ["adam", "sgd"]
    assert set(table.rows[-1][1:]) == {"–"}


def test_runs_that_diverged_are_named_with_their_steps():
    study = make_study(["adam", "sgd"])
    results, document = make_results(study, diverged=["sgd"])
    (subject,) = split_study(results, document, verdict(results, document))
    table = tables.divergence_table(subject)
    assert table is not None
    assert {row[0] for row in table.rows} == {"sgd"}
    assert [row[-1] for row in table.rows] == ["7"] * 4


def test_with_several_searches_diverged_runs_are_listed_with_their_search():
    study = make_study(["adam", "sgd"], repetitions=2)
    results, document = make_results(study, diverged=["sgd"])
    (subject,) = split_study(results, document, verdict(results, document))
    table = tables.divergence_table(subject)
    assert table is not None
    place = table.columns.index("search")
    assert [row[place] for row in table.rows] == ["1"] * 4 + ["2"] * 4


@pytest.mark.parametrize(("repetitions", "word"), [(1, "seeds"), (2, "searches")])
def test_the_columns_of_pairs_name_the_unit_that_is_counted(repetitions, word):
    results, document = make_results(make_study(["adam", "sgd"], repetitions=repetitions))
    found = verdict(results, document)
    table = tables.pairs_table(found, found.rankings[0])
    assert table is not None
    assert table.columns[-1] == f"{word} needed"
    assert table.columns[-2] == f"wins, of pairs of {'runs' if repetitions == 1 else 'searches'}"


def test_the_table_of_pairs_has_the_numbers_of_the_verdict():
    results, document = make_results(make_study(["adam", "sgd", "padam"]))
    found = verdict(results, document)
    table = tables.pairs_table(found, found.rankings[0])
    assert table is not None
    assert "adjusted for 3 comparisons" in table.note
    rows = list(csv.DictReader(io.StringIO(table.text("csv"))))
    for row, cells, pair in zip(rows, table.rows, found.rankings[0].pairs, strict=True):
        assert cells[0] == f"{pair.first} over {pair.second}"
        assert cells[4] == ("yes" if pair.significant else "no")
        assert cells[5] == f"{pair.wins:g} of {pair.of}"
        assert float(row["difference_low"]) == pytest.approx(pair.difference.estimate.low)
        assert float(row["p_adjusted"]) == pytest.approx(pair.adjusted)
        assert (row["significant"] == "true") == pair.significant


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_complete_numbers_and_does_not_interpret_markup(width):
    study = make_study(["adam", "sgd"])
    results, document = make_results(study)
    found = verdict(results, document)
    table = tables.ranking_table(found, found.rankings[0])
    columns = {"optimizer": "[red]x[/]", "test accuracy": "29.30%\n(27.12 to 31.48)",
               "clean training loss": "2.7156\n(2.6327 to 2.7986)", "trials": "6\n(1 diverged)",
               "steps to target": "not reached", "cost": "2 h 31 min"}  # fmt: skip
    table = dataclasses.replace(table, columns=tuple(columns), rows=(tuple(columns.values()),))
    console = rich.console.Console(width=width, file=io.StringIO())
    console.print(terminal(table, leave_out=["trials"]))
    console.print(terminal(table))
    without, whole = console.file.getvalue().split("Results on", 2)[1:]
    for text in ("[red]x[/]", "29.30%", "27.12–31.48", "2.6327–2.7986", "not reached", "2 h 31 min"):
        assert text in without
        assert text in whole
    assert "1 diverged" in whole
    assert "diverged" not in without
    assert " ".join(table.note.split()) in " ".join(whole.split())


def test_a_target_that_most_runs_miss_is_not_reached():
    target = Target(workload="digits_cnn", measure="validation_accuracy", value=0.999)
    results, document = make_results(make_study(["adam", "sgd"], targets=(target,)))
    found = verdict(results, document)
    standings = tuple(dataclasses.replace(s, steps=step, seconds=None) for s, step in
                      zip(found.rankings[0].standings, (1234.0, None), strict=True))  # fmt: skip
    table = tables.ranking_table(found, dataclasses.replace(found.rankings[0], standings=standings))
    place = table.columns.index("steps to target")
    assert [row[place] for row in table.rows] == ["1,234", "not reached"]
    assert place in table.numeric


def test_claims_are_listed_with_their_answers():
    study = make_study(["adam", "sgd"])
    results, document = make_results(study)
    table = tables.claims_table(judge_claims(results, document))
    assert table is not None
    assert table.rows[0][:2] == ("adam is better than sgd", "contradicted")


def test_special_characters_in_names_do_not_end_a_cell():
    table = Table("t", "title", ("name", "value"), ((HOSTILE, "1"),), pl.DataFrame({"name": [HOSTILE], "value": [1]}))
    markdown = table.text("md").splitlines()
    assert all(line.replace("\\|", "").count("|") == 3 for line in markdown)
    assert "<b>" not in table.text("md")
    latex = table.text("tex")
    assert latex.count("\\end{tabular}") == 1
    assert "50\\%\\_\\{x\\}" in latex
    assert "\\toprule" in latex
    assert list(csv.reader(io.StringIO(table.text("csv"))))[1] == [HOSTILE, "1"]


@pytest.mark.parametrize(
    "formula", ["=1+1", "+1+a", "-a", "-", "-1-1", "+", "@a", "\t=1", "\r=1", "\n=1", "-1 =2", "--1", "+1 2 A1"]
)
def test_text_that_a_spreadsheet_would_read_as_a_formula_is_quoted(formula: str):
    table = Table("t", "title", ("name",), ((formula,),), pl.DataFrame({"name": [formula], "value": [-1.0]}))
    assert list(csv.reader(io.StringIO(table.text("csv"))))[1] == [f"'{formula}", "-1.0"]


def test_markup_in_names_is_escaped_in_markdown():
    name = "![x](https://example.org/x.png) *a* `b`\rc"
    (*_, line) = Table("t", "t", ("name",), ((name,),), pl.DataFrame({"name": [name]})).text("md").splitlines()
    assert "\\!\\[x\\]" in line
    assert "\\*a\\*" in line


def test_intervals_stay_on_one_line_in_files():
    study = make_study(["adam", "sgd"])
    results, document = make_results(study)
    found = verdict(results, document)
    table = tables.ranking_table(found, found.rankings[0])
    assert len(table.text("md").strip().splitlines()) == 2 + len(table.rows)


def test_column_titles_are_not_formulas_and_numbers_are_not_quoted():
    values = {"=A1": [-1.5], "@b": [True], "+": ["-2.5e-3"], "-1": [[-1.0, 2.5]], 'a,"b': ["+7"], "'=A1": [None]}
    header, line = csv.reader(io.StringIO(csv_text(pl.DataFrame(values))))
    assert header == ["'=A1", "'@b", "'+", "'-1", 'a,"b', "'=A1"]
    assert line == ["-1.5", "true", "-2.5e-3", "-1.0 2.5", "+7", ""]


@pytest.mark.parametrize(
    ("metrics", "columns", "direction", "lead"),
    [
        (ACCURACY, ("test accuracy", "clean training loss (nats)"),
         "Higher test accuracy and lower clean training loss are better.", "lead in test accuracy (points)"),
        (ENERGY, ("test energy error (meV)", "clean training loss"),
         "Lower test energy error and lower clean training loss are better.", "lead in test energy error (meV)"),
        (R2, ("test R²", "clean training loss (m²)"),
         "Higher test R² and lower clean training loss are better.", "lead in test R²"),
        (ENERGY[1:], ("test loss", "clean training loss"),
         "Lower test loss and lower clean training loss are better.", "lead in test loss"),
    ],
)  # fmt: skip
def test_tables_have_the_units_and_directions_of_the_metrics(
    metrics: Sequence[Metric], columns: Sequence[str], direction: str, lead: str
):
    results, document = make_results(make_study(["adam", "sgd"]), metrics=metrics)
    found = verdict(results, document)
    (ranking,) = found.rankings
    table = tables.ranking_table(found, ranking)
    assert table.columns[1:3] == columns
    assert table.note.endswith(direction)
    for row, standing in zip(table.rows, ranking.standings, strict=True):
        for cell, metric, measure in zip(
            row[1:3], (metrics[0], metrics[-1]), (f"test_{metrics[0].name}", "train_clean_loss"), strict=True
        ):
            assert cell.split("\n")[0] == metric.format(standing.results[measure].mean)
    pairs = tables.pairs_table(found, ranking)
    assert pairs is not None
    assert pairs.columns[1] == lead
    assert pairs.rows[0][1].startswith("+")  # the first optimizer is better, in either direction of the metric


def test_settings_of_any_problem_are_shown_on_the_splits_that_were_measured():
    results, _ = make_results(
        make_study(["adam", "sgd"]), metrics=ENERGY, splits=("train", "train_clean", "validation")
    )
    names = ("study", "phase", "workload", "contender")
    runs = results.runs.with_columns(pl.lit(None, pl.String).alias(name) for name in names)
    (subject,) = split_runs(Results(runs, results.curves))
    table = tables.settings_table(subject)
    assert table.columns == ("optimizer", "validation energy error (meV)", "clean training loss", "runs", "diverged")
    assert "Lower validation energy error and lower clean training loss are better." in table.note


def test_many_optimizers_without_results_are_counted_below_the_table():
    names = ["adam", "sgd", *(name for name in OPTIMIZERS if name not in ("adam", "sgd"))][:12]
    results, document = make_results(make_study(names), diverged=names[2:])
    found = verdict(results, document)
    table = tables.ranking_table(found, found.rankings[0])
    assert {row[0] for row in table.rows} == {"adam", "sgd"}
    assert table.note.endswith(" 10 optimizers have no confirmed results yet.")
