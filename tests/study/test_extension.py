"""Extensions of search spaces: the box beyond an edge and its trials. Earlier trials do not change."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import SGD, Adam, AdamW, Axis, Choice, Cosine, Padam, Space
from jaxopt_bench.study import Contender, Extension, Study, Unit, merge_studies, plan_trials, points, protocol, units
from tests.study.studies import RATE, WORKLOAD, small_study

BEYOND = Space({"optimizer.learning_rate": Axis(1.0, 10.0, "log")})
BELOW = Space({"optimizer.learning_rate": Axis(1e-4, 1e-3, "log")})
SGD_IN_RATE = Contender(name="sgd", optimizer=SGD(), space=RATE)
OTHER = Contender(name="other", optimizer=SGD(), space=RATE)


def extended(*boxes: tuple[int, int, Space]) -> Contender:
    """Returns SGD with extensions of its search space."""
    made = tuple(Extension(after=after, until=until, space=space) for after, until, space in boxes)
    return dataclasses.replace(SGD_IN_RATE, extensions=made)


def study_of(*contenders: Contender, **fields: Any) -> Study:
    return small_study(contenders=contenders, **fields)


def rates(study: Study, contender: int = 0) -> list[float]:
    return [point["optimizer.learning_rate"] for point in points(study, units(study)[contender])]


@pytest.mark.parametrize(
    ("axis", "end", "beyond"),
    [
        (Axis(1e-3, 1.0, "log"), "high", Axis(1.0, 10.0, "log")),
        (Axis(1e-3, 1.0, "log"), "low", Axis(1e-4, 1e-3, "log")),
    ],
)
def test_the_box_beyond_an_edge_is_one_decade_wide(axis, end, beyond):
    space = Space({"optimizer.learning_rate": axis, "optimizer.weight_decay": Axis(1e-6, 1e-2, "log")})
    box = Contender(name="sgd", optimizer=SGD(), space=space).beyond(f"optimizer.learning_rate ({end})")
    assert dict(box or {}) == {**space, "optimizer.learning_rate": beyond}


@pytest.mark.parametrize(
    ("optimizer", "field", "axis", "end", "values"),
    [
        (Adam(), "optimizer.b1", Axis(4e-3, 0.45, "log_one_minus"), "high", (0.996, 0.9996)),
        (Adam(), "optimizer.b1", Axis(4e-3, 0.45, "log_one_minus"), "low", (0.0, 0.55)),  # no decay rate below 0
        (Padam(), "optimizer.partial", Axis(1 / 16, 1 / 4, "log"), "high", (0.25, 0.5)),  # 0.5 is AMSGrad
        (Padam(), "optimizer.partial", Axis(1 / 16, 1 / 4, "log"), "low", (0.00625, 0.0625)),
        (SGD(), "schedule.final", Axis(0.1, 0.5, "linear"), "high", (0.5, 0.7)),  # half of the width
        (SGD(), "schedule.final", Axis(0.1, 0.5, "linear"), "low", (0.0, 0.1)),
    ],
)
def test_boxes_stay_within_natural_limits(optimizer, field, axis, end, values):
    contender = Contender(name="it", optimizer=optimizer, schedule=Cosine(), space=Space({field: axis}))
    box = contender.beyond(f"{field} ({end})")
    assert box is not None
    assert sorted((box[field].value(0), box[field].value(1))) == pytest.approx(values, abs=1e-9)


@pytest.mark.parametrize(
    ("optimizer", "field", "searched", "end"),
    [
        (Padam(), "optimizer.partial", Axis(1 / 16, 1 / 2, "log"), "high"),
        (SGD(), "schedule.final", Axis(0.0, 0.5, "linear"), "low"),
        (SGD(swa_start=0.5), "optimizer.swa_start", Axis(0.5, 0.9, "linear"), "high"),  # it must be below 1
        (Adam(), "optimizer.b2", Axis(1e-7, 0.1, "log_one_minus"), "high"),  # float32 rounds the next value to 1
        (SGD(), "optimizer.nesterov", Choice((False,)), "high"),
    ],
)
def test_there_is_no_box_beyond_a_natural_limit_or_beyond_a_choice(optimizer, field, searched, end):
    contender = Contender(name="it", optimizer=optimizer, schedule=Cosine(), space=Space({field: searched}))
    assert contender.beyond(f"{field} ({end})") is None


def test_the_next_box_lies_beyond_the_existing_ones():
    once = extended((2, 6, BEYOND))
    assert once.reach == Space({"optimizer.learning_rate": Axis(1e-3, 10.0, "log")})
    assert once.searched == RATE
    further = once.beyond("optimizer.learning_rate (high)")
    assert further == Space({"optimizer.learning_rate": Axis(10.0, 100.0, "log")})


budgets = st.fixed_dictionaries(
    {
        "search": st.sampled_from(["sobol", "random"]),
        "seed": st.integers(0, 1000),
        "repetitions": st.integers(1, 2),
        "trial_seeds": st.integers(1, 2),
    }
)


@settings(max_examples=10)
@given(budgets, st.integers(1, 8), st.integers(1, 6), st.integers(0, 4), st.integers(1, 5), st.integers(0, 4))
def test_earlier_trials_do_not_change_and_all_contenders_have_equally_many(
    fields, first, wide, between, wide_too, last
):
    """A study grows by a box, by further trials, by another box, and by further trials."""
    after = first + wide + between
    boxes = ((first, first + wide, BEYOND), (after, after + wide_too, BELOW))
    steps = [
        (extended(), first),
        (extended(boxes[0]), first + wide),
        (extended(boxes[0]), after),
        (extended(*boxes), after + wide_too),
        (extended(*boxes), after + wide_too + last),
    ]
    grown = [study_of(contender, OTHER, trials=budget, **fields) for contender, budget in steps]
    for earlier, later in itertools.pairwise(grown):
        for unit, same in zip(units(earlier), units(later), strict=True):
            before, now = plan_trials(earlier, unit), plan_trials(later, same)
            assert [run.path for run in now][: len(before)] == [run.path for run in before]
        assert {len(plan_trials(later, unit)) for unit in units(later)} == {later.trials * later.trial_seeds}
    drawn = rates(grown[-1])
    for index, rate in enumerate(drawn):
        box = next((box for low, high, box in boxes if low <= index < high), RATE)
        assert rate in box["optimizer.learning_rate"]
    own = [rate for i, rate in enumerate(drawn) if not any(low <= i < high for low, high, _ in boxes)]
    alone = study_of(SGD_IN_RATE, trials=len(own), **fields)
    assert own == rates(alone)  # the other trials are one sequence, as if there were no boxes
    less = study_of(extended(*boxes), OTHER, trials=first, **fields)
    assert rates(less) == drawn[:first]


def test_a_box_in_epochs_has_as_many_full_trials_as_fit_on_each_workload():
    workloads = (WORKLOAD, dataclasses.replace(WORKLOAD, name="short", epochs=5))  # the first has 10 epochs
    contender = extended((40, 80, BEYOND))
    study = study_of(contender, OTHER, workloads=workloads, trials=None, total_epochs=80)
    for workload, before, count in zip(workloads, (4, 8), (8, 16), strict=True):
        drawn = [p["optimizer.learning_rate"] for p in points(study, Unit(workload, contender))]
        assert [rate > 1 for rate in drawn] == [False] * before + [True] * (count - before)


def test_extensions_are_read_back_from_json_and_left_out_if_there_are_none():
    contender = extended((2, 6, BEYOND))
    assert Contender.from_json(contender.to_json()) == contender
    assert "extensions" not in SGD_IN_RATE.to_json()
    assert Contender.from_json(SGD_IN_RATE.to_json()) == SGD_IN_RATE


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (((2, 6, BEYOND), (5, 8, BEYOND)), "each after the trials of the one before"),
        (
            ((2, 6, Space({"optimizer.momentum": Axis(0.1, 0.5, "log")})),),
            "Expected boxes with the fields of its",
        ),
        (((2, 6, Space({"optimizer.learning_rate": Axis(-1.0, 0.5, "linear")})),), "SGD.learning_rate is -1"),
        (((6, 6, BEYOND),), "Extension.after is 6 and until is 6. Expected 0 < after < until"),
        (((0, 6, BEYOND),), "Extension.after is 0 and until is 6"),
    ],
)
def test_damaged_extensions_are_refused(boxes, message):
    with pytest.raises(UserError, match=message):
        extended(*boxes)


def test_a_folder_keeps_its_extensions_and_another_box_is_refused():
    plain, wide = study_of(SGD_IN_RATE, OTHER), study_of(extended((2, 6, BEYOND)), OTHER, trials=6)
    assert merge_studies(wide, plain) == wide == merge_studies(plain, wide)
    further = study_of(extended((2, 6, BEYOND), (6, 10, BELOW)), OTHER, trials=10)
    assert merge_studies(wide, further) == further == merge_studies(further, wide)
    with pytest.raises(UserError, match="has contenders sgd: extensions"):
        merge_studies(wide, study_of(extended((2, 6, BELOW)), OTHER, trials=6))
    added = merge_studies(wide, study_of(Contender(name="adamw", optimizer=AdamW(), space=RATE)))
    assert added.contenders == (*wide.contenders, Contender(name="adamw", optimizer=AdamW(), space=RATE))


def test_the_protocol_says_which_trials_are_drawn_beyond_an_edge():
    said = protocol(study_of(extended((2, 6, BEYOND)), OTHER, trials=6))
    assert (
        "Widened: some trials are drawn beyond an edge of a search space towards which results improved: sgd in "
        "learning_rate 1 to 10 (1 decade) (trials 3 to 6). All optimizers have the same number of trials." in said
    )
    epochs = protocol(study_of(extended((40, 80, BEYOND)), trials=None, total_epochs=80))
    assert any("(1 decade) (between 40 and 80 epochs of trials)" in sentence for sentence in epochs)
    assert not any("Widened" in sentence for sentence in protocol(study_of(SGD_IN_RATE)))
