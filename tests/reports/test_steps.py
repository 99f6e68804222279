"""Curves within epochs: medians over seeds of the lines of training steps, with the lowest and the highest value."""

from __future__ import annotations

import dataclasses
import statistics

import polars as pl
import pytest

from jaxopt_bench.reports.charts.steps import gradient_norm, loss_of_steps
from jaxopt_bench.reports.style import assign_styles
from jaxopt_bench.reports.workload_data import WorkloadData, split_study
from jaxopt_bench.verdict import verdict
from tests.reports.builders import make_results, make_study

NAMES = ("adam", "sgd")
STYLES = assign_styles(NAMES)


def loss_at(series: str, seed: int, step: int) -> float:
    return 10.0 ** (NAMES.index(series) + 2) / step + (seed - 5000) ** 2


def subject(epochs: int = 1) -> WorkloadData:
    """Returns a study of one workload with a line of training steps every 5 steps of confirmations and trials."""
    results, document = make_results(make_study(NAMES, seeds=4), epochs=epochs)
    rows = results.runs.filter(pl.col("phase").is_in(["confirmation", "trial"])).to_dicts()
    lines = [
        {"path": row["path"], "split": "train_steps", "step": step, "epoch": step / 10,
         "steps": 5, "loss": loss_at(row["contender"], row["seed"], step), "grad_norm": 3.0 * row["seed"] + step}
        for row in rows
        for step in range(5, 10 * epochs + 1, 5)
    ]  # fmt: skip
    steps = pl.DataFrame(lines, schema_overrides={n: results.curves.schema[n] for n in lines[0]})
    results = dataclasses.replace(results, curves=pl.concat([results.curves, steps], how="diagonal"))
    (found,) = split_study(results, document, verdict(results, document))
    return found


def test_a_point_is_the_median_over_confirmations_with_the_lowest_and_the_highest():
    figure = loss_of_steps(subject(), STYLES)
    rows = figure.data["curves"].to_dicts()
    assert [(row["series"], row["step"]) for row in rows] == [("adam", 5), ("adam", 10), ("sgd", 5), ("sgd", 10)]
    for row in rows:
        losses = [loss_at(row["series"], seed, row["step"]) for seed in range(5000, 5004)]
        assert row["mean"] == pytest.approx(statistics.median(losses))
        assert (row["low"], row["high"]) == pytest.approx((min(losses), max(losses)))
        assert row["seeds"] == 4
    assert "bands extend from the lowest to the highest value" in figure.text
    tips = figure.spec()["layer"][2]["encoding"]["tooltip"]
    assert {"low": "lowest", "high": "highest"}.items() <= {tip["field"]: tip.get("title") for tip in tips}.items()
    domain = figure.spec()["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert domain[0] < min(row["low"] for row in rows)
    assert domain[1] > max(row["high"] for row in rows)


def test_the_loss_of_steps_is_shown_for_few_epochs_and_the_gradient_norm_for_all():
    assert loss_of_steps(subject(epochs=4), STYLES) is None
    figure = gradient_norm(subject(epochs=4), STYLES)
    assert figure.data["curves"]["step"].unique().sort().to_list() == [*range(5, 41, 5)]
    assert figure.data["curves"].row(0, named=True)["high"] == 3.0 * 5003 + 5


def test_without_lines_of_training_steps_nothing_is_drawn():
    results, document = make_results(make_study(NAMES))
    (found,) = split_study(results, document, verdict(results, document))
    assert loss_of_steps(found, STYLES) is None
    assert gradient_norm(found, STYLES) is None


def test_a_line_over_few_steps_at_the_end_of_an_epoch_is_left_out():
    results, document = make_results(make_study(NAMES), epochs=1)
    (path, *_) = results.runs.filter(pl.col("phase") == "confirmation")["path"]
    lines = pl.DataFrame(
        {"path": path, "split": "train_steps", "step": [4, 8, 10, 11], "epoch": [0.4, 0.8, 1.0, 1.1],
         "steps": [4, 4, 2, 1], "loss": 1.0, "grad_norm": 1.0}
    )  # fmt: skip
    lines = lines.cast({n: results.curves.schema[n] for n in lines.columns})
    results = dataclasses.replace(results, curves=pl.concat([results.curves, lines], how="diagonal"))
    (found,) = split_study(results, document, verdict(results, document))
    assert found.steps["step"].to_list() == [4, 8, 10]


def test_an_infinite_gradient_norm_is_left_out():
    about = subject()
    steps = about.steps.with_columns(
        pl.when((pl.col("seed") == 5003) & (pl.col("step") == 10))
        .then(float("inf"))
        .otherwise(pl.col("grad_norm"))
        .alias("grad_norm")
    )
    rows = gradient_norm(dataclasses.replace(about, steps=steps), STYLES).data["curves"].to_dicts()
    assert [row["seeds"] for row in rows] == [4, 3, 4, 3]
    assert all(row["high"] < float("inf") for row in rows)
