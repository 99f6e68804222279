"""Search spaces: every optimizer, built-in or a user's, has the same number of decades around its default."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from jaxopt_bench.optimizers import OPTIMIZERS, SGD, AdamW, AMSGrad, Axis, Choice, Padam, custom, load
from jaxopt_bench.optimizers.axes import rates_around
from jaxopt_bench.optimizers.decay import measure_decay_form
from jaxopt_bench.optimizers.padam import GRADIENT_UNIT
from tests.optimizers.few import slow_but_a_few

LEARNING_RATE_FREE = {"cocob", "dadapt_adamw", "dog", "dowg", "mechanic_adam", "prodigy"}
"""According to their papers, they find the learning rate, and the authors leave the factor on it at 1."""

SOURCE = """
import optax

def mine(learning_rate: float = 3e-3, b1: float = 0.9):
    return optax.adam(learning_rate, b1)

def required(learning_rate: float):
    return optax.sgd(learning_rate)

def without():
    return optax.chain(optax.scale_by_adam(), optax.scale(-1e-3))

def decayed(learning_rate: float = 1e-3, weight_decay: float = 1e-2):
    return optax.adamw(learning_rate, weight_decay=weight_decay)

def zero(learning_rate: float = 0.0):
    return optax.sgd(learning_rate)

def l2(learning_rate: float = 1e-3, weight_decay: float = 1e-4):
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(learning_rate))

def sgdw(learning_rate: float = 0.1, weight_decay: float = 1e-4):
    decay = optax.add_decayed_weights(weight_decay)
    return optax.chain(optax.trace(0.9), decay, optax.scale_by_learning_rate(learning_rate))

def unscaled(learning_rate: float = 1e-3, weight_decay: float = 1e-4):
    return optax.chain(optax.adam(learning_rate), optax.add_decayed_weights(-weight_decay))

def l2_momentum(learning_rate: float = 0.1, weight_decay: float = 1e-4):
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(learning_rate, 0.9))

def branching(learning_rate: float = 1e-3, weight_decay: float = 1e-2):
    if weight_decay < 0:
        raise ValueError
    return optax.adamw(learning_rate, weight_decay=weight_decay)

def broken(learning_rate: float = 1e-3, weight_decay: float = 1e-2):
    return optax.masked(optax.adamw(learning_rate, weight_decay=weight_decay), {"layer": True})
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Returns the path of a user's file."""
    path = tmp_path_factory.mktemp("user") / "user.py"
    path.write_text(SOURCE)
    return path


def decades(axis: Any) -> float:
    assert axis.scale == "log"
    return math.log10(axis.high) - math.log10(axis.low)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_searches_1_decade_below_and_2_5_above_its_default(name):
    optimizer = OPTIMIZERS[name]
    space = optimizer.search_space()
    axis = optimizer.axes()["learning_rate"]
    assert math.log10(optimizer.learning_rate / axis.low) == pytest.approx(1, abs=1e-5)
    assert math.log10(axis.high / optimizer.learning_rate) == pytest.approx(2.5, abs=1e-5)
    tuned = {"weight_decay"} if name in LEARNING_RATE_FREE else {"learning_rate", "weight_decay"}
    assert set(space) == tuned
    ends = {"coupled": (1e-6, 1e-2), "decoupled": (1e-4, 1.0), "unscaled": (1e-6, 1e-2)}[optimizer.decay_form]
    assert (space["weight_decay"].low, space["weight_decay"].high) == ends  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("mine", 3e-4, 0.948683),
        ("required", 3e-4, 0.948683),  # around the learning rate for functions without a default
        ("without", 0.1, 316.228),  # the factor on the updates, whose default is 1
        ("decayed", 1e-4, 0.316228),
        ("zero", 3e-4, 0.948683),
    ],
)
def test_a_users_optimizer_searches_as_many_decades_as_those_of_the_table(file, name, low, high):
    cls = load(f"{file}:{name}")
    given = {"learning_rate": 0.5} if name == "required" else {}
    space = cls(**given).search_space()
    assert list(space) == ["learning_rate", "weight_decay"]
    assert (space["learning_rate"].low, space["learning_rate"].high) == pytest.approx((low, high))  # type: ignore[union-attr]
    table = OPTIMIZERS["adamw"].search_space()
    assert [decades(axis) for axis in space.values()] == pytest.approx([decades(axis) for axis in table.values()])


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("decayed", "decoupled"),
        ("branching", "decoupled"),
        ("sgdw", "decoupled"),
        ("unscaled", "unscaled"),
        ("l2", "coupled"),
        ("l2_momentum", "coupled"),
        ("mine", "coupled"),  # the decay that is added around it
        ("broken", "coupled"),  # its updates cannot be computed for arbitrary parameters
    ],
)
def test_a_users_weight_decay_has_the_range_of_its_measured_form(file, name, form):
    optimizer = load(f"{file}:{name}")()
    assert optimizer.decay_form == form
    assert optimizer.search_space()["weight_decay"].high == (1.0 if form == "decoupled" else 1e-2)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "name", slow_but_a_few(sorted(set(OPTIMIZERS) - {"momo"}))
)  # its step size depends on its decay
def test_the_measured_form_of_decay_is_the_one_that_the_table_states(name):
    assert measure_decay_form(OPTIMIZERS[name]) == OPTIMIZERS[name].decay_form


def test_the_range_is_around_the_default_of_the_class_not_the_given_value():
    assert SGD(learning_rate=0.03).search_space() == SGD().search_space()
    assert SGD(momentum=0.9, nesterov=True).search_space() == SGD().search_space()


@pytest.mark.parametrize(
    "default", [0, 0.0, -1e-3, math.inf, math.nan, None, dataclasses.MISSING, 1e300, 1e-300, "1", True]
)
def test_an_unusable_default_gives_the_documented_range(default):
    assert (rates_around(default).low, rates_around(default).high) == (3e-4, 0.948683)


@pytest.mark.parametrize("default", [1e-30, 1e-12, 0.0025, 1, 1e30])
def test_every_usable_default_has_the_same_position_in_its_range(default):
    axis = rates_around(default)
    assert axis.value(1 / 3.5) == pytest.approx(default, rel=1e-5)
    assert decades(axis) == pytest.approx(3.5, abs=1e-5)


def test_the_low_ends_of_weight_decays_shrink_parameters_by_a_few_percent_at_most():
    """This is for 200 epochs of CIFAR-10 at batch size 128, with a cosine schedule, whose mean is 1/2."""
    steps = 200 * 390
    sgd, adamw = SGD().search_space()["weight_decay"], AdamW().search_space()["weight_decay"]
    with_momentum = steps / 2 * 0.1 / (1 - 0.9) * sgd.low  # type: ignore[union-attr]
    assert 1 - math.exp(-with_momentum) == pytest.approx(0.04, abs=0.005)
    assert 1 - math.exp(-steps / 2 * 1e-3 * adamw.low) == pytest.approx(0.004, abs=0.0005)  # type: ignore[union-attr]


def test_the_search_space_of_padam_contains_that_of_amsgrad():
    """At the exponent 1/2, Padam's learning rate times the unit of gradients is AMSGrad's."""
    padam = Padam(bias_correction=True, eps=1e-8, gradient_unit=GRADIENT_UNIT)
    its, contained = padam.search_space(), AMSGrad().search_space()
    assert 0.5 in its["partial"]
    assert its["weight_decay"] == contained["weight_decay"]
    rates = contained["learning_rate"]
    for share in (0, 0.25, 0.5, 0.75, 1):
        assert rates.value(share) / GRADIENT_UNIT in its["learning_rate"]
    assert decades(its["learning_rate"]) == pytest.approx(decades(rates), abs=1e-5)  # so no decade is added
    assert set(Padam().search_space()) == {"learning_rate", "weight_decay"}  # the paper's form, whose rates depend on p


def test_a_stated_space_replaces_the_default_space(file, monkeypatch):
    cls = load(f"{file}:mine")
    stated = {"learning_rate": Axis(1e-4, 1e-1, "log"), "b1": Choice((0.8, 0.9))}
    monkeypatch.setattr(cls, "user_space", stated)
    assert dict(cls().search_space()) == stated
    assert cls().axes()["learning_rate"].low == 3e-4  # the range around the default
    assert AdamW().search_space().keys() == {"learning_rate", "weight_decay"}


def test_a_recorded_optimizer_has_a_search_space(file):
    record = OPTIMIZERS.from_json({"name": "gone.py:gone", "code": "0" * 12, "learning_rate": 0.5, "b1": 0.9})
    assert isinstance(record, custom.RecordedOptimizer)
    assert list(record.search_space()) == ["learning_rate", "weight_decay"]
