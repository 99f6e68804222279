"""Newcomers and stated search spaces.

Newcomers are found by name or file and tuned in as many dimensions as the other optimizers. Flags change their spaces.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pytest

from jaxopt_bench import UserError
from jaxopt_bench.compare import add_newcomers, apply_space_and_schedule_flags, make_newcomer, tuning_differences
from jaxopt_bench.compare.folder import StudyFolder
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, Adam, AdamW, Axis, Choice, Constant, Cosine, MultiStep, Space, load
from jaxopt_bench.study import Contender, Study, find_study

RATE, DECAY = "optimizer.learning_rate", "optimizer.weight_decay"


replaced = dataclasses.replace


def study_of(small: Study, *contenders: Contender) -> Study:
    return dataclasses.replace(small, contenders=contenders)


def in_space(small: Study, **ranges: Any) -> Study:
    """Returns the study with all contenders tuned in the same ranges."""
    space = Space({f"optimizer.{field}": searched for field, searched in ranges.items()})
    return study_of(small, *(dataclasses.replace(c, space=space) for c in small.contenders))


def sizes(contender: Contender) -> dict[str, float]:
    """Returns the number of decades that a contender searches in each field."""
    return {f: round(math.log10(a.high / a.low), 3) for f, a in contender.searched.items()}  # type: ignore[union-attr]


def test_in_the_digits_study_a_newcomer_is_tuned_in_a_space_of_the_same_size(mine):
    """The number of searchable arguments has no influence. Contenders except Padam have spaces of this size, too."""
    study = find_study("digits")
    own = {c.name: sizes(c) for c in study.contenders}
    assert own.pop("padam") == {RATE: 3.5, DECAY: 4.0, "optimizer.partial": 0.903}  # its space contains AMSGrad's
    assert {tuple(each.items()) for each in own.values()} == {((RATE, 3.5), (DECAY, 4.0))}
    for reference in (f"{mine}:mine", "lion", "rmsprop", "muon"):
        new = make_newcomer(study, reference)
        assert list(sizes(new).items()) == [(RATE, 3.5), (DECAY, 4.0)]
        assert new.schedule == Cosine(warmup=1)
        assert tuning_differences(study, [new]) == []


def test_a_newcomer_searches_the_fields_that_the_tuned_contenders_have_in_common(small, mine):
    rate, b1 = Axis(1e-3, 1e-1, "log"), Axis(0.05, 0.5, "log_one_minus")
    assert list(make_newcomer(in_space(small, learning_rate=rate), f"{mine}:mine").searched) == [RATE]
    both = study_of(
        small,
        Contender(name="a", optimizer=Adam(), space=Space({"optimizer.b1": b1, RATE: rate})),
        Contender(name="b", optimizer=AdamW(), space=Space({RATE: rate, DECAY: rate, "optimizer.b1": b1})),
        Contender(name="c", optimizer=SGD(), space=Space()),  # not tuned
    )
    assert list(make_newcomer(both, f"{mine}:mine").searched) == ["optimizer.b1", RATE]
    assert list(make_newcomer(both, "lars").searched) == [RATE]  # LARS has no b1
    assert make_newcomer(both, "prodigy").searched.keys() == {"optimizer.b1"} & OPTIMIZERS["prodigy"].axes().keys()
    untuned = study_of(small, Contender(name="c", optimizer=SGD(), space=Space()))
    assert not make_newcomer(untuned, "lion").searched
    apart = study_of(
        small,
        Contender(name="a", optimizer=Adam(), space=Space({"optimizer.b1": b1})),
        Contender(name="b", optimizer=Adam(), space=Space({RATE: rate})),
    )
    assert list(make_newcomer(apart, "lion").searched) == [RATE, DECAY]


def test_a_newcomer_searches_the_schedule_fields_that_all_contenders_search(small):
    warmup = Choice((0.0, 0.5))
    space = Space({"schedule.warmup": warmup, RATE: Axis(1e-3, 1e-1, "log")})
    study = study_of(small, *(dataclasses.replace(c, space=space) for c in small.contenders))
    assert dict(make_newcomer(study, "lion").searched) == {
        "schedule.warmup": warmup, RATE: OPTIMIZERS["lion"].axes()["learning_rate"],
    }  # fmt: skip


def test_a_newcomer_has_the_others_schedule_or_the_one_its_method_prescribes(small, mine):
    cosine = study_of(small, *(dataclasses.replace(c, schedule=Cosine(warmup=0.5)) for c in small.contenders))
    new = make_newcomer(cosine, f"{mine}:mine")
    assert (new.name, new.schedule) == ("mine", Cosine(warmup=0.5))
    assert make_newcomer(cosine, "lion").optimizer == OPTIMIZERS["lion"]
    free = make_newcomer(cosine, "schedule_free_adamw")
    assert free.schedule == Constant(warmup=0.5)  # the same warm-up
    assert tuning_differences(cosine, [free])[-1] == (
        "schedule_free_adamw was trained under the schedule constant (warmup 0.5), the recorded optimizers under "
        "cosine (warmup 0.5)."
    )
    both = study_of(cosine, *cosine.contenders, free)
    assert make_newcomer(both, "lion").schedule == Cosine(warmup=0.5)  # the schedule of those without a prescribed one
    apart = study_of(small, *(replaced(c, schedule=Cosine(warmup=w)) for w, c in enumerate(small.contenders)))
    assert make_newcomer(apart, "lion").schedule == Cosine()
    steps = study_of(small, *(replaced(c, schedule=MultiStep()) for c in small.contenders))
    assert make_newcomer(steps, "schedule_free_adamw").schedule == Constant()


def test_a_space_and_a_schedule_stated_in_the_users_file_override_the_default(small, mine, monkeypatch):
    cls = load(f"{mine}:mine")
    stated = {
        "learning_rate": Axis(1e-4, 1e-1, "log"),
        "b1": Choice((0.9, 0.99)),
        "schedule.warmup": Choice((0.0, 0.5)),
    }
    monkeypatch.setattr(cls, "user_space", stated)
    monkeypatch.setattr(cls, "user_schedule", Cosine(final=0.1))
    new = make_newcomer(small, f"{mine}:mine")
    assert new.schedule == Cosine(final=0.1)
    found = {field.removeprefix("optimizer."): searched for field, searched in new.searched.items()}
    assert found == stated
    assert tuning_differences(small, [new]) == [
        "mine was tuned in a search space of its own: learning_rate 0.0001 to 0.1 (3 decades); b1 one of 0.9, 0.99; "
        "schedule.warmup one of 0, 0.5. The recorded optimizers were tuned in: learning_rate (2 decades).",
        "mine was trained under the schedule cosine (final 0.1), the recorded optimizers under constant.",
    ]


def test_another_range_of_the_same_size_is_reported_too():
    study = find_study("digits")
    (moved,) = apply_space_and_schedule_flags([make_newcomer(study, "lion")], ["lion.learning_rate=1e-4..0.316228"], [])
    (said,) = tuning_differences(study, [moved])
    assert said.startswith(
        "lion was tuned in a search space of its own: learning_rate 0.0001 to 0.316228 (3.5 decades); weight_"
    )
    (same,) = apply_space_and_schedule_flags([make_newcomer(study, "lion")], ["lion.learning_rate=1e-5..0.0316228"], [])
    assert tuning_differences(study, [same]) == []


def test_an_argument_without_default_is_refused(small, mine):
    assert make_newcomer(small, f"{mine}:mine").optimizer.learning_rate == 0.003
    with pytest.raises(
        UserError, match=r"the argument 'radius' without a default\. Expected a default for every argument"
    ):
        make_newcomer(small, f"{mine}:needy")
    with pytest.raises(UserError, match="unknown optimizer 'lino'; did you mean lion"):
        make_newcomer(small, "lino")


def test_a_users_optimizer_of_the_study_is_loaded_and_keeps_its_recorded_space(small, mine, tmp_path):
    contenders = apply_space_and_schedule_flags(
        add_newcomers(small, [f"{mine}:mine"]), ["mine.b1=0.8,0.9"], ["mine=cosine"]
    )
    began = StudyFolder(tmp_path / "study").begin(dataclasses.replace(small, contenders=contenders))
    recorded = find_study(str(tmp_path / "study"))
    assert [c.to_json() for c in recorded.contenders] == [c.to_json() for c in began.contenders]
    again = add_newcomers(recorded, [f"{mine}:mine"])
    assert isinstance(again[-1].optimizer, load(f"{mine}:mine"))
    assert again == began.contenders
    assert dict(again[-1].searched)["optimizer.b1"] == Choice((0.8, 0.9))
    assert again[-1].schedule == Cosine()
    with pytest.raises(UserError, match="--add adamw: adamw is already a contender"):
        add_newcomers(recorded, ["adamw"])


def test_flags_replace_single_fields_and_add_others(small):
    sgd, adamw = apply_space_and_schedule_flags(
        small.contenders,
        ["adamw.learning_rate=1e-4..1e-2", "adamw.b2=0.9,0.99", "adamw.schedule.warmup=0,0.5", "sgd.momentum=0.9"],
        ["adamw=cosine:final=0.1"],
    )
    assert dict(sgd.searched) == {**small.contenders[0].searched, "optimizer.momentum": Choice((0.9,))}
    assert sgd.schedule == small.contenders[0].schedule
    assert dict(adamw.searched) == {
        RATE: Axis(1e-4, 1e-2, "log"), "optimizer.b2": Choice((0.9, 0.99)), "schedule.warmup": Choice((0.0, 0.5)),
    }  # fmt: skip
    assert adamw.schedule == Cosine(final=0.1)


def test_names_of_contenders_may_contain_dots(small):
    dotted = dataclasses.replace(small.contenders[1], name="adamw.b1")
    plain, changed = apply_space_and_schedule_flags([small.contenders[1], dotted], ["adamw.b1.b2=0.9,0.99"], [])
    assert plain == small.contenders[1]
    assert "optimizer.b2" in changed.searched


@pytest.mark.parametrize(
    ("spaces", "schedules", "message"),
    [
        (["sgd"], [], "--space is 'sgd'. Expected NAME.FIELD=VALUES, such as adamw.learning_rate=1e-4..1e-1"),
        (["sgd=1..2"], [], "--space is 'sgd=1..2'. Expected NAME.FIELD=VALUES"),
        (["sgd.momentum="], [], "--space is 'sgd.momentum='. Expected NAME.FIELD=VALUES"),
        ([], ["sgd"], "--schedule is 'sgd'. Expected NAME=SCHEDULE, such as adamw=constant"),
        (["sgdd.momentum=0.9"], [], "unknown contender of --space 'sgdd'; did you mean sgd"),
        ([], ["sgdd=cosine"], "unknown contender of --schedule 'sgdd'; did you mean sgd"),
        (
            ["old.b1=0.9"],
            [],
            "--space old.b1=0.9: old is among the baselines and was trained already. Expected a newcomer",
        ),
        ([], ["old=cosine"], "--schedule old=cosine: old is among the baselines and was trained already"),
        (["sgd.momentun=0.9"], [], "--space sgd: unknown field 'momentun'; did you mean momentum"),
        (["sgd.momentum=0.5..1.5"], [], "--space sgd: SGD.momentum is 1.5"),
        (["sgd.momentum=0.9", "sgd.momentum=0.8"], [], "--space sgd.momentum is given twice"),
        ([], ["sgd=cosine", "sgd=constant"], "--schedule is given twice for sgd"),
        (["sgd.schedule.final=0.1"], [], "--space sgd: unknown field 'schedule.final'"),
        (["sgd.schedule.final=-1,0.1"], ["sgd=cosine"], "--space sgd: Cosine.final is -1.0"),
    ],
)
def test_mistakes_in_flags_are_reported(small, spaces, schedules, message):
    with pytest.raises(UserError, match=re.escape(message)):
        apply_space_and_schedule_flags(small.contenders, spaces, schedules, trained=["old"])


def test_a_changed_space_is_refused_but_an_equal_one_from_another_source_is_not(small, tmp_path):
    folder = StudyFolder(tmp_path)
    stated = apply_space_and_schedule_flags(small.contenders, ["sgd.learning_rate=1e-3..1e-1"], [])
    assert stated == small.contenders  # equal, though stated by the user
    folder.begin(small)
    folder.begin(dataclasses.replace(small, contenders=stated))
    wider = apply_space_and_schedule_flags(small.contenders, ["sgd.learning_rate=1e-3..1"], [])
    with pytest.raises(UserError, match=r"contenders sgd: space.optimizer.learning_rate.high 0.1; this command has"):
        folder.begin(dataclasses.replace(small, contenders=wider))


def test_a_newcomer_searches_its_learning_rate_beside_learning_rate_free_methods(small):
    contenders = [Contender(name=name, optimizer=OPTIMIZERS[name]) for name in ("prodigy", "adamw", "momentum")]
    study = study_of(small, *contenders)
    assert set(study.contender("prodigy").searched) == {DECAY}
    assert set(make_newcomer(study, "lion").searched) == {RATE, DECAY}
    assert set(make_newcomer(study, "dadapt_adamw").searched) == {DECAY}
    assert set(make_newcomer(study_of(small, contenders[0]), "lion").searched) == {DECAY}
