"""Verdicts on searches by successive halving: the results at a rung, and questions that stopped trials leave open."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from jaxopt_bench.optimizers import OPTIMIZERS
from jaxopt_bench.study import Association, Contender
from jaxopt_bench.verdict import judge_claims, paragraphs, rank_trials, trial_scores, verdict
from tests.verdict.builders import RATES, confirmed, document, results, row, selection, study
from tests.verdict.test_claims import claim
from tests.verdict.test_verdict import CLEAR, FALLING, IMPROVING, said_of_edges
from tests.verdict.test_verdict import RATES as EIGHT

Curve = Sequence[float | None]
"""Validation losses after the epochs 1, 2, …; None is a loss that is not finite."""


def halving(**fields: Any):
    """Returns a study of 8 epochs. Of 8 trials, 8 are trained for 2 epochs, 4 of them for 4, and 2 of them for 8."""
    made = study(["adam", "sgd"], search="halving", halving_rungs=3, **{"trials": 8, **fields})
    return dataclasses.replace(made, workloads=(dataclasses.replace(made.workloads[0], epochs=8),))


def tables(trials: Sequence[Sequence[Curve]], statuses: Sequence[str] = (), rates: Sequence[float] = ()) -> Any:
    """Returns the rows and lines of trials with these losses; each trial has the losses of each of its seeds."""
    rows, lines = [], []
    for trial, seeds in enumerate(trials):
        for seed, losses in enumerate(seeds):
            status = statuses[trial] if statuses else "stopped"
            rate = rates[trial] if rates else 0.01
            made = row("trial", "adam", trial=trial, seed=seed, status=status, **{"optimizer.learning_rate": rate})
            rows.append({**made, "final.validation_loss": losses[-1] if status == "completed" else None})
            lines += [
                {"path": made["path"], "step": 10 * epoch, "epoch": float(epoch), "split": split, "loss": loss,
                 "accuracy": 0.1 * epoch}
                for epoch, loss in enumerate(losses, start=1)
                for split in ("train", "validation")
            ]  # fmt: skip
    return rows, lines


def scores(made, epoch, *trials, **fields):
    return trial_scores(made, results(*tables(trials, **fields)), epoch)


def test_trials_are_compared_by_their_recorded_losses_at_the_rung():
    trials = ([[3.0, 2.0, 1.0, 0.1]], [[2.5, 2.2]], [[1.0, 2.0, 9.0]], [[1.0]])
    found = scores(halving(), 2, *trials)
    assert [score.value for score in found] == [2.0, 2.2, 2.0, None]
    assert [score.trial for score in rank_trials(found, higher=False)] == [
        0,
        2,
        1,
    ]  # the earlier of equal trials is first
    assert [score.value for score in scores(halving(), 1, *trials)] == [3.0, 2.5, 1.0, 1.0]


def test_a_trial_has_the_mean_of_its_seeds_and_no_score_if_one_diverged():
    found = scores(halving(trial_seeds=2), 2, [[9, 1.0], [9, 2.0]], [[9, 1.0], [9, None]], [[9, 1.2], [9, 1.2]])
    assert [score.value for score in found] == [1.5, None, 1.2]


def test_a_trial_that_diverged_after_the_rung_keeps_its_score_at_the_rung():
    """Otherwise a resumed study would promote other trials than before."""
    found = scores(halving(), 2, [[2.0, 1.0, None]], [[2.0, 1.5, 1.4]], statuses=["diverged", "completed"])
    assert [score.value for score in found] == [1.0, 1.5]


def test_results_of_the_best_epoch_are_those_of_the_best_epoch_up_to_the_rung():
    trials = ([[1.0, 2.0, 0.5, 3.0]], [[2.0, 1.5, 1.4, 1.3]], [[1.0, None]])
    made = halving(at="best", select="validation_accuracy")
    assert [score.value for score in scores(made, 2, *trials)] == [pytest.approx(0.1), pytest.approx(0.2), None]
    assert [score.value for score in scores(made, 4, *trials)] == [pytest.approx(0.3), pytest.approx(0.4), None]


def said(losses_at_rung: Sequence[float], winner: int) -> str:
    """Returns the paragraph on a search whose trials have these losses at the first rung, by learning rate."""
    contenders = tuple(Contender(name=name, optimizer=OPTIMIZERS[name], space=RATES) for name in CLEAR)
    best = [*sorted(range(8), key=lambda trial: losses_at_rung[trial])[:2], winner]
    curves = [[[9.0, loss, *([0.1] * 6 if trial in best else [])]] for trial, loss in enumerate(losses_at_rung)]
    statuses = ["completed" if trial in best else "stopped" for trial in range(8)]
    rows, lines = tables(curves, statuses, EIGHT)
    rows += [each for name in CLEAR for each in confirmed(name, CLEAR[name])]
    found = selection(
        "adam", winner, edges=("optimizer.learning_rate (high)",), values={"optimizer.learning_rate": EIGHT[winner]}
    )
    made = dataclasses.replace(halving(), contenders=contenders)
    judged = verdict(results(rows, lines), document(made, selections=(found, selection("sgd"))))
    (standing, _) = judged.rankings[0].standings
    assert standing.trials is not None
    assert (standing.trials.count, standing.trials.diverged) == (8, 0)
    return " ".join(paragraphs(judged, judged.rankings[0]))


def test_an_edge_is_reported_if_results_at_the_first_rung_improve_towards_it():
    assert (
        "Results after epoch 2, up to which all trials were trained, still improve towards an edge of the search "
        "space, where the best trial lies: adam (learning_rate, high)."
    ) in said(FALLING, 7)
    flat = [0.31, 0.33, 0.30, 0.34, 0.32, 0.31, 0.33, 0.29]
    assert "edge" in said(FALLING, 7)
    assert "edge" not in said(flat, 7)
    assert IMPROVING in said_of_edges(dict(zip(EIGHT, FALLING, strict=True)), "high")
    assert IMPROVING not in said(FALLING, 7)  # this sentence is only for final results


def test_a_claim_about_the_influence_of_a_hyperparameter_is_undecided():
    part = Association(measure="validation_loss", contender="adam", field="optimizer.learning_rate")
    rows, lines = tables([[[9, 0.1 * i]] for i in range(8)], rates=EIGHT)
    made = dataclasses.replace(halving(), claims=(claim(part),))
    (found,) = judge_claims(results(rows, lines), document(made))
    assert found.answer == "undecided"
    assert found.evidence[0].undecidable == "successive halving trains only the best trials to the end"
