"""Contenders count as significantly worse if they are worse or all their trials diverge, and rarely by chance."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest
import scipy.stats

from jaxopt_bench.statistics import holm
from jaxopt_bench.verdict import SUITE, compute_suite_verdict, find_worse_contenders, verdict
from tests.verdict.builders import selection
from tests.verdict.suites import suite

WORKLOADS = ["digits_a", "digits_b", "gap_a", "gap_b", "loss_a", "loss_b", "loss_c"]
EQUAL = {name: dict.fromkeys(WORKLOADS, 1.0) for name in ("adamw", "mine", "other")}


def worse(qualities, added=("mine",), **fields):
    made, document = suite(qualities, **fields)
    found = verdict(made, document)
    return find_worse_contenders(made, document, found, compute_suite_verdict(made, document, found), "adamw", added)


def test_a_contender_is_worse_only_on_the_workload_with_a_lower_quality():
    found = worse({**EQUAL, "mine": EQUAL["mine"] | {"loss_b": 0.5}}, deviation=0.02)
    assert [(each.contender, each.workload) for each in found] == [("mine", "loss_b")]
    assert found[0].words.startswith("test loss worse by 0.2")
    assert worse({**EQUAL, "mine": EQUAL["mine"] | {"loss_b": 2.0}}, deviation=0.02) == []  # better
    assert worse({**EQUAL, "other": EQUAL["mine"] | {"loss_b": 0.5}}, deviation=0.02) == []  # not requested


def test_small_differences_of_one_sign_are_a_difference_over_all_workloads():
    twelve = [f"loss_{i}" for i in range(12)]
    slower = {"adamw": dict.fromkeys(twelve, 1.0), "mine": dict.fromkeys(twelve, 0.97)}
    found = worse(slower, deviation=0.06, seeds=3)
    (only,) = (each for each in found if each.workload == SUITE)
    assert only.contender == "mine"
    assert len(found) < 6  # on most single workloads there is no difference
    assert only.words == "worse on 12 of 12 workloads"
    made, document = suite(slower, deviation=0.06, seeds=3)
    whole = compute_suite_verdict(made, document, verdict(made, document))
    means = [list(whole.mean_scores(name).values()) for name in slower]
    signed = scipy.stats.wilcoxon(*means, method="exact").pvalue
    p_values = [pair.difference.p_value for ranking in verdict(made, document).rankings for pair in ranking.pairs]
    assert only.adjusted == pytest.approx(holm([*p_values, signed])[-1])
    assert signed == 2**-11


def test_equal_contenders_are_rarely_worse(monkeypatch):
    """The probability that any of 2 added contenders is called worse on 2 workloads or over both is at most 5%."""
    few = {name: dict.fromkeys(WORKLOADS[4:6], 1.0) for name in EQUAL}
    called = 0
    for seed in range(60):
        monkeypatch.setattr("tests.verdict.suites.SEED", seed)
        called += bool(worse(few, added=("mine", "other"), deviation=0.1, seeds=3))
    assert called <= 7  # with a rate of 5%, the probability of more than 7 is 1%


def test_a_contender_whose_trials_all_diverge_is_worse():
    made, document = suite(EQUAL)
    gone = (pl.col("contender") == "mine") & (pl.col("workload") == "gap_a")
    trial = (
        made.runs.filter(gone)
        .head(1)
        .with_columns(pl.lit("trial").alias("phase"), pl.lit("diverged").alias("status"), pl.lit("t").alias("path"))
    )
    made = dataclasses.replace(made, runs=pl.concat([made.runs.filter(~gone), trial]))
    winners = [s for s in document.selections if (s.contender, s.workload) != ("mine", "gap_a")]
    document = dataclasses.replace(document, selections=(*winners, selection("mine", None, workload="gap_a")))
    found = verdict(made, document)
    assert found.complete
    (only,) = find_worse_contenders(
        made, document, found, compute_suite_verdict(made, document, found), "adamw", ("mine",)
    )
    assert (only.contender, only.workload, only.adjusted, only.words) == ("mine", "gap_a", None, "all trials diverged")


def test_a_single_seed_does_not_show_that_a_contender_is_worse():
    assert worse({**EQUAL, "mine": EQUAL["mine"] | {"loss_b": 0.2}}, seeds=1) == []
