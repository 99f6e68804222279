"""Claims about synthetic results: each answer and its evidence."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.stats

from jaxopt_bench.measures import measures, roughness
from jaxopt_bench.optimizers import OPTIMIZERS, Space
from jaxopt_bench.study import Association, Claim, Comparison, Contender
from jaxopt_bench.verdict import describe_evidence, judge_claims, verdict
from tests.results.directories import METRICS
from tests.verdict.builders import confirmed, document, results, study, tried


def comparison(lower, higher, measure="test_accuracy"):
    return Comparison(measure=measure, lower=lower, higher=higher)


def claim(*parts):
    compared = tuple(part for part in parts if isinstance(part, Comparison))
    associated = tuple(part for part in parts if isinstance(part, Association))
    return Claim(text="so it is", source="someone", comparisons=compared, associations=associated)


def answered(rows, *parts, curves=(), names=("adam", "sgd"), **fields):
    made = study(list(names), claims=(claim(*parts),), **fields)
    (found,) = judge_claims(results(rows, curves), document(made))
    return found


HIGH, LOW = [0.95, 0.96, 0.955, 0.952, 0.958], [0.90, 0.91, 0.905, 0.899, 0.911]
ROWS = [*confirmed("adam", HIGH), *confirmed("sgd", LOW)]


def test_a_comparison_is_supported_contradicted_or_undecided_by_its_interval():
    found = answered(ROWS, comparison("sgd", "adam"))
    assert found.answer == "supported"
    low, high = scipy.stats.ttest_ind(HIGH, LOW, equal_var=False).confidence_interval(0.95)
    (evidence,) = found.evidence
    assert (evidence.difference.low, evidence.difference.high) == pytest.approx((low, high), rel=1e-9)
    assert f"adam minus sgd, +5.00 points (95% interval {100 * low:+.2f} to {100 * high:+.2f})" in describe_evidence(
        found
    )
    assert answered(ROWS, comparison("adam", "sgd")).answer == "contradicted"
    close = [*confirmed("adam", [0.95, 0.94, 0.96]), *confirmed("sgd", [0.94, 0.95, 0.95])]
    assert answered(close, comparison("sgd", "adam")).answer == "undecided"


def test_a_trade_off_is_supported_only_if_both_of_its_parts_are():
    losses = [
        {**r, "final.train_clean_loss": loss}
        for r, loss in zip(ROWS, [0.5, 0.51, 0.52, 0.5, 0.49, 0.1, 0.11, 0.12, 0.1, 0.09], strict=True)
    ]
    loss, accuracy = comparison("sgd", "adam", "train_clean_loss"), comparison("sgd", "adam")
    assert answered(losses, loss, accuracy).answer == "supported"
    assert answered(losses, comparison("adam", "sgd", "train_clean_loss"), accuracy).answer == "contradicted"
    assert answered(ROWS, loss, accuracy).answer == "undecided"  # the loss was not measured


def test_a_single_seed_decides_nothing():
    rows = [*confirmed("adam", [0.99]), *confirmed("sgd", [0.1])]
    found = answered(rows, comparison("sgd", "adam"))
    assert found.answer == "undecided"
    assert describe_evidence(found) == "test accuracy: fewer than two results of one of them"


def by_partial(losses):
    """Returns trials of adam with these losses and with increasing exponents."""
    rows = tried("adam", {0.1 * (i + 1): loss for i, loss in enumerate(losses)})
    return [{**r, "optimizer.partial": (i + 1) / 16} for i, r in enumerate(rows)]


def test_an_association_is_supported_if_ranks_agree():
    part = Association(measure="validation_loss", contender="adam", field="optimizer.partial")
    found = answered(by_partial([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), part)
    assert found.answer == "supported"
    assert found.evidence[0].correlation.rho == 1
    mixed = [0.3, 0.1, 0.5, 0.2, 0.6, 0.4]
    found = answered(by_partial(mixed), part)
    assert found.evidence[0].correlation.rho == pytest.approx(scipy.stats.spearmanr(range(6), mixed).statistic)
    assert found.answer == "undecided"
    assert answered(ROWS, part).answer == "undecided"


def at_exponents(losses):
    """Returns contenders with exponents from 1/16 upwards, each with fixed values, and 3 confirmations of each.

    The losses are the means over the confirmations, and None means that all of them diverged.
    """
    contenders, rows = [], []
    for index, loss in enumerate(losses):
        optimizer = dataclasses.replace(OPTIMIZERS["padam"], partial=(index + 1) / 16)
        contenders.append(Contender(name=f"p{index}", optimizer=optimizer, space=Space()))
        for seed, more in enumerate((-1.0 - index, 0.0, 1.0 + index)):
            (made,) = confirmed(f"p{index}", [None if loss is None else 0.5])
            value = None if loss is None else loss + more
            rows.append({**made, "path": f"{made['path']}{seed}", "seed": seed, "final.train_clean_loss": value})
    return contenders, rows


def associated_over(contenders, rows, missing=()):
    part = Association(
        measure="train_clean_loss", contenders=tuple(c.name for c in contenders), field="optimizer.partial"
    )
    rows = [r for r in rows if r["contender"] not in missing]
    return answered(rows, part, names=[], contenders=tuple(contenders), trials=None)


def test_an_association_over_contenders_correlates_their_mean_confirmations():
    losses = [0.8, 0.5, 0.6, 0.4, 0.3, 0.35, 0.2]
    found = associated_over(*at_exponents(losses))
    expected = scipy.stats.spearmanr(range(7), losses).statistic
    assert found.evidence[0].correlation.rho == pytest.approx(expected)
    assert found.evidence[0].correlation.count == 7
    assert found.answer == "supported"
    assert describe_evidence(found).startswith(f"clean training loss and partial: rank correlation {expected:.2f}, ")
    assert describe_evidence(found).endswith("7 optimizers")
    mixed = associated_over(*at_exponents([0.3, 0.1, 0.5, 0.2, 0.6, 0.4]))
    assert mixed.answer == "undecided"


def test_an_association_over_contenders_waits_for_all_of_them():
    contenders, rows = at_exponents([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    found = associated_over(contenders, rows, missing=("p2", "p5"))
    assert found.answer == "undecided"
    assert describe_evidence(found) == "clean training loss: no results of p2 and p5 yet"
    few = associated_over(*at_exponents([0.1, 0.2, 0.3, 0.4]))
    assert describe_evidence(few) == "clean training loss: 4 optimizers cannot decide this"


def test_a_contender_that_diverged_counts_as_untrained_in_an_association():
    found = associated_over(*at_exponents([0.1, 0.2, 0.3, 0.4, 0.5, None]))
    assert found.evidence[0].correlation.rho == 1


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_correlation_over_fewer_than_5_trials_cannot_decide(count):
    """The p value of 4 trials in perfect order is 2 / 4!, above 0.05; that of 5 trials is 2 / 5!."""
    part = Association(measure="validation_loss", contender="adam", field="optimizer.partial")
    found = answered(by_partial([0.1 * (i + 1) for i in range(count)]), part)
    assert found.answer == ("supported" if count == 5 else "undecided")
    said = f"validation loss: {count} trial{'s' * (count > 1)} cannot decide this"
    assert (describe_evidence(found) == said) == (count < 5)


def test_a_claim_about_a_pair_has_the_interval_of_the_table_of_pairs():
    """A difference that is significant alone, but not after correction for all 15 pairs, is undecided."""
    rng = np.random.default_rng(5)
    names = ["adam", "sgd", "padam", "nadam", "amsgrad", "adamw"]
    values = {name: rng.normal(0.9, 0.01, 5).tolist() for name in names}
    values |= {"adam": [0.95, 0.96, 0.955, 0.952, 0.958], "sgd": [0.94, 0.952, 0.95, 0.945, 0.947]}
    test = scipy.stats.ttest_ind(values["adam"], values["sgd"], equal_var=False)
    assert test.pvalue < 0.05
    rows = [r for name in names for r in confirmed(name, values[name])]
    found = answered(rows, comparison("sgd", "adam"), names=names)
    assert found.answer == "undecided"
    low, high = test.confidence_interval(1 - 0.05 / 15)
    (evidence,) = found.evidence
    assert (evidence.difference.low, evidence.difference.high) == pytest.approx((low, high), rel=1e-9)
    assert describe_evidence(found).endswith(", corrected for 15 comparisons")
    made = study(names)
    (ranking,) = verdict(results(rows), document(made)).rankings
    assert ranking.pair("adam", "sgd").difference.estimate == evidence.difference


def test_the_evidence_states_how_the_setting_differs():
    differs = "5 epochs instead of 300, and momentum 0.9 instead of none"
    made = study(
        ["adam", "sgd"],
        claims=(dataclasses.replace(claim(comparison("sgd", "adam")), differs=differs),),
    )
    (found,) = judge_claims(results(ROWS), document(made))
    assert describe_evidence(found).endswith(f". The setting here differs: {differs}")


def test_an_association_is_contradicted_if_many_trials_show_none():
    part = Association(measure="validation_loss", contender="adam", field="optimizer.partial")
    losses = [0.1 + 0.001 * ((37 * i) % 101) for i in range(101)]
    assert abs(scipy.stats.spearmanr(range(101), losses).statistic) < 0.1
    assert answered(by_partial(losses), part).answer == "contradicted"


def test_a_trial_that_diverged_counts_as_the_worst_trial():
    part = Association(measure="validation_loss", contender="adam", field="optimizer.partial")
    found = answered(by_partial([0.1, 0.2, 0.3, 0.4, 0.5, None]), part)
    assert found.evidence[0].correlation.rho == 1


def long_workload(epochs):
    return (dataclasses.replace(study(["adam"]).workloads[0], epochs=epochs),)


def test_smoothness_is_judged_on_curves():
    curves = []
    for r in ROWS:
        up = [0.5 + 0.02 * i for i in range(20)]
        ups = up if r["contender"] == "adam" else [value + 0.05 * (-1) ** i for i, value in enumerate(up)]
        wobble = 0.001 * (r["seed"] % 5)
        curves += [
            {"path": r["path"], "step": i, "split": "test", "loss": 1.0, "accuracy": a + wobble * (-1) ** i}
            for i, a in enumerate(ups)
        ]
    claimed = comparison("adam", "sgd", "test_error_roughness")
    found = answered(ROWS, claimed, curves=curves, workloads=long_workload(20))
    assert found.answer == "supported"
    assert found.evidence[0].difference.mean == pytest.approx(4 * 0.05)  # alternating by ± w gives 4 w
    short = answered(ROWS, claimed, curves=curves, workloads=long_workload(3))
    assert short.answer == "undecided"
    assert describe_evidence(short) == (
        "roughness of the test accuracy curve: 3 epochs cannot decide this, at least 20 can"
    )


def test_a_straight_curve_has_roughness_0_and_a_short_curve_has_none():
    assert roughness([0.01 * i for i in range(20)]) == pytest.approx(0, abs=1e-12)
    rough = np.random.default_rng(0).uniform(size=25)
    assert roughness(rough.tolist()) == pytest.approx(np.abs(np.diff(rough, 2)).mean())
    assert roughness((-rough).tolist()) == pytest.approx(roughness(rough.tolist()))
    assert roughness([0.1 * (i % 2) for i in range(19)]) is None
    assert roughness([]) is None


def test_a_smooth_curve_has_low_roughness_over_20_epochs_and_high_over_3():
    """Noise-free exponentials that rise by 90 points, with time constants from half an epoch to the whole run."""

    def of(epochs, constant):
        curve = 0.9 * (1 - np.exp(-np.arange(1, epochs + 1) / constant))
        return np.abs(np.diff(curve, 2)).mean()

    assert max(of(3, constant) for constant in (0.5, 1, 2, 3)) > 0.12
    for constant in (0.5, 1, 2, 5, 10, 20):
        assert of(20, constant) < 0.02


def test_higher_is_better_only_for_accuracies():
    assert all(m.higher_is_better == name.endswith("accuracy") for name, m in measures(METRICS).items())
