"""Rows of results, one for each setting, from runs."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import pytest

from jaxopt_bench.optimizers import AdamW
from jaxopt_bench.results import rows_by_setting
from jaxopt_bench.runs import SPLITS, Run
from tests.results.directories import METRICS


def finished(experiment: Any, loss: float | None) -> Run:
    """Returns a run with this validation loss, or a diverged run if it is None."""
    final = {f"{split}_{name}": None for split in SPLITS for name in ("loss", "accuracy")} | {"validation_loss": loss}
    summary = {"status": "diverged" if loss is None else "completed", "final": final}
    config = {"experiment": experiment.to_json(), "metrics": [metric.to_json() for metric in METRICS]}
    return Run(pathlib.Path("runs"), config, [], summary)


def test_seeds_of_a_setting_share_a_row_and_settings_keep_their_order(tiny):
    losses = {(0.1, 0): 3.0, (0.1, 1): 5.0, (0.01, 0): 1.0, (0.01, 1): None}
    runs = [
        finished(dataclasses.replace(tiny, optimizer=AdamW(learning_rate=rate), seed=seed), loss)
        for (rate, seed), loss in losses.items()
    ]
    first, second = rows_by_setting(runs, ["optimizer.learning_rate"])
    assert first.setting == {"optimizer.learning_rate": 0.1}
    assert (first.runs, first.diverged, first.results["validation_loss"].mean) == (2, 0, 4.0)
    assert second.setting == {"optimizer.learning_rate": 0.01}
    assert (second.runs, second.diverged) == (2, 1)
    assert (second.results["validation_loss"].mean, second.results["validation_loss"].interval) == (1.0, None)
    assert "test_loss" not in first.results


def test_a_run_that_ended_with_a_loss_that_is_not_finite_counts_as_diverged(tiny):
    runs = [finished(dataclasses.replace(tiny, seed=seed), 1.0) for seed in (0, 1, 2)]
    assert runs[2].summary is not None
    runs[2].summary["final"]["validation_loss"] = None
    (row,) = rows_by_setting(runs, [])
    assert (row.runs, row.diverged, row.results["validation_loss"].count) == (3, 1, 2)


def test_without_fields_all_runs_are_one_row(tiny):
    (row,) = rows_by_setting([finished(dataclasses.replace(tiny, seed=s), 1.0 + s) for s in range(3)], [])
    assert row.setting == {}
    assert row.results["validation_loss"].mean == pytest.approx(2)


def test_a_setting_of_which_all_runs_diverged_has_no_results(tiny):
    (row,) = rows_by_setting([finished(tiny, None)], ["optimizer.b1"])
    assert (row.results, row.diverged) == ({}, 1)
