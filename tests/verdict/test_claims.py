"""Claims on results made by hand: each answer, and what it rests on."""

from __future__ import annotations

import pytest
import scipy.stats

from jaxopt_bench.measures import measures, roughness
from jaxopt_bench.study import Association, Claim, Comparison
from jaxopt_bench.verdict import answers, evidence_in_words
from tests.results.directories import METRICS
from tests.verdict.made import confirmed, document, results, study, tried


def comparison(lower, higher, measure="test_accuracy"):
    return Comparison(measure=measure, lower=lower, higher=higher)


def claim(*parts):
    compared = tuple(part for part in parts if isinstance(part, Comparison))
    associated = tuple(part for part in parts if isinstance(part, Association))
    return Claim(text="so it is", source="someone", comparisons=compared, associations=associated)


def answered(rows, *parts, curves=()):
    made = study(["adam", "sgd"], claims=(claim(*parts),))
    (found,) = answers(results(rows, curves), document(made))
    return found


HIGH, LOW = [0.95, 0.96, 0.955, 0.952, 0.958], [0.90, 0.91, 0.905, 0.899, 0.911]
ROWS = [*confirmed("adam", HIGH), *confirmed("sgd", LOW)]


def test_a_comparison_is_supported_contradicted_or_undecided_by_its_interval():
    found = answered(ROWS, comparison("sgd", "adam"))
    assert found.answer == "supported"
    low, high = scipy.stats.ttest_rel(HIGH, LOW).confidence_interval(0.95)
    (evidence,) = found.evidence
    assert (evidence.difference.low, evidence.difference.high) == pytest.approx((low, high), rel=1e-9)
    assert f"adam less sgd, +5.00 points (95% interval {100 * low:+.2f} to {100 * high:+.2f})" in evidence_in_words(
        found
    )
    assert answered(ROWS, comparison("adam", "sgd")).answer == "contradicted"
    close = [*confirmed("adam", [0.95, 0.94, 0.96]), *confirmed("sgd", [0.94, 0.95, 0.95])]
    assert answered(close, comparison("sgd", "adam")).answer == "undecided"


def test_a_trade_off_needs_both_of_its_parts():
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
    assert "fewer than two pairs" in evidence_in_words(found)


def by_partial(losses):
    """Returns trials of adam whose exponents and losses go together as given."""
    rows = tried("adam", {0.1 * (i + 1): loss for i, loss in enumerate(losses)})
    return [{**r, "optimizer.partial": (i + 1) / 16} for i, r in enumerate(rows)]


def test_an_association_is_supported_where_ranks_agree():
    part = Association(measure="validation_loss", contender="adam", field="optimizer.partial")
    found = answered(by_partial([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), part)
    assert found.answer == "supported"
    assert found.evidence[0].correlation.rho == 1
    mixed = [0.3, 0.1, 0.5, 0.2, 0.6, 0.4]
    found = answered(by_partial(mixed), part)
    assert found.evidence[0].correlation.rho == pytest.approx(scipy.stats.spearmanr(range(6), mixed).statistic)
    assert found.answer == "undecided"
    assert answered(by_partial([0.1, 0.2]), part).answer == "undecided"
    assert answered(ROWS, part).answer == "undecided"


def test_an_association_is_contradicted_where_many_trials_show_none():
    part = Association(measure="validation_loss", contender="adam", field="optimizer.partial")
    losses = [0.1 + 0.001 * ((37 * i) % 101) for i in range(101)]
    assert abs(scipy.stats.spearmanr(range(101), losses).statistic) < 0.1
    assert answered(by_partial(losses), part).answer == "contradicted"


def test_a_trial_that_diverged_is_the_worst_of_all():
    part = Association(measure="validation_loss", contender="adam", field="optimizer.partial")
    found = answered(by_partial([0.1, 0.2, 0.3, 0.4, 0.5, None]), part)
    assert found.evidence[0].correlation.rho == 1


def test_smoothness_is_judged_on_curves():
    curves = []
    for r in ROWS:
        ups = [0.5, 0.6, 0.7, 0.8] if r["contender"] == "adam" else [0.5, 0.7, 0.6, 0.8]
        wobble = 0.001 * (r["seed"] % 5)
        curves += [
            {"path": r["path"], "step": i, "split": "test", "loss": 1.0, "accuracy": a + wobble * (-1) ** i}
            for i, a in enumerate(ups)
        ]
    found = answered(ROWS, comparison("adam", "sgd", "test_error_roughness"), curves=curves)
    assert found.answer == "supported"
    assert found.evidence[0].difference.mean == pytest.approx(0.3 - 8 * 0.002)  # adam gains 4 wobbles, sgd loses 4


def test_a_straight_curve_has_no_roughness_and_a_short_one_none_to_measure():
    assert roughness([0.1, 0.3, 0.5, 0.7]) == pytest.approx(0, abs=1e-12)
    assert [roughness([0.1, 0.3, 0.2]), roughness([-0.1, -0.3, -0.2])] == pytest.approx([0.3, 0.3])
    assert roughness([0.1, 0.3]) is None
    assert roughness([]) is None


def test_every_measure_says_which_way_is_better():
    assert all(m.higher_is_better == name.endswith("accuracy") for name, m in measures(METRICS).items())
