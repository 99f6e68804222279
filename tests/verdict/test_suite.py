"""The verdict over several workloads of different kinds, compared with separate calculations in NumPy and SciPy."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re

import numpy as np
import polars as pl
import pytest
import scipy.stats

from jaxopt_bench.measures import Measure
from jaxopt_bench.optimizers.custom import USERS
from jaxopt_bench.problems import Metric
from jaxopt_bench.statistics import holm
from jaxopt_bench.verdict import compute_suite_verdict, describe_suite_verdict, verdict
from jaxopt_bench.verdict.curves import curves_of
from jaxopt_bench.verdict.score_scale import score_scale
from tests.verdict.builders import selection
from tests.verdict.suites import suite

WORKLOADS = ["digits_a", "digits_b", "gap_a", "gap_b", "loss_a", "loss_b", "loss_c"]
QUALITIES = {
    "sgd": dict.fromkeys(WORKLOADS, 0.6) | {"gap_a": 0.9},
    "adamw": dict.fromkeys(WORKLOADS, 0.8),
    "adam": dict.fromkeys(WORKLOADS, 1.2) | {"gap_b": 0.7},
}
WITHOUT_REFERENCE = {"nadam" if name == "adamw" else name: own for name, own in QUALITIES.items()}


def judged(qualities=QUALITIES, reference=None, **fields):
    """Returns the verdict over all workloads of a suite."""
    made, document = suite(qualities, **fields)
    return compute_suite_verdict(made, document, verdict(made, document), reference)


def finals(qualities=QUALITIES, **fields) -> dict[str, dict[str, list[float]]]:
    """Returns the results of the confirmations by contender and workload, in the unit of the headline metric."""
    made, _ = suite(qualities, **fields)
    columns = {"digits": "final.test_accuracy", "gap": "final.train_clean_gap", "loss": "final.test_loss"}
    found: dict[str, dict[str, list[float]]] = {}
    for row in made.runs.to_dicts():
        kind = row["workload"].partition("_")[0]
        found.setdefault(row["contender"], {}).setdefault(row["workload"], []).append(row[columns[kind]])
    return found


def scores_anew(results: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, np.ndarray]]:
    """Returns the scores of results: accuracies on a linear scale, losses and gaps on a logarithmic scale."""

    def position(workload, values):
        return np.asarray(values) if workload.startswith("digits") else -np.log(values)

    zeros = {"digits": 0.1, "gap": -np.log(24.2), "loss": -np.log(2.302585092994046)}
    ones = {w: max(position(w, own[w]).mean() for own in results.values()) for w in WORKLOADS}
    return {
        name: {
            w: np.maximum(0, (position(w, own[w]) - (zero := zeros[w.partition("_")[0]])) / (ones[w] - zero))
            for w in WORKLOADS
        }
        for name, own in results.items()
    }


def test_scores_are_positions_between_an_untrained_model_and_the_best_mean():
    found = judged()
    expected = scores_anew(finals())
    for name, own in expected.items():
        for workload, values in own.items():
            assert found.runs[name][workload] == pytest.approx(values)
        every = np.concatenate([*own.values()])
        assert found.scores[name].value == pytest.approx(scipy.stats.trim_mean(every, 0.25))
    assert [*found.runs] == ["adam", "adamw", "sgd"]  # the best first
    best = [max(np.mean(own[w]) for own in found.runs.values()) for w in WORKLOADS]
    assert best == pytest.approx([1.0] * 7)


def test_ranks_tests_and_pairs_are_calculated_from_the_mean_scores():
    found = judged(WITHOUT_REFERENCE)
    means = np.array([[np.mean(own[w]) for w in WORKLOADS] for own in found.runs.values()])
    ranks = scipy.stats.rankdata(-means, axis=0)
    assert [found.ranks[name].value for name in found.runs] == pytest.approx(ranks.mean(axis=1))
    assert found.friedman.mean_ranks == pytest.approx(ranks.mean(axis=1))
    assert found.friedman.statistic == pytest.approx(scipy.stats.friedmanchisquare(*means).statistic)
    p_values = [scipy.stats.wilcoxon(a, b, method="exact").pvalue for a, b in itertools.combinations(means, 2)]
    assert [pair.p_value for pair in found.pairs] == pytest.approx(p_values)
    assert [pair.adjusted for pair in found.pairs] == pytest.approx(holm(p_values))
    pair = found.pair("adam", "sgd")
    assert (pair.first, pair.second, pair.better_on) == ("adam", "sgd", 7)
    assert pair.adjusted == pytest.approx(3 / 64)
    assert pair.significant
    assert not found.pair("adam", "nadam").significant  # better on 6 of 7
    assert found.likely_ahead("adam", "sgd")
    assert not found.likely_ahead("sgd", "adam")
    assert not found.likely_ahead("adam", "nadam")
    assert (found.focus, found.tested_pairs) == ((), 3)
    assert found.least_p_value == pytest.approx(3 / 64)


def test_with_a_reference_only_its_pairs_are_tested():
    found = judged()
    assert (found.focus, found.tested_pairs) == (("adamw",), 2)
    assert found.least_p_value == pytest.approx(2 / 64)
    tested = [found.pair(other, "adamw") for other in ("adam", "sgd")]
    assert [pair.adjusted for pair in tested] == pytest.approx(holm([pair.p_value for pair in tested]))
    untested = found.pair("adam", "sgd")
    assert (untested.p_value, untested.adjusted, untested.significant) == (2 / 2**7, None, False)


def test_with_users_optimizers_only_their_pairs_are_tested():
    made, document = suite(QUALITIES)
    own = USERS.record("mine.py:adam", "0" * 12, {})
    contenders = [dataclasses.replace(c, optimizer=own) if c.name == "adam" else c for c in document.study.contenders]
    document = dataclasses.replace(document, study=dataclasses.replace(document.study, contenders=tuple(contenders)))
    found = compute_suite_verdict(made, document, verdict(made, document))
    assert (found.reference, found.focus) == ("adamw", ("adam",))
    assert {frozenset((p.first, p.second)) for p in found.pairs if p.adjusted is not None} == {
        frozenset(("adam", "sgd")), frozenset(("adam", "adamw"))
    }  # fmt: skip
    said = describe_suite_verdict(found)
    assert "sgd is likely to be behind adam; for adamw this depends on the choice of workloads (" in said


def test_differences_to_the_reference_equal_those_of_the_pairs():
    made, document = suite(QUALITIES)
    rankings = verdict(made, document).rankings
    found = compute_suite_verdict(made, document, verdict(made, document))
    assert found.reference == "adamw"
    for ranking in rankings:
        for name in ("sgd", "adam"):
            values = finals()
            sign = 1 if ranking.workload.startswith("digits") else -1
            lead = sign * (np.mean(values[name][ranking.workload]) - np.mean(values["adamw"][ranking.workload]))
            versus = found.versus[name][ranking.workload]
            pair = next(p for p in ranking.pairs if {p.first, p.second} == {name, "adamw"})
            assert versus.lead.mean == pytest.approx(lead)
            assert versus.lead.low <= lead <= versus.lead.high
            assert (versus.adjusted, versus.significant) == (pair.adjusted, pair.significant)


def needed(quality: float) -> float:
    """Returns the share of steps to the final loss of quality 0.8, interpolated between the ends of 4 epochs."""
    ends = np.exp(-4 * quality * np.arange(1, 5) / 4)
    return float(np.interp(-np.exp(-3.2), -ends, np.arange(1, 5) / 4))


def test_speed_ups_equal_those_of_the_exponential_curves():
    """The loss is start · exp(−4 q t), so the final loss of quality 0.8 is reached at t = 0.8 / q."""
    found = judged(deviation=1e-6)
    for name, workload, quality in (("adam", "loss_a", 1.2), ("sgd", "gap_a", 0.9), ("adam", "digits_a", 1.2)):
        share = found.versus[name][workload].speed_up.share
        assert share == pytest.approx(needed(quality), abs=1e-4)
        assert 0.8 / quality < share < 0.8 / quality + 0.05  # linear interpolation is late
    assert found.versus["adam"]["gap_b"].speed_up.share == math.inf
    assert found.versus["sgd"]["loss_a"].speed_up.reaching == 0
    assert found.speed_ups["adam"].value == pytest.approx(needed(1.2), abs=1e-4)
    assert found.speed_ups["sgd"].value == math.inf
    assert found.versus["adam"]["digits_a"].curve.name == "validation_accuracy"
    assert found.versus["adam"]["gap_a"].curve.name == "train_clean_loss"


def test_the_reference_can_be_chosen_and_without_one_nothing_is_compared():
    assert judged(reference="sgd").reference == "sgd"
    without = judged(WITHOUT_REFERENCE)
    assert without.reference is None
    assert (without.versus, without.speed_ups) == ({}, {})
    assert "steps" not in describe_suite_verdict(without)


def test_a_run_that_diverged_has_the_score_and_the_curve_of_an_untrained_model():
    diverging = {"adam": [("digits_a", 1), ("loss_a", 0)]}
    found = judged(diverging=diverging)
    assert found.runs["adam"]["digits_a"][1] == found.runs["adam"]["loss_a"][0] == 0
    assert min(found.runs["adam"]["digits_b"]) > 0.5
    made, document = suite(QUALITIES, diverging=diverging)
    curves = curves_of(made, document, "digits_a")
    assert curves.of["adam"][1, 2:].tolist() == [0.1, 0.1]
    assert (curves.of["adam"][1, :2] > 0.2).all()
    assert found.versus["adam"]["digits_a"].speed_up.reaching <= 3 / 4


def test_a_contender_whose_trials_all_diverged_on_a_workload_has_score_0_there():
    made, document = suite(QUALITIES)
    gone = (pl.col("contender") == "adam") & (pl.col("workload") == "loss_a")
    trial = (
        made.runs.filter(gone)
        .head(1)
        .with_columns(pl.lit("trial").alias("phase"), pl.lit("diverged").alias("status"), pl.lit("t").alias("path"))
    )
    made = dataclasses.replace(made, runs=pl.concat([made.runs.filter(~gone), trial]))
    winners = [s for s in document.selections if (s.contender, s.workload) != ("adam", "loss_a")]
    document = dataclasses.replace(document, selections=(*winners, selection("adam", None, workload="loss_a")))
    found = compute_suite_verdict(made, document, verdict(made, document))
    assert found.missing == ()
    assert found.runs["adam"]["loss_a"] == (0.0,) * 4
    assert found.versus["adam"]["loss_a"].lead is None
    assert found.versus["adam"]["loss_a"].speed_up.share == math.inf
    unfinished = dataclasses.replace(document, selections=tuple(winners))
    found = compute_suite_verdict(made, unfinished, verdict(made, unfinished))
    assert found.missing == ("adam",)
    assert [*found.runs] == ["adamw", "sgd"]
    assert "(not compared: the optimizer adam)" in describe_suite_verdict(found)


def test_a_workload_on_which_no_contender_learned_anything_is_left_out():
    useless = {name: own | {"loss_c": 0.0} for name, own in QUALITIES.items()}
    found = judged(useless, deviation=0.0)
    assert found.left_out == ("loss_c",)
    assert "(not compared: the workload loss_c)" in describe_suite_verdict(found)


def test_one_workload_or_one_contender_has_no_verdict_over_workloads():
    assert judged({name: {"loss_a": own["loss_a"]} for name, own in QUALITIES.items()}) is None
    assert judged({"adamw": QUALITIES["adamw"]}) is None


def test_without_an_untrained_value_the_worst_contender_has_the_score_0():
    measure = Measure("test_loss", Metric(name="loss", least=0.0), "test loss")
    scale = score_scale(measure, {"a": [0.1, 0.1], "b": [0.4, 0.9], "c": [0.2, 0.2]})
    assert scale.logarithmic
    assert not scale.zero_is_untrained
    assert (scale.zero, scale.one) == pytest.approx((0.6, 0.1))
    assert scale.score(0.2) == pytest.approx(math.log(3) / math.log(6))
    assert scale.score(0.7) == 0
    assert scale.score(0.05) > 1
    assert score_scale(measure, {"a": [0.1]}) is None


def test_gaps_as_small_as_rounding_errors_count_as_equal():
    gap = Metric(name="gap", least=0.0, untrained=24.0)
    scale = score_scale(Measure("train_clean_gap", gap, "gap"), {"a": [0.0], "b": [1e-7], "c": [1.0]})
    assert scale.floor == 24 * 2**-23
    assert scale.score(0.0) == scale.score(1e-7) == 1
    assert scale.score(1.0) == pytest.approx(math.log(24) / math.log(2**23))


def test_metrics_with_an_upper_bound_are_compared_on_a_linear_scale():
    r2 = Metric(name="r2", higher_is_better=True, greatest=1.0, untrained=0.0)
    scale = score_scale(Measure("test_r2", r2, "test R²"), {"a": [0.8], "b": [0.4]})
    assert not scale.logarithmic
    assert scale.score(0.4) == pytest.approx(0.5)
    assert scale.score(-3) == 0


def test_the_paragraph_names_the_leader_and_the_settled_differences():
    found = judged()
    said = describe_suite_verdict(found)
    assert said.startswith(f"Over 7 workloads, adam has the highest score, {found.scores['adam'].value:.2f} (")
    assert re.search(r"over seeds, \d\.\d\d to \d\.\d\d over workloads\), and the best mean rank, 1\.\d of 3\.", said)
    assert "On other workloads of this kind, no difference between adamw and another optimizer is certain (" in said
    assert "Wilcoxon's signed-rank test over 7 workloads, corrected for 2 pairs" in said
    assert "adam reaches the final results of adamw in the fewest steps: the median over workloads is " in said
    assert "% of the steps of adamw (" in said
    assert "and it reaches the results on 6 of 7 workloads." in said
    assert said.count(". ") <= 5


def test_the_paragraph_without_a_reference_is_about_the_leader():
    said = describe_suite_verdict(judged(WITHOUT_REFERENCE))
    assert "likely to be ahead of sgd; its leads over nadam depend on the choice of workloads" in said
    assert "Wilcoxon's signed-rank test over 7 workloads, corrected for 3 pairs" in said


def test_the_paragraph_states_that_few_workloads_cannot_settle_differences():
    few = ["digits_a", "gap_a", "loss_a", "loss_b"]
    found = judged({name: {w: own[w] for w in few} for name, own in QUALITIES.items()})
    assert found.least_p_value == pytest.approx(2 / 8)
    said = describe_suite_verdict(found)
    assert "cannot be settled" in said
    assert "no difference can have a p value below 0.25" in said
    assert found.scores["adam"].over_workloads is None


def test_the_paragraph_states_that_equal_contenders_are_not_distinguished():
    equal = {name: dict.fromkeys(WORKLOADS, 1.0) for name in QUALITIES}
    found = judged(equal, deviation=0.2)
    assert not any(pair.significant for pair in found.pairs)
    said = describe_suite_verdict(found)
    assert re.search(r"On these workloads, the lead of \w+ over \w+ and \w+ is within the noise of the seeds: ", said)


def test_the_paragraph_states_that_two_seeds_do_not_show_the_noise():
    said = describe_suite_verdict(judged(seeds=2))
    assert "With fewer than 3 results of an optimizer on a workload, nothing can be said of the noise" in said
