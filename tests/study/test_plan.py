"""The runs of a study: which of them read the test split, their seeds, and their folders."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxopt_bench.optimizers import SGD, Adam, AdamW, Axis, Choice, Space
from jaxopt_bench.study import (
    Contender,
    PlannedRun,
    Study,
    Unit,
    plan_confirmations,
    plan_finalists,
    plan_trials,
    points,
    units,
)
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
        "finalists": st.sampled_from([0, 2, 3]),
        "finalist_seeds": st.integers(1, 3),
        "seeds": st.integers(1, 4),
        "repetitions": st.integers(1, 3),
        "search": st.sampled_from(["sobol", "random"]),
        "seed": st.integers(0, 2**31 - 1),
        "refit": st.booleans(),
        "track_test": st.booleans(),
    }
)


def planned(study: Study) -> dict[tuple[Unit, str], list[PlannedRun]]:
    """Returns all runs of a study by unit and phase, as if the last trials were the best."""
    made: dict[tuple[Unit, str], list[PlannedRun]] = {}
    for unit in units(study):
        best = range(len(points(study, unit)))[::-1]
        made[unit, "trial"] = plan_trials(study, unit)
        made[unit, "finalist"] = plan_finalists(study, unit, best[: study.finalists_among(len(best))])
        made[unit, "confirmation"] = plan_confirmations(study, unit, best[0])
    return made


def study_of(fields: dict[str, Any]) -> Study:
    return small_study(workloads=WORKLOADS, contenders=CONTENDERS, **fields)


@settings(max_examples=8)
@given(plans)
def test_only_confirmations_read_the_test_split(fields):
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
def test_trials_finalists_confirmations_and_repetitions_share_no_seeds(fields):
    study = study_of(fields)
    counts = {"trial": study.trial_seeds, "finalist": study.finalist_seeds, "confirmation": study.seeds}
    seeds: dict[tuple[int, str], set[int]] = {}
    for (unit, phase), runs in planned(study).items():
        seeds.setdefault((unit.repetition, phase), set()).update(run.experiment.seed for run in runs)
    for one, other in itertools.combinations(seeds.values(), 2):
        assert not one & other
    for (_, phase), own in seeds.items():
        if own:  # there may be no finalists
            assert sorted(own) == list(range(min(own), min(own) + counts[phase]))


def test_first_seeds_are_as_far_apart_as_the_largest_number_of_seeds():
    study = small_study(trials=1, seeds=1, repetitions=100, seed=2**31 - 1)
    tuned = [unit for unit in units(study) if unit.contender.searched]
    phases = [(plan_trials(study, u), plan_finalists(study, u, [0]), plan_confirmations(study, u, 0)) for u in tuned]
    first = sorted(runs[0].experiment.seed for of_unit in phases for runs in of_unit)
    assert all(later - earlier >= MOST_SEEDS for earlier, later in itertools.pairwise(first))
    assert len(first) == 300


@settings(max_examples=8)
@given(plans)
def test_no_two_runs_have_the_same_digest_or_the_same_folder(fields):
    runs = [run for group in planned(study_of(fields)).values() for run in group]
    assert len({run.path for run in runs}) == len(runs)
    assert len({run.experiment.digest for run in runs}) == len(runs)
    for run in runs:
        folder = {"trial": "trials", "finalist": "finalists", "confirmation": "confirmations"}[run.phase]
        name = f"{run.unit.workload.name}_{run.unit.contender.name}"
        assert run.path == f"{folder}/{name}/{run.experiment.digest}"


@settings(max_examples=8)
@given(plans)
def test_contenders_have_equal_budgets_and_all_seeds_of_a_trial_equal_values(fields):
    study = study_of(fields)
    for unit in units(study):
        runs = plan_trials(study, unit)
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
def test_finalists_are_the_best_trials_with_other_seeds(fields):
    study = study_of(fields)
    for (unit, phase), runs in planned(study).items():
        if phase == "finalist" and (not unit.contender.searched or study.trials == 1):
            assert runs == []  # there are not two trials to select from
        elif phase == "finalist":
            tried = {run.trial: run.experiment for run in plan_trials(study, unit)}
            assert len(tried) == study.trials
            best = sorted(tried, reverse=True)[: study.finalists]
            assert [(run.trial, run.seed) for run in runs] == list(itertools.product(best, range(study.finalist_seeds)))
            for run in runs:
                assert run.experiment == dataclasses.replace(tried[run.trial], seed=run.experiment.seed)


@settings(max_examples=8)
@given(plans)
def test_confirmations_have_the_hyperparameters_of_the_confirmed_trial(fields):
    study = study_of(fields)
    for unit in units(study):
        for trial in {0, len(points(study, unit)) - 1}:
            runs = plan_confirmations(study, unit, trial)
            assert [run.trial for run in runs] == [trial] * study.seeds
            assert {run.experiment.optimizer for run in runs} == {
                unit.contender.at(points(study, unit)[trial]).optimizer
            }


def test_an_untuned_optimizer_is_confirmed_as_given():
    study = small_study()
    unit = Unit(WORKLOAD, study.contender("adam"))
    assert points(study, unit) == [{}]
    assert {run.experiment.optimizer for run in plan_confirmations(study, unit, 0)} == {Adam()}


@pytest.mark.parametrize("search", ["sobol", "random"])
def test_a_study_that_grows_keeps_its_runs(search):
    small = small_study(search=search, workloads=WORKLOADS, contenders=CONTENDERS)
    large = dataclasses.replace(small, trials=7, trial_seeds=2, seeds=4, repetitions=2)
    for unit in units(small):
        assert {run.path for run in plan_trials(small, unit)} <= {run.path for run in plan_trials(large, unit)}
        for one, other in zip(plan_confirmations(small, unit, 0), plan_confirmations(large, unit, 0), strict=False):
            assert one == other
        if unit.contender.searched:
            assert plan_finalists(small, unit, [1]) == plan_finalists(large, unit, [0, 1])[large.finalist_seeds :]


def test_repetitions_and_workloads_draw_different_points():
    study = small_study(workloads=WORKLOADS, repetitions=2)
    tuned = [unit for unit in units(study) if unit.contender.searched]
    drawn = [tuple(point.values()) for unit in tuned for point in points(study, unit)]
    assert len(tuned) == 4
    assert len(set(drawn)) == len(drawn)


def shares_of(study: Study, contender: str) -> list[dict[str, float]]:
    """Returns the points of a contender as shares of its ranges."""
    unit = Unit(WORKLOAD, study.contender(contender))
    space = unit.contender.searched
    return [{field: space[field].share(value) for field, value in p.items()} for p in points(study, unit)]  # type: ignore[union-attr]


DECAY = {"optimizer.weight_decay": Axis(1e-6, 1e-2, "log")}
B1 = {"optimizer.b1": Axis(0.5, 0.9, "linear")}


@pytest.mark.parametrize("search", ["sobol", "random"])
def test_contenders_share_points_regardless_of_names_and_order_of_fields(search):
    wide = Space({"optimizer.weight_decay": Axis(1e-3, 1.0, "log"), "optimizer.learning_rate": Axis(1e-5, 0.1, "log")})
    contenders = (
        Contender(name="one", optimizer=Adam(), space=Space({**RATE, **DECAY})),
        Contender(name="equal", optimizer=Adam(), space=Space({**DECAY, **RATE})),
        Contender(name="wide", optimizer=AdamW(), space=wide),
        Contender(name="more", optimizer=Adam(), space=Space({**B1, **DECAY, **RATE})),
        Contender(name="rate", optimizer=SGD(), space=RATE),
    )
    study = small_study(contenders=contenders, trials=5, search=search)
    one, equal = (Unit(WORKLOAD, contender) for contender in contenders[:2])
    assert [run.values for run in plan_trials(study, one)] == [run.values for run in plan_trials(study, equal)]
    first = shares_of(study, "one")
    for name in ("wide", "more", "rate"):
        for own, expected in zip(shares_of(study, name), first, strict=True):
            common = own.keys() & expected.keys()
            assert {f: own[f] for f in common} == pytest.approx({f: expected[f] for f in common}, abs=1e-6)
    renamed = dataclasses.replace(contenders[0], name="another")
    assert points(study, Unit(WORKLOAD, renamed)) == points(study, one)


def test_a_space_of_few_points_has_one_trial_for_each_of_them():
    few = Space({"optimizer.nesterov": Choice((False, True)), "optimizer.momentum": Choice((0.5, 0.9))})
    contender = Contender(name="sgd", optimizer=SGD(momentum=0.9), space=few)
    for search in ("sobol", "random", "grid"):
        study = small_study(contenders=(contender,), trials=16, search=search)
        assert len({run.path for run in plan_trials(study, units(study)[0])}) == 4


def test_the_entry_of_a_run_has_its_unit_in_json():
    study = small_study(trial_seeds=2, repetitions=2)
    unit = units(study)[1]
    run = plan_trials(study, unit)[3]
    assert run.entry.to_json() == {
        "phase": "trial",
        "workload": "cnn",
        "contender": "sgd",
        "repetition": 1,
        "trial": 1,
        "seed": 3 * MOST_SEEDS + 1,
        "digest": run.experiment.digest,
        "path": run.path,
    }
    assert (unit.label, units(study)[0].label) == ("cnn, sgd (search 2)", "cnn, sgd")


def test_a_grid_has_a_trial_for_each_of_its_points():
    space = Space({"optimizer.learning_rate": Axis(0.1, 1, "log"), "optimizer.weight_decay": Axis(1e-4, 1e-2, "log")})
    study = small_study(contenders=(Contender(name="sgd", optimizer=SGD(), space=space),), trials=10, search="grid")
    values = [tuple(run.values.values()) for run in plan_trials(study, units(study)[0])]
    assert values == [(rate, decay) for rate in (0.1, 0.316228, 1.0) for decay in (1e-4, 1e-3, 1e-2)]
