"""The chart of results against a hyperparameter: means and intervals of optimizers that differ in it."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from jaxopt_bench.optimizers import OPTIMIZERS, Space
from jaxopt_bench.reports.charts.associations import association
from jaxopt_bench.reports.style import assign_styles
from jaxopt_bench.reports.workload_data import split_study
from jaxopt_bench.study import Association, Claim, Contender, Study
from jaxopt_bench.verdict import verdict
from tests.reports.builders import make_results, make_study

NAMES = ("third", "first", "second")
EXPONENTS = {"first": 0.1, "second": 0.2, "third": 0.5}


def make_exponents(**association_fields: object) -> Study:
    contenders = tuple(
        Contender(name=name, optimizer=dataclasses.replace(OPTIMIZERS["padam"], partial=EXPONENTS[name]), space=Space())
        for name in NAMES
    )
    part = Association(**{"field": "optimizer.partial", "contenders": NAMES, **association_fields})
    claim = Claim(text="the exponent matters", source="someone", associations=(part,))
    return make_study(["adam", "sgd"], contenders=contenders, trials=None, seeds=3, claims=(claim,))


@pytest.mark.parametrize(("measure", "unit"), [("test_accuracy", 100.0), ("train_clean_loss", 1.0)])
def test_each_contender_has_the_mean_and_the_interval_of_its_seeds(measure, unit):
    results, document = make_results(make_exponents(measure=measure))
    (subject,) = split_study(results, document, verdict(results, document))
    figure = association(subject, assign_styles(NAMES))
    rows = figure.data["means"].to_dicts()
    assert [(row["series"], row["value"]) for row in rows] == [*EXPONENTS.items()]
    for row in rows:
        values = unit * results.runs.filter(pl.col("contender") == row["series"])[f"final.{measure}"]
        assert row["mean"] == pytest.approx(values.mean())
        assert row["seeds"] == 3
        in_table = subject.ranking.standing(row["series"]).results[measure]
        assert (row["low"], row["high"]) == pytest.approx((unit * in_table.low, unit * in_table.high))
    assert figure.columns["value"] == "partial"
    assert ("Higher is better" in figure.text) == (measure == "test_accuracy")


def test_without_such_a_claim_there_is_no_chart():
    results, document = make_results(make_study(["adam", "sgd"]))
    (subject,) = split_study(results, document, verdict(results, document))
    assert association(subject, assign_styles(("adam", "sgd"))) is None
