"""The table of a sweep: its numbers, and its width on a terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from jaxopt_bench.errors import UserError
from jaxopt_bench.problems import Metric
from jaxopt_bench.reports import sweep_table
from jaxopt_bench.reports.sweep import WIDTH, best_row, chosen_split, dots
from jaxopt_bench.results import SettingRow
from jaxopt_bench.statistics import Estimate
from tests.reports.builders import ACCURACY, ENERGY

RATE = "optimizer.learning_rate"


def row(rate: float, loss: float, accuracy: float, margin: float | None = None, diverged: int = 0) -> SettingRow:
    loss_interval, interval = (None if margin is None else (m - margin, m + margin) for m in (loss, accuracy))
    results = {
        "validation_loss": Estimate(loss, loss_interval, 3),
        "validation_accuracy": Estimate(accuracy, interval, 3),
    }
    return SettingRow({RATE: rate}, results if diverged < 3 else {}, 3, diverged)


def printed(rows: list[SettingRow], metrics: Sequence[Metric] = ACCURACY) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=80).print(sweep_table(rows, "digits: epoch 3", metrics))
    return out.getvalue().splitlines()


def test_a_row_has_setting_means_and_intervals_and_the_best_row_has_a_star():
    lines = printed([row(1e-3, 0.5, 0.8, 0.01), row(1e-2, 0.25, 0.9, 0.02), row(1e3, 0, 0, diverged=3)])
    (good,) = [line for line in lines if "★" in line]
    assert good.split()[:3] == ["0.01", "0.2500", "90.00%"]
    below = lines[lines.index(good) + 1]
    assert below.split()[:2] == ["(0.2300–0.2700)", "(88.00–92.00)"]
    (lost,) = [line for line in lines if "3 of 3" in line]
    assert lost.split()[:3] == ["1000", "–", "–"]
    assert sum("●" in line for line in lines) == 1
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)


def test_settings_have_four_significant_digits():
    lines = printed([row(0.000372759, 0.5, 0.8), row(0.00517947, 0.25, 0.9)])
    assert any(line.split()[:1] == ["0.0003728"] for line in lines)
    assert any(line.split()[:1] == ["0.005179"] for line in lines)


def test_any_headline_metric_is_plotted_with_its_unit():
    rows = []
    for rate, error, loss in ((0.1, 40.0, 2.0), (0.2, 35.5, 1.0)):
        reached = {"validation_energy_error": Estimate(error, None, 1), "validation_loss": Estimate(loss, None, 1)}
        rows.append(SettingRow({RATE: rate}, reached, 1, 0))
    lines = printed(rows, ENERGY)
    assert any("energy error (meV)" in line for line in lines)
    assert any(line.split() == ["0.2", "1.0000", "35.500", "★"] for line in lines)
    (axis,) = [line for line in lines if "35.500" in line and "40.000" in line]
    assert "loss" in axis
    alone = printed([SettingRow({RATE: 0.1}, {"validation_loss": Estimate(2.0, None, 1)}, 1, 0)], ENERGY[1:])
    assert [line.split() for line in alone if "●" in line or "★" in line] == [["0.1", "2.0000", "★"]]


def test_the_best_row_has_the_lowest_loss_and_no_diverged_runs():
    rows = [row(1, 0.5, 0.8), row(2, 0.1, 0.9, diverged=1), row(3, 0.4, 0.7)]
    assert best_row(rows, "validation") is rows[2]
    assert best_row(rows[1:2], "validation") is None


def test_without_validation_the_test_or_clean_training_split_is_chosen():
    only = [SettingRow({}, {f"{split}_loss": Estimate(1.0, None, 1)}, 1, 0) for split in ("train_clean", "test")]
    assert chosen_split(only) == "test"
    assert chosen_split(only[:1]) == "train_clean"


def test_dots_are_placed_on_the_axis_by_their_value():
    assert dots(Estimate(0.0, None, 1), 0.0, 1.0) == "●" + " " * (WIDTH - 1)
    assert dots(Estimate(1.0, None, 1), 0.0, 1.0) == " " * (WIDTH - 1) + "●"
    middle = dots(Estimate(0.5, (0.0, 1.0), 2), 0.0, 1.0)
    assert (len(middle), middle.count("─"), middle.index("●")) == (WIDTH, WIDTH - 1, round(0.5 * (WIDTH - 1)))
    assert dots(Estimate(0.3, None, 1), 0.3, 0.3).strip() == "●"


def test_a_table_without_rows_is_refused():
    with pytest.raises(UserError, match="at least one run"):
        sweep_table([], "nothing", ACCURACY)
