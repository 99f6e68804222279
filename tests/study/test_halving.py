"""The numbers of successive halving, compared with tables computed by hand and with the papers' conditions."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import SGD, Choice, Space
from jaxopt_bench.study import Contender, Study, merge_studies, points, protocol, rungs, training_epochs, units
from jaxopt_bench.study.halving import most_trials
from tests.study.studies import WORKLOAD, small_study

MANY = 99


@pytest.mark.parametrize(
    ("trials", "epochs", "factor", "most", "expected", "total"),
    [
        # Li et al. 2018, table 1: the bracket s = 4 of R = 81 and η = 3. A promoted trial continues, so that the epochs
        # are 81·1 + 27·(3 − 1) + 9·(9 − 3) + 3·(27 − 9) + 1·(81 − 27).
        (81, 81, 3, MANY, [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)], 297),
        (16, 25, 2, 3, [(16, 6), (8, 12), (4, 25)], 16 * 6 + 8 * 6 + 4 * 13),
        (16, 25, 2, MANY, [(16, 1), (8, 3), (4, 6), (2, 12), (1, 25)], 16 + 8 * 2 + 4 * 3 + 2 * 6 + 13),
        (16, 25, 3, MANY, [(16, 2), (5, 8), (1, 25)], 16 * 2 + 5 * 6 + 17),
        (16, 3, 2, MANY, [(16, 1), (8, 3)], 16 + 8 * 2),  # few epochs
        (3, 25, 2, MANY, [(3, 12), (1, 25)], 3 * 12 + 13),  # few trials
        (3, 25, 4, MANY, [(3, 25)], 75),
        (16, 25, 2, 1, [(16, 25)], 400),
        (1, 1, 2, MANY, [(1, 1)], 1),
    ],
)
def test_rungs_agree_with_the_paper_and_with_tables_computed_by_hand(trials, epochs, factor, most, expected, total):
    found = rungs(trials, epochs, factor, most)
    assert [tuple(rung) for rung in found] == expected
    assert training_epochs(found) == total
    assert training_epochs(found, 1) == total - expected[0][0] * expected[0][1]


@given(st.integers(1, 500), st.integers(1, 300), st.integers(2, 9), st.integers(1, 9))
def test_each_rung_keeps_one_in_eta_and_the_last_one_trains_to_the_end(trials, epochs, factor, most):
    found = rungs(trials, epochs, factor, most)
    assert found[0].trials == trials
    assert found[-1].epochs == epochs
    assert len(found) <= most
    for rung, following in itertools.pairwise(found):
        assert following.trials == rung.trials // factor >= 1
        assert rung.epochs == following.epochs // factor >= 1
    assert epochs <= training_epochs(found) <= trials * epochs
    longer = min(found[-1].trials // factor, found[0].epochs // factor)
    assert len(found) == most or longer == 0  # there is no room for one more rung


@given(st.integers(1, 300), st.integers(1, 30), st.integers(2, 5), st.integers(1, 5))
def test_a_budget_of_epochs_has_the_most_trials_that_it_allows(budget, epochs, factor, most):
    limit = 200
    costs = {n: training_epochs(rungs(n, epochs, factor, most)) for n in range(1, limit + 1)}
    assert most_trials(budget, epochs, factor, most, limit) == max([n for n in costs if costs[n] <= budget], default=0)


def halving(**fields) -> Study:
    """Returns a study with rungs of 8 trials of 2 epochs, 4 of 5 and 2 of 10."""
    return small_study(**{"search": "halving", "halving_rungs": 3, "trials": 8, **fields})


def test_halving_draws_the_same_trials_as_a_sobol_search():
    study = halving()
    for unit in units(study):
        assert points(study, unit) == points(small_study(trials=8), unit)


def test_total_epochs_include_the_epochs_of_all_rungs():
    # The rungs of 16 trials are (16, 2), (8, 5) and (4, 10): 32 + 24 + 20 = 76 epochs; 17 take 78, and 18 take 83.
    study = halving(trials=None, total_epochs=82)
    assert study.trials_on(WORKLOAD) == 17
    assert dataclasses.replace(study, total_epochs=76).trials_on(WORKLOAD) == 16
    assert dataclasses.replace(study, total_epochs=153, trial_seeds=2).trials_on(WORKLOAD) == 16
    assert small_study(trials=None, total_epochs=82).trials_on(WORKLOAD) == 8
    with pytest.raises(UserError, match=r"total_epochs is 9. Expected: at least 10, one trial on cnn"):
        halving(trials=None, total_epochs=9)
    with pytest.raises(UserError, match="makes 10,001 trials"):
        halving(trials=None, total_epochs=10**9)


def test_without_halving_there_is_one_rung():
    assert [tuple(rung) for rung in small_study(trials=8).rungs_on(WORKLOAD, 8)] == [(8, 10)]
    assert small_study(trials=8).common_epochs(WORKLOAD) == 10
    assert halving().common_epochs(WORKLOAD) == 2
    assert [tuple(rung) for rung in halving().rungs_on(WORKLOAD, 0)] == [(0, 10)]  # nothing is tuned


def test_the_protocol_says_how_many_trials_are_trained_for_how_long():
    short = dataclasses.replace(WORKLOAD, name="short", epochs=2)
    said = " ".join(protocol(halving(workloads=(WORKLOAD, short), trial_seeds=2)))
    assert (
        "Halve: on cnn 8 trials are trained for 2 epochs, the best 4 of these up to epoch 5 and the best 2 of these up "
        "to epoch 10. This takes 76 epochs for each optimizer; 8 whole trials would take 160." in said
    )
    assert "on short 8 trials are trained for 1 epoch and the best 4 of these up to epoch 2. This takes 24 epo" in said
    assert "at the last epoch so far" in said
    assert "at the epoch with the lowest validation loss so far" in " ".join(protocol(halving(at="best")))
    assert "Halve" not in " ".join(protocol(small_study()))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"halving_factor": 1}, r"Study.halving_factor is 1. Expected: an integer >= 2"),
        (
            {"search": "sobol", "halving_factor": 3, "halving_rungs": 2},
            r"halving_factor is 3 and Study.search is 'sobol'\. Expected the sea",
        ),
        ({"halving_rungs": 1}, r"Study.halving_rungs is 1. Expected: an integer >= 2"),
        ({"select": "steps_to_target"}, r"Study.select is 'steps_to_target' and Study.search is 'halving'.*Expected"),
    ],
)
def test_studies_that_cannot_use_halving_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        halving(**fields)


def test_halving_fields_are_read_back_from_json_and_absent_from_other_studies():
    study = halving(halving_factor=3, halving_rungs=5)
    assert Study.from_json(study.to_json()) == study
    assert not [name for name in small_study().to_json() if "halving" in name]


def test_studies_with_different_halving_are_not_merged():
    for change in ({"halving_factor": 3}, {"halving_rungs": 2}, {"search": "sobol", "halving_rungs": 2}):
        with pytest.raises(UserError, match=f"{next(iter(change))}: "):
            merge_studies(halving(), halving(**change))
    assert merge_studies(halving(), halving(trials=16)).trials == 16


def test_the_first_rung_of_a_small_space_has_a_trial_for_each_of_its_points():
    few = Space({"optimizer.nesterov": Choice((False, True)), "optimizer.momentum": Choice((0.5, 0.9))})
    study = halving(contenders=(Contender(name="sgd", optimizer=SGD(momentum=0.9), space=few),), trials=16)
    (unit,) = units(study)
    assert study.rungs_on(WORKLOAD, len(points(study, unit)))[0] == (4, 2)
