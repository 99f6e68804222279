"""Studies with `same_trials`: each trial has the same hyperparameters on every workload."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from jaxopt_bench import UserError
from jaxopt_bench.optimizers import SGD, Axis, Constant, Cosine, Exponential, MultiStep, Space, WarmupStableDecay
from jaxopt_bench.study import Contender, Extension, Study, merge_studies, plan_trials, points, protocol, units
from tests.study.studies import RATE, WORKLOAD, small_study

WORKLOADS = (WORKLOAD, dataclasses.replace(WORKLOAD, name="short", epochs=2))
SEARCHED = (Contender(name="sgd", optimizer=SGD(), space=RATE), Contender(name="again", optimizer=SGD(), space=RATE))


def study_of(**fields: Any) -> Study:
    return small_study(**{"workloads": WORKLOADS, "contenders": SEARCHED, "trials": 5, "same_trials": True} | fields)


def rates(study: Study) -> dict[tuple[str, int], list[float]]:
    """Returns the learning rates of trials by workload and repetition; all contenders must have the same ones."""
    found: dict[tuple[str, int], list[float]] = {}
    for unit in units(study):
        own = [point["optimizer.learning_rate"] for point in points(study, unit)]
        assert found.setdefault((unit.workload.name, unit.repetition), own) == own
    return found


@pytest.mark.parametrize("search", ["sobol", "random", "grid", "halving"])
def test_a_trial_has_the_same_hyperparameters_on_every_workload(search):
    of = rates(study_of(search=search, repetitions=2))
    assert of["cnn", 0] == of["short", 0]
    assert of["cnn", 1] == of["short", 1]
    assert (of["cnn", 0] == of["cnn", 1]) == (search == "grid")  # repetitions draw again
    if search != "grid":
        other = rates(study_of(search=search, same_trials=False))
        assert other["cnn", 0] != other["short", 0]


def test_trials_beyond_an_edge_are_the_same_on_every_workload_too():
    box = Extension(after=2, until=4, space=Space({"optimizer.learning_rate": Axis(1.0, 10.0, "log")}))
    of = rates(study_of(contenders=(dataclasses.replace(SEARCHED[0], extensions=(box,)),)))
    assert of["cnn", 0] == of["short", 0]
    assert [rate >= 1 for rate in of["cnn", 0]] == [False, False, True, True, False]


def test_a_larger_budget_keeps_the_trials():
    small, large = rates(study_of(trials=3)), rates(study_of(trials=7))
    assert all(large[key][:3] == found for key, found in small.items())


def test_different_numbers_of_trials_are_refused():
    message = r"the numbers of trials differ: 2 on cnn, 10 on short\. Expected the same number .* Study.trials"
    with pytest.raises(UserError, match=message):
        study_of(trials=None, total_epochs=20)
    equal = tuple(dataclasses.replace(workload, epochs=2) for workload in WORKLOADS)
    study = study_of(trials=None, total_epochs=20, workloads=equal)
    assert [len(plan_trials(study, unit)) for unit in units(study)] == [10] * 4


WARMUP = Space({**RATE, "schedule.warmup": Axis(0.1, 2.0, "log")})
SHARE = Space({**RATE, "schedule.warmup_share": Axis(0.01, 0.2, "log")})


@pytest.mark.parametrize(
    ("schedule", "space", "named"),
    [
        (Cosine(warmup=1), RATE, "schedule.warmup of sgd .* 2 and 10 epochs. Expected .*warmup_share"),
        (Constant(), WARMUP, "schedule.warmup of sgd"),
        (MultiStep(boundaries=(1.0,)), RATE, "schedule.boundaries of sgd"),
        (Exponential(), RATE, "schedule.every of sgd"),
    ],
)
def test_lengths_in_epochs_are_refused_if_workloads_have_different_epochs(schedule, space, named):
    contenders = (Contender(name="sgd", optimizer=SGD(), schedule=schedule, space=space),)
    with pytest.raises(UserError, match=named):
        study_of(contenders=contenders)
    study_of(contenders=contenders, same_trials=False)
    study_of(contenders=contenders, workloads=WORKLOADS[:1])


@pytest.mark.parametrize("schedule", [Cosine(warmup_share=0.05), Constant(), WarmupStableDecay(warmup_share=0.1)])
def test_shares_of_training_are_accepted_and_can_be_searched(schedule):
    study = study_of(contenders=(Contender(name="sgd", optimizer=SGD(), schedule=schedule, space=SHARE),))
    shares = {
        unit.workload.name: [run.experiment.schedule.warmup_share for run in plan_trials(study, unit)]  # type: ignore[attr-defined]
        for unit in units(study)
    }
    assert shares["cnn"] == shares["short"]
    assert len({*shares["cnn"]}) == 5


def test_same_trials_is_in_the_protocol_and_cannot_change_when_a_study_grows():
    same, other = study_of(), study_of(same_trials=False)
    assert sum(line.startswith("Same trials:") for line in protocol(same)) == 1
    assert not any(line.startswith("Same trials:") for line in protocol(other))
    assert merge_studies(same, dataclasses.replace(same, trials=9)).trials == 9
    with pytest.raises(UserError, match="same_trials: True; this command has False"):
        merge_studies(same, other)


def test_same_trials_is_recorded_only_if_it_is_true():
    assert Study.from_json(study_of().to_json()) == study_of()
    assert "same_trials" not in study_of(same_trials=False).to_json()
