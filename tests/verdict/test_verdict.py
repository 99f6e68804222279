"""Verdicts on results made by hand, where the answer is known; their statistics against SciPy."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import statistics

import numpy as np
import pytest
import scipy.stats

from jaxopt_bench.study import Target, Timing
from jaxopt_bench.verdict import paragraph, sample, scores_in_words, sensitivity_in_words, verdict
from tests.verdict.made import confirmed, document, results, row, selection, study, tried

CLEAR = {"adam": [0.95, 0.96, 0.955, 0.952, 0.958], "sgd": [0.90, 0.91, 0.905, 0.899, 0.911]}
CLOSE = {"adam": [0.95, 0.96, 0.94, 0.97, 0.95], "sgd": [0.96, 0.94, 0.95, 0.95, 0.96]}


def judged(accuracies, **fields):
    made = study(list(accuracies), **fields)
    rows = [r for name, values in accuracies.items() for r in confirmed(name, values)]
    return verdict(results(rows), document(made))


def words(found):
    (ranking,) = found.rankings
    return paragraph(found, ranking)


def test_the_best_mean_comes_first_and_differences_are_paired_by_seed():
    found = judged({"sgd": CLEAR["sgd"], "adam": CLEAR["adam"]})
    (ranking,) = found.rankings
    assert [s.contender for s in ranking.standings] == ["adam", "sgd"]
    (pair,) = ranking.pairs
    expected = scipy.stats.ttest_rel(CLEAR["adam"], CLEAR["sgd"])
    low, high = expected.confidence_interval(0.95)
    assert pair.difference.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert (pair.difference.estimate.low, pair.difference.estimate.high) == pytest.approx((low, high), rel=1e-9)
    assert pair.better == 1.0
    assert pair.seen


def test_seeds_are_paired_whatever_the_order_of_the_rows():
    rows = [r for name, values in CLEAR.items() for r in confirmed(name, values)]
    made = study(list(CLEAR))
    shuffled = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    assert verdict(results(shuffled), document(made)) == verdict(results(rows), document(made))


def test_p_values_are_corrected_for_all_pairs():
    accuracies = {**CLEAR, "padam": [0.93, 0.92, 0.95, 0.94, 0.90], "nadam": [0.95, 0.95, 0.955, 0.956, 0.95]}
    (ranking,) = judged(accuracies).rankings
    raw = {
        frozenset((a, b)): scipy.stats.ttest_rel(accuracies[a], accuracies[b]).pvalue
        for a, b in itertools.combinations(accuracies, 2)
    }
    ascending, least = sorted(raw, key=raw.__getitem__), 0.0
    for rank, names in enumerate(ascending):
        least = max(least, min(1.0, (6 - rank) * raw[names]))
        pair = next(p for p in ranking.pairs if {p.first, p.second} == names)
        assert pair.adjusted == pytest.approx(least, rel=1e-9)


def test_a_winner_is_named_only_where_every_difference_is_seen():
    assert "It wins: it is ahead of sgd (by 5.00 points" in words(judged(CLEAR))
    close = words(judged(CLOSE))
    assert "wins" not in close
    assert "No difference can be seen between it and sgd" in close
    some = words(judged({**CLEAR, "padam": [0.951, 0.958, 0.956, 0.95, 0.96]}))
    assert "It is ahead of sgd" in some
    assert "No difference can be seen between it and padam" in some
    assert "wins" not in some


RULES = [
    {"name": "adam", "arrays": 6, "of_arrays": 8, "numbers": 36, "share": 0.36},
    {"name": "muon", "arrays": 2, "of_arrays": 8, "numbers": 64, "share": 0.64},
]


def said_with_rules(recorded: str | None) -> str:
    rows = [
        *confirmed("muon", CLEAR["adam"], inner_rules=recorded),
        *confirmed("sgd", CLEAR["sgd"], inner_rules=None),
    ]
    return words(verdict(results(rows), document(study(["muon", "sgd"]))))


def test_which_parameters_an_inner_rule_updates_is_said():
    muon, adam = "2 of 8 parameter arrays (64% of the numbers)", "6 of 8 parameter arrays (36% of the numbers)"
    assert f"muon applies 2 rules: muon on {muon} and adam on {adam}." in said_with_rules(json.dumps(RULES))


@pytest.mark.parametrize("recorded", [None, "no JSON", "{}", "[1]", json.dumps(RULES[:1])])
def test_records_without_inner_rules_say_nothing_of_them(recorded):
    assert "rules" not in said_with_rules(recorded)


def test_the_seeds_that_are_needed_are_those_of_the_power_of_a_t_test():
    (ranking,) = judged(CLOSE).rankings
    (pair,) = ranking.pairs
    differences = np.subtract(CLOSE["adam"], CLOSE["sgd"])
    effect = abs(differences.mean()) / differences.std(ddof=1)

    def power(n):
        critical = scipy.stats.t.ppf(0.975, n - 1)
        shifted = scipy.stats.nct(n - 1, effect * math.sqrt(n))
        return shifted.sf(critical) + shifted.cdf(-critical)

    assert pair.seeds is not None
    assert power(pair.seeds) >= 0.8 > power(pair.seeds - 1)


def test_a_single_seed_names_no_winner():
    said = words(judged({"adam": [0.99], "sgd": [0.10]}, seeds=1))
    assert "With a single seed nothing can be said of the noise: no winner is named." in said


def test_a_confirmation_that_diverged_counts_as_an_untrained_model_and_is_said():
    found = judged({"adam": [0.95, None, 0.95, 0.95, 0.95], "sgd": CLEAR["sgd"]})
    (ranking,) = found.rankings
    adam = ranking.standing("adam")
    assert adam.results["test_accuracy"].mean == pytest.approx((4 * 0.95 + 0.1) / 5)
    assert ranking.standings[0].contender == "sgd"
    assert "Confirmations that diverged count as untrained models (test accuracy 10.00%): 1 of 5 of adam." in words(
        found
    )


def test_over_one_search_the_verdict_is_conditional_and_over_several_it_is_the_median():
    assert "conditional on one search" in words(judged(CLEAR))
    made = study(["adam", "sgd"], repetitions=3, seeds=2)
    means = {"adam": [0.90, 0.96, 0.95], "sgd": [0.91, 0.92, 0.90]}
    rows = [
        r
        for name, values in means.items()
        for repetition, mean in enumerate(values)
        for r in confirmed(name, [mean - 0.01, mean + 0.01], repetition=repetition)
    ]
    selections = tuple(selection(name, repetition=r) for name in means for r in range(3))
    found = verdict(results(rows), document(made, selections=selections))
    (ranking,) = found.rankings
    assert [s.score for s in ranking.standings] == pytest.approx([0.95, 0.91])
    assert ranking.standings[0].results["test_accuracy"].count == 3
    (pair,) = ranking.pairs
    assert pair.difference.p_value == pytest.approx(scipy.stats.ttest_rel(means["adam"], means["sgd"]).pvalue)
    assert "medians over 3 independent searches" in paragraph(found, ranking)


def test_the_budget_at_which_the_winner_would_turn_is_that_of_the_mean_over_all_subsets():
    losses = {"adam": [0.50, 0.49, 0.48, 0.30], "sgd": [2.0, 0.45, 2.0, 0.20]}
    rates = (1e-3, 1e-2, 1e-1, 1.0)
    rows = [r for name in losses for r in confirmed(name, CLEAR[name])]
    rows += [r for name, values in losses.items() for r in tried(name, dict(zip(rates, values, strict=True)))]
    found = verdict(results(rows), document(study(list(losses), search="random")))
    (ranking,) = found.rankings
    expected = {
        name: [statistics.fmean(min(s) for s in itertools.combinations(v, k)) for k in (1, 2, 3, 4)]
        for name, v in losses.items()
    }
    for name, curve in expected.items():
        assert ranking.standing(name).trials.expected_best == pytest.approx(curve)
    turn = next(k for k in (1, 2, 3, 4) if expected["sgd"][k - 1] < expected["adam"][k - 1])
    assert turn > 1
    said = paragraph(found, ranking)
    assert f"adam would be ahead below {turn} trials, sgd from {turn} on" in said
    assert "approximately" not in said
    approximate = verdict(results(rows), document(study(list(losses))))
    assert "(approximately: the draws are quasi-random)" in paragraph(approximate, approximate.rankings[0])
    grid = verdict(results(rows), document(study(list(losses), search="grid")))
    assert "expected best" not in paragraph(grid, grid.rankings[0])


def test_diverged_trials_cost_budget_and_the_good_learning_rates_leave_them_out():
    rows = [r for name in CLEAR for r in confirmed(name, CLEAR[name])]
    rows += tried("adam", {1e-3: 0.1, 1e-2: 0.1, 1e-1: None, 1.0: None})
    (ranking,) = (found := verdict(results(rows), document(study(list(CLEAR))))).rankings
    trials = ranking.standing("adam").trials
    assert (trials.count, trials.diverged) == (4, 2)
    assert trials.expected_best[0] == pytest.approx((0.1 + 0.1 + 2 * math.log(10)) / 4)  # those have the loss of chance
    assert (trials.good_learning_rates.low, trials.good_learning_rates.high) == (1e-3, 1e-2)
    assert "Trials that diverged count against the budget: 2 of 4 of adam." in paragraph(found, ranking)
    said = "Learning rates of the trials within a point of accuracy of the best: adam 0.001 to 0.01 (1.0 decades)."
    assert sensitivity_in_words(ranking) == said
    rows[-3]["optimizer.learning_rate"] = 1e-3
    (ranking,) = verdict(results(rows), document(study(list(CLEAR)))).rankings
    assert sensitivity_in_words(ranking) == said.replace("0.001 to 0.01 (1.0 decades)", "0.001 only")


def test_an_edge_is_said():
    made = study(list(CLEAR))
    rows = [r for name in CLEAR for r in confirmed(name, CLEAR[name])]
    winners = (selection("adam", edges=("optimizer.learning_rate (high)",)), selection("sgd"))
    found = verdict(results(rows), document(made, selections=winners))
    said = paragraph(found, found.rankings[0])
    assert (
        "Selected at the edge of the search space, which should be widened there: adam (learning_rate, high)." in said
    )


def test_what_is_not_finished_is_not_counted_and_said():
    made = study(["adam", "sgd", "padam"])
    rows = [*confirmed("adam", CLEAR["adam"]), *confirmed("sgd", CLEAR["sgd"][:3])]
    rows += [{**r, "status": "running"} for r in confirmed("padam", [None])]
    found = verdict(results(rows), document(made, selections=(selection("adam"), selection("sgd"))))
    (ranking,) = found.rankings
    assert not found.complete
    assert ranking.missing == ("padam",)
    assert ranking.pairs[0].difference.estimate.count == 3  # the seeds that both have
    assert "Without a confirmed winner: padam." in paragraph(found, ranking)
    assert "The study is not complete" in paragraph(found, ranking)


def test_superseded_confirmations_do_not_count():
    rows = [*confirmed("adam", CLEAR["adam"]), *confirmed("sgd", CLEAR["sgd"])]
    old = [{**r, "phase": "superseded", "path": r["path"] + "/old"} for r in confirmed("sgd", [1.0] * 5)]
    assert verdict(results(rows + old), document(study(list(CLEAR)))) == judged(CLEAR)


def test_without_confirmations_nothing_is_claimed():
    found = verdict(results(tried("adam", {0.1: 1.0})), document(study(["adam", "sgd"]), selections=()))
    assert words(found) == "On digits_cnn nothing is confirmed yet."


def test_times_to_targets_become_profiles_and_scores():
    workloads = ("digits_cnn", "second")
    one = study(["adam", "sgd"]).workloads[0]
    made = study(
        ["adam", "sgd"],
        seeds=3,
        workloads=tuple(dataclasses.replace(one, name=name) for name in workloads),
        targets=tuple(Target(workload=name, measure="validation_accuracy", value=0.9) for name in workloads),
    )
    reached = {  # steps, of three seeds
        ("digits_cnn", "adam"): (10, 20, 30),
        ("digits_cnn", "sgd"): (40, 40, None),
        ("second", "adam"): (None, None, 10),
        ("second", "sgd"): (10, 10, 10),
    }
    rows, curves = [], []
    for (workload, name), steps in reached.items():
        rows += confirmed(name, [0.9, 0.91, 0.92], workload=workload)
        for seed, step in enumerate(steps):
            path = row("confirmation", name, workload=workload, seed=5000 + seed)["path"]
            for at in (5, 10, 20, 30, 40):
                accuracy = 0.95 if step is not None and at >= step else 0.5
                curves.append({"path": path, "step": at, "split": "validation", "loss": 1.0, "accuracy": accuracy})
    timings = tuple(Timing(w, c, 0.5 if c == "adam" else 0.75, {}) for w, c in reached)
    winners = tuple(selection(c, workload=w) for w, c in reached)
    found = verdict(results(rows, curves), document(made, selections=winners, timings=timings))
    first, second = found.rankings
    assert (first.standing("adam").steps, first.standing("adam").seconds) == (20, 10.0)
    assert (first.standing("sgd").steps, first.standing("sgd").seconds) == (40, 30.0)
    assert (second.standing("adam").steps, second.standing("adam").seconds) == (None, None)
    assert scores_in_words(found) == (
        "AlgoPerf's score, of the times to the targets on 2 workloads: sgd 0.667, adam 0.500."
    )
    # adam: 1 and never; sgd: 3 times as long and 1. Up to 4 times: adam half all along, sgd half up to 3, then all.
    assert found.scores == pytest.approx({"adam": 0.5, "sgd": (0.5 * 2 + 1.0) / 3})


def test_if_all_trials_diverged_it_says_so_and_how_to_continue():
    made = study(["adam", "sgd"])
    rows = [*tried("adam", {0.1: None, 1.0: None}), *tried("sgd", {0.1: None, 1.0: None, 10.0: None})]
    lost = [selection(name, None) for name in ("adam", "sgd")]
    found = verdict(results(rows), document(made, selections=tuple(lost)))
    said = words(found)
    assert said.startswith(
        "On digits_cnn nothing can be confirmed. All trials diverged: 2 of 2 of adam and 3 of 3 of sgd. To find a trial"
    )
    assert "use more trials (--trials), or a search space with lower learning rates" in said
    found = verdict(results([*rows, *tried("sgd", {0.2: 1.0})]), document(made, selections=(lost[0],)))
    assert words(found).startswith("On digits_cnn nothing is confirmed yet. All trials diverged: 2 of 2 of adam. To")


def test_an_optimizer_whose_trials_all_diverged_is_named_beside_those_with_winners():
    made = study(["adam", "sgd", "padam", "lion"])
    rows = [*confirmed("adam", CLEAR["adam"]), *confirmed("sgd", CLEAR["sgd"]), *tried("padam", {0.1: None})]
    chosen = (selection("adam"), selection("sgd"), selection("padam", None))
    found = verdict(results(rows), document(made, selections=chosen))
    said = words(found)
    assert "Without a confirmed winner: lion. All trials diverged: 1 of 1 of padam. To find" in said


def test_the_number_of_seeds_that_is_told_is_that_of_the_results():
    made = study(["adam", "sgd"])
    rows = [*confirmed("adam", CLEAR["adam"]), *confirmed("sgd", CLEAR["sgd"][:3])]
    (ranking,) = verdict(results(rows), document(made)).rankings
    assert sample(made, ranking) == "3 to 5 fresh seeds"
    (ranking,) = verdict(results([*confirmed("adam", [0.5]), *confirmed("sgd", [0.25])]), document(made)).rankings
    assert sample(made, ranking) == "1 fresh seed"
