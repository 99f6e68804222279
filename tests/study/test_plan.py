"""A study as runs: who may read the test split, whose seeds are whose, and where each run lies."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxopt_bench.optimizers import SGD, Adam, AdamW, Axis, Choice, Space
from jaxopt_bench.study import Contender, Planned, Study, Unit, confirmations, points, trials, units
from jaxopt_bench.study.study import MOST_SEEDS
from tests.study.studies import RATE, WORKLOAD, small_study

WORKLOADS = (WORKLOAD, dataclasses.replace(WORKLOAD, name="short", epochs=2))
CONTENDERS = (
    Contender(name="sgd", optimizer=SGD(), space=RATE),
    Contender(name="adamw", optimizer=AdamW()),
    Contender(name="adam", optimizer=Adam(), space=Space()),
)

plans = st.fixed_dictionaries(
    {
        "trials": st.integers(1, 6),
        "trial_seeds": st.integers(1, 3),
        "seeds": st.integers(1, 4),
        "repetitions": st.integers(1, 3),
        "search": st.sampled_from(["sobol", "random"]),
        "seed": st.integers(0, 2**31 - 1),
        "refit": st.booleans(),
        "track_test": st.booleans(),
    }
)


def planned(study: Study) -> dict[tuple[Unit, str], list[Planned]]:
    """Returns all runs of a study by unit and phase, as if the last trials had won."""
    made = {(unit, "trial"): trials(study, unit) for unit in units(study)}
    won = {unit: len(points(study, unit)) - 1 for unit in units(study)}
    return made | {(unit, "confirmation"): confirmations(study, unit, won[unit]) for unit in units(study)}


def study_of(fields: dict[str, Any]) -> Study:
    return small_study(workloads=WORKLOADS, contenders=CONTENDERS, **fields)


@settings(max_examples=8)
@given(plans)
def test_trials_never_read_the_test_split_and_confirmations_alone_do(fields):
    for (_, phase), runs in planned(study_of(fields)).items():
        for run in runs:
            confirms = phase == "confirmation"
            assert (run.phase, run.experiment.evaluate_test) == (phase, confirms)
            assert run.experiment.track_test == (confirms and fields["track_test"])


@settings(max_examples=8)
@given(plans)
def test_only_confirmations_that_refit_train_on_the_validation_split(fields):
    for (unit, phase), runs in planned(study_of(fields)).items():
        without = phase == "confirmation" and fields["refit"]
        problem = unit.workload.problem
        expected = dataclasses.replace(problem, validation_fraction=0.0) if without else problem
        assert all(run.experiment.workload.problem == expected for run in runs)


@settings(max_examples=8)
@given(plans)
def test_trials_confirmations_and_repetitions_share_no_seeds(fields):
    study = study_of(fields)
    seeds: dict[tuple[int, str], set[int]] = {}
    for (unit, phase), runs in planned(study).items():
        seeds.setdefault((unit.repetition, phase), set()).update(run.experiment.seed for run in runs)
    for one, other in itertools.combinations(seeds.values(), 2):
        assert not one & other
    for (_, phase), own in seeds.items():
        assert sorted(own) == list(range(min(own), min(own) + len(own)))
        assert len(own) == (study.seeds if phase == "confirmation" else study.trial_seeds)


def test_there_is_room_between_seeds_for_as_many_as_a_study_may_ask_for():
    study = small_study(trials=1, seeds=1, repetitions=100, seed=2**31 - 1)
    tuned = [unit for unit in units(study) if unit.contender.searched]
    first = [runs[0].experiment.seed for unit in tuned for runs in (trials(study, unit), confirmations(study, unit, 0))]
    assert all(later - earlier >= MOST_SEEDS for earlier, later in itertools.pairwise(first))
    assert len(first) == 200


@settings(max_examples=8)
@given(plans)
def test_no_two_runs_are_the_same_or_lie_in_the_same_place(fields):
    runs = [run for group in planned(study_of(fields)).values() for run in group]
    assert len({run.path for run in runs}) == len(runs)
    assert len({run.experiment.digest for run in runs}) == len(runs)
    for run in runs:
        folder = {"trial": "trials", "confirmation": "confirmations"}[run.phase]
        name = f"{run.unit.workload.name}_{run.unit.contender.name}"
        assert run.path == f"{folder}/{name}/{run.experiment.digest}"


@settings(max_examples=8)
@given(plans)
def test_contenders_have_equal_budgets_and_a_trials_seeds_have_equal_values(fields):
    study = study_of(fields)
    for unit in units(study):
        runs = trials(study, unit)
        if not unit.contender.searched:
            assert runs == []
            continue
        assert [(run.trial, run.seed) for run in runs] == list(
            itertools.product(range(study.trials_on(unit.workload)), range(study.trial_seeds))
        )
        for run in runs:
            assert run.values == points(study, unit)[run.trial]
            assert run.values.keys() == unit.contender.searched.keys()
            for field, value in run.values.items():
                assert getattr(run.experiment.optimizer, field.removeprefix("optimizer.")) == value


@settings(max_examples=8)
@given(plans)
def test_confirmations_are_the_trial_that_they_confirm_with_fresh_seeds(fields):
    study = study_of(fields)
    for unit in units(study):
        for trial in {0, len(points(study, unit)) - 1}:
            runs = confirmations(study, unit, trial)
            assert [run.trial for run in runs] == [trial] * study.seeds
            assert {run.experiment.optimizer for run in runs} == {
                unit.contender.at(points(study, unit)[trial]).optimizer
            }


def test_what_is_not_tuned_is_confirmed_as_given():
    study = small_study()
    unit = Unit(WORKLOAD, study.contender("adam"))
    assert points(study, unit) == [{}]
    assert {run.experiment.optimizer for run in confirmations(study, unit, 0)} == {Adam()}


@pytest.mark.parametrize("search", ["sobol", "random"])
def test_a_study_that_grows_keeps_its_runs(search):
    small = small_study(search=search, workloads=WORKLOADS, contenders=CONTENDERS)
    large = dataclasses.replace(small, trials=7, trial_seeds=2, seeds=4, repetitions=2)
    for unit in units(small):
        assert {run.path for run in trials(small, unit)} <= {run.path for run in trials(large, unit)}
        for one, other in zip(confirmations(small, unit, 0), confirmations(large, unit, 0), strict=False):
            assert one == other


def test_repetitions_contenders_and_workloads_draw_points_of_their_own():
    same = tuple(Contender(name=name, optimizer=SGD(), space=RATE) for name in ("a", "b"))
    study = small_study(workloads=WORKLOADS, contenders=same, repetitions=2)
    drawn = [tuple(point.values()) for unit in units(study) for point in points(study, unit)]
    assert len(units(study)) == 8
    assert len(set(drawn)) == len(drawn)


def test_a_space_of_few_points_has_as_many_trials_and_none_twice():
    few = Space({"optimizer.nesterov": Choice((False, True)), "optimizer.momentum": Choice((0.5, 0.9))})
    contender = Contender(name="sgd", optimizer=SGD(momentum=0.9), space=few)
    for search in ("sobol", "random", "grid"):
        study = small_study(contenders=(contender,), trials=16, search=search)
        assert len({run.path for run in trials(study, units(study)[0])}) == 4


def test_the_entry_of_a_run_has_its_unit_in_json():
    study = small_study(trial_seeds=2, repetitions=2)
    unit = units(study)[1]
    run = trials(study, unit)[3]
    assert run.entry.to_json() == {
        "phase": "trial",
        "workload": "cnn",
        "contender": "sgd",
        "repetition": 1,
        "trial": 1,
        "seed": 2 * MOST_SEEDS + 1,
        "digest": run.experiment.digest,
        "path": run.path,
    }
    assert (unit.label, units(study)[0].label) == ("cnn, sgd (search 2)", "cnn, sgd")


def test_a_grid_is_a_plan_too():
    space = Space({"optimizer.learning_rate": Axis(0.1, 1, "log"), "optimizer.weight_decay": Axis(1e-4, 1e-2, "log")})
    study = small_study(contenders=(Contender(name="sgd", optimizer=SGD(), space=space),), trials=10, search="grid")
    values = [tuple(run.values.values()) for run in trials(study, units(study)[0])]
    assert values == [(rate, decay) for rate in (0.1, 0.316228, 1.0) for decay in (1e-4, 1e-3, 1e-2)]
