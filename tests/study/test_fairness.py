"""The project's studies are fair: all tuned optimizers have ranges of the same size and the same warm-up."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from jaxopt_bench.optimizers import Constant
from jaxopt_bench.optimizers.axes import WEIGHT_DECAYS
from jaxopt_bench.optimizers.schedules import warmup_of
from jaxopt_bench.study import STUDIES, Contender, Study, protocol

SHIPPED = STUDIES.load_folder()
RATE, DECAY = "optimizer.learning_rate", "optimizer.weight_decay"


def tuned(study: Study) -> list[Contender]:
    return [contender for contender in study.contenders if contender.searched]


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_all_tuned_optimizers_search_equally_many_decades_of_learning_rates(name):
    for contender in tuned(SHIPPED[name]):
        if "learning_rate" not in contender.optimizer.searched:  # the method sets its own learning rate
            assert RATE not in contender.searched
            continue
        rates: Any = contender.searched[RATE]
        default = {f.name: f.default for f in dataclasses.fields(contender.optimizer)}["learning_rate"]
        around = math.log10(default / rates.low), math.log10(rates.high / default)
        assert around == pytest.approx((1, 2.5), abs=1e-5)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_weight_decays_have_the_range_of_their_form(name):
    for contender in tuned(SHIPPED[name]):
        if DECAY in contender.searched:
            assert contender.searched[DECAY] == WEIGHT_DECAYS[contender.optimizer.decay_form]


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_all_tuned_optimizers_have_the_same_warmup(name):
    """Untuned optimizers are not checked: they train as published, with their defaults, or to compare warm-ups."""
    assert len({warmup_of(contender.schedule) for contender in tuned(SHIPPED[name])}) <= 1


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_schedules_are_equal_or_the_protocol_names_those_that_differ(name):
    study = SHIPPED[name]
    said = [sentence for sentence in protocol(study) if "schedules differ" in sentence]
    assert len(said) == (len({contender.schedule for contender in study.contenders}) > 1)
    for contender in study.contenders:
        if isinstance(contender.schedule, Constant) and contender.optimizer.schedule.is_constant:
            assert f"which the method prescribes ({contender.optimizer.schedule.source})" in said[0]


@pytest.mark.parametrize("name", ["cifar10_resnet", "cifar10_resnet20_short", "digits", "suite"])
def test_the_space_of_padam_contains_that_of_amsgrad_if_both_are_tuned(name):
    study = SHIPPED[name]
    padam = study.contender("padam")
    unit = padam.optimizer.gradient_unit
    space = study.contender("amsgrad").searched
    assert space.keys() == {RATE, DECAY}
    for share in (0, 0.5, 1):
        inside = {field: axis.value(share) for field, axis in space.items()}
        assert inside[RATE] / unit in padam.searched[RATE]
        assert inside[DECAY] in padam.searched[DECAY]
    assert 0.5 in padam.searched["optimizer.partial"]
