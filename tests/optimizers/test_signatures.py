"""The parameters of users' functions become fields, choices, or arguments that the package fills in."""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import json
import math
import warnings
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_bench import Experiment, Workload
from jaxopt_bench.arguments import hint_of
from jaxopt_bench.errors import UserError
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import signatures, wrap_optimizer
from jaxopt_bench.problems import Classification


def left_open(lr=optax.constant_schedule(0.1), wd=None, half=jnp.bfloat16(0.5)):  # noqa: B008
    seen.update(wd=wd)
    return optax.sgd(lr)


def test_none_stays_none_and_a_schedule_is_not_a_default_learning_rate():
    cls = wrap_optimizer(left_open)
    with pytest.raises(TypeError, match="learning_rate"):
        cls()
    optimizer = cls(learning_rate=0.5)
    assert (optimizer.weight_decay, optimizer.half) == (None, 0.5)
    optimizer.transform(optimizer.hyperparameters()).init({"w": jnp.ones(3)})
    assert seen["wd"] is None
    assert "weight_decay" not in optimizer.search_space()


class Mode(enum.Enum):
    SIGN = "sign"
    PLAIN = "plain"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


def everything(
    learning_rate=1,
    whole=0,
    counted: int = 3,
    single=np.float32(1e-8),  # noqa: B008
    double: float = jnp.float32(0.9),
    integer=np.int64(2),  # noqa: B008
    flag=np.bool_(True),  # noqa: B008
    betas=(0, 0.999),
    several=[0.5, 0.25],  # noqa: B006
    mode: Mode = Mode.SIGN,
    level=Level.HIGH,
    chosen: Literal["a", "b"] = "b",
    growth=float("inf"),
    maybe: float | None = None,
    text: str = "x",
    tree: Any = None,
    mask: float = 0.5,
    key: str = "kernel",
    axes_weight_dimension_numbers: Any = None,
):
    seen.update(locals())
    return optax.sgd(learning_rate)


seen: dict[str, Any] = {}


def test_every_kind_of_default_is_a_field_and_is_passed_back_unchanged():
    optimizer = wrap_optimizer(everything)()
    optimizer.transform(optimizer.hyperparameters()).init({"w": jnp.ones(3)})
    fields = {f.name: getattr(optimizer, f.name) for f in dataclasses.fields(optimizer) if f.name in seen}
    assert fields == {
        "learning_rate": 1.0, "whole": 0.0, "counted": 3, "single": 1e-8, "double": 0.9, "integer": 2.0, "flag": True,
        "betas": (0.0, 0.999), "several": (0.5, 0.25), "mode": "sign", "level": "HIGH", "chosen": "b",
        "growth": math.inf, "maybe": None, "text": "x", "mask": 0.5, "key": "kernel",
    }  # fmt: skip
    assert seen["mode"] is Mode.SIGN
    assert seen["level"] is Level.HIGH
    assert isinstance(seen["several"], list)
    assert isinstance(seen["betas"], tuple)
    assert seen["tree"] is None
    assert (seen["key"], seen["flag"], seen["counted"]) == ("kernel", True, 3)
    assert seen["axes_weight_dimension_numbers"]({"w": jnp.ones((3, 2)), "b": jnp.ones(2)})["w"].output_axis == 1


def test_json_restores_values_of_every_kind():
    optimizer = wrap_optimizer(everything)(growth=math.inf, whole=0.5, mode="plain")
    experiment = Experiment(
        workload=Workload(problem=Classification(dataset="digits", model=CNN())), optimizer=optimizer
    )
    read = Experiment.from_json(json.loads(json.dumps(experiment.to_json(), allow_nan=False)))
    assert (read, read.digest) == (experiment, experiment.digest)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("mode", "signs", "mode is 'signs'. Expected: 'sign', 'plain'"),
        ("level", "MIDDLE", "level is 'MIDDLE'. Expected: 'LOW', 'HIGH'"),
        ("counted", 2.5, "counted is 2.5. Expected: an integer"),
        ("whole", math.nan, "whole is nan. Expected: a finite number"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(field, value, message):
    with pytest.raises(UserError, match=message):
        wrap_optimizer(everything)(**{field: value})


def usual(learning_rate: float = -1e-3, b1: float = 1.5, rho: float = 2.0):
    return optax.sgd(-learning_rate, 1 / rho)


def test_an_unusual_default_is_accepted_and_other_unusual_values_cause_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = wrap_optimizer(usual)(b1=0.5)
    with pytest.warns(UserWarning, match=r"usual: rho is 3\.0\. It is usually >= 0 and < 1"):
        assert dataclasses.replace(optimizer, rho=3.0).rho == 3.0


class Betas(NamedTuple):
    b1: float
    b2: float


class Parts(enum.Flag):
    BODY = 1
    HEAD = 2


def quoted(
    learning_rate: "float" = 0.1,
    level: "Level" = Level.LOW,
    order: "Literal[1, 2]" = 2,
    betas=Betas(0.9, 0.99),  # noqa: B008
    single=(np.float32(0.9), np.float32(1e-8)),  # noqa: B008
    parts: Parts = Parts.BODY | Parts.HEAD,
    key=jax.random.split(jax.random.key(0)),  # noqa: B008
):
    seen.update(locals())
    return optax.sgd(learning_rate)


def test_quoted_annotations_named_tuples_and_flags_are_passed_back_unchanged():
    optimizer = wrap_optimizer(quoted)()
    optimizer.transform(optimizer.hyperparameters()).init({"w": jnp.ones(3)})
    assert (optimizer.level, optimizer.order, optimizer.single) == ("LOW", 2, (0.9, 1e-8))
    assert type(optimizer.order) is int
    assert isinstance(seen["betas"], Betas)
    assert seen["parts"] is Parts.BODY | Parts.HEAD
    assert seen["key"].shape == (2,)
    with pytest.raises(UserError, match=r"level is 'MIDDLE'"):
        dataclasses.replace(optimizer, level="MIDDLE")


def chooses(learning_rate: float, level: Level):
    assert isinstance(level, Level)
    return optax.sgd(learning_rate)


class Built(optax.GradientTransformation):
    def __new__(cls, learning_rate: float, level: Level):
        return super().__new__(cls, *chooses(learning_rate, level))


@pytest.mark.parametrize("factory", [functools.partial(chooses, learning_rate=0.1), Built])
def test_annotations_of_partials_and_classes_are_resolved_in_their_modules(factory):
    assert inspect.signature(factory).parameters["level"].annotation == "Level"
    assert hint_of(factory, inspect.signature(factory).parameters["level"]) is Level


def masked(learning_rate, mask):
    return optax.masked(optax.sgd(learning_rate), mask)


@pytest.mark.parametrize(("decay_mask", "bias"), [("all", -0.5), ("kernels", 1.0)])
def test_a_mask_without_default_is_never_none(decay_mask, bias):
    optimizer = wrap_optimizer(masked)(learning_rate=0.5, decay_mask=decay_mask)
    transform, params = (
        optimizer.transform(optimizer.hyperparameters()),
        {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
    )
    updates, _ = transform.update(params, transform.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.5)
    np.testing.assert_allclose(updates["bias"], bias)


def named(function_arguments: str) -> Any:
    namespace: dict[str, Any] = {"Any": Any, "jax": jax}
    exec(f"def function({function_arguments}): pass", namespace)
    return namespace["function"]


@pytest.mark.parametrize(
    ("argument", "left"),
    [
        ("key", True), ("key=None", True), ("key: jax.Array = None", True), ("key: jax.Array | int = None", True),
        ("key: str", False), ("key: str = None", False), ("key='kernel'", False), ("key=0", False),
        ("mask", True), ("mask=None", True), ("mask: Any = None", True), ("mask: Any = True", True),
        ("mask: float", False), ("mask: float | None = None", False), ("mask=0.5", False), ("mask=True", False),
    ],
)  # fmt: skip
def test_masks_and_keys_are_filled_in_only_if_the_function_leaves_them_open(argument, left):
    function = named(argument)
    (parameter,) = inspect.signature(function).parameters.values()
    assert signatures.is_left_to_us(function, parameter) == left


@pytest.mark.parametrize(
    ("names", "rate"),
    [
        (["b1", "lr"], "lr"), (["lr", "learning_rate"], "learning_rate"), (["LR"], "LR"), (["base_lr"], "base_lr"),
        (["stepsize"], "stepsize"), (["step_size"], "step_size"), (["alpha", "lr"], "lr"), (["alpha"], "alpha"),
        (["eta", "b1"], "eta"), (["b1", "eps"], None), (["rate"], "rate"), (["eta0"], "eta0"), (["lr0"], "lr0"),
        (["lr_init"], "lr_init"), (["learn_rate"], "learn_rate"), (["drop_rate"], None),
    ],
)  # fmt: skip
def test_learning_rates_are_found_under_their_usual_names(names, rate):
    assert signatures.rate_name(names, lambda name: True) == rate
    assert signatures.rate_name(names, lambda name: False) == (
        None if rate in ("alpha", "eta", "eta0", "rate") else rate
    )


def smoothed(alpha=0.99, eps=1e-8):
    return optax.chain(optax.scale_by_rms(alpha, eps), optax.scale(-1e-3))


def stepped(alpha=0.01, eta: float = 0.9):
    return optax.sgd(alpha, eta)


def test_an_ambiguous_name_is_the_learning_rate_only_if_updates_are_proportional_to_it():
    assert wrap_optimizer(smoothed).arguments == {"alpha": "alpha", "eps": "eps"}
    assert wrap_optimizer(stepped).arguments == {"alpha": "learning_rate", "eta": "eta"}
    assert wrap_optimizer(stepped)().learning_rate == 0.01
