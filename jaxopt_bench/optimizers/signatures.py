"""Reads the parameters of a function: which become fields of an optimizer, with which types and defaults."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import math
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal

from jaxopt_bench.arguments import NOT_GIVEN, hint_of, plain, union_members

Factory = Callable[..., Any]

RATE = "learning_rate"
RATE_NAMES = (
    RATE, "lr", "base_learning_rate", "base_lr", "peak_learning_rate", "peak_lr", "max_learning_rate", "max_lr",
    "init_learning_rate", "init_lr", "initial_learning_rate", "initial_lr", "learning_rate_init", "lr_init", "lr0",
    "learn_rate", "learningrate", "lrate", "step_size", "stepsize",
)  # fmt: skip
"""Names of learning rates in functions, in lower case. The first one that a function has is its learning rate."""
AMBIGUOUS_RATE_NAMES = ("alpha", "eta", "α", "η", "alpha0", "eta0", "rate", "gamma", "γ")
"""Names that mean the learning rate in some functions and something else in others."""
DECAY = "weight_decay"
DECAY_NAMES = (DECAY, "weight_decay_rate", "weight_decay_coefficient", "weightdecay", "wd")
"""Names of weight decays in functions."""


@dataclasses.dataclass(frozen=True)
class Argument:
    """A parameter of a function that can be set.

    Attributes:
      kind: the type of its field.
      default: the field's default, or `NOT_GIVEN`.
      convert: converts a value of the field into the argument.
    """

    kind: Any
    default: Any
    convert: Callable[[Any], Any] = lambda value: value


def is_left_to_us(factory: Factory, parameter: inspect.Parameter) -> bool:
    """Returns whether a function leaves an argument, such as a mask or a key, to its caller.

    This is the case if the argument has no default or the default None (or True for a mask, which then means all), and
    if the annotation does not ask for a number, a text or a choice.
    """
    among = union_members(hint_of(factory, parameter)) - {type(None), None}
    asked = bool(among) and all(member in (float, int, bool, str) or _is_choice(member) for member in among)
    whole_mask = parameter.default is True and "mask" in parameter.name and bool(among)
    return not asked and (parameter.default is None or parameter.default is NOT_GIVEN or whole_mask)


def argument(factory: Factory, parameter: inspect.Parameter) -> Argument | None:
    """Returns the field of a parameter; None if its values cannot be written as flags and JSON."""
    default, hint = plain(parameter.default), hint_of(factory, parameter)
    among = union_members(hint)
    kind: Any
    choices = next((member for member in among if _is_choice(member)), None)
    if isinstance(default, enum.Enum):
        choices = type(default)
    if choices is not None and isinstance(choices, type):
        return _of_enumeration(choices, default)
    if choices is not None and (default is NOT_GIVEN or default in typing.get_args(choices)):
        return Argument(choices, default)
    if isinstance(default, bool):
        return Argument(bool, default)
    if isinstance(default, int) and (int not in among or float in among):  # a number that happens to be whole
        kind = float | None if type(None) in among else float
        return Argument(kind, default, whole_if_possible)
    if hint is float or isinstance(default, float):
        return Argument(float | None if type(None) in among else float, default)
    if isinstance(default, (int, str)):
        return Argument(type(default), default)
    if isinstance(default, (tuple, list)) and _are_numbers(default):
        convert = getattr(type(default), "_make", type(default))  # `_make` of a named tuple
        return Argument(tuple[float, ...], tuple(float(plain(item)) for item in default), convert)
    if default is None and not any(typing.get_origin(member) not in (None, Callable) for member in among):  # no pytree
        kind = float | None if float in among else int | None if int in among else None
    elif default is NOT_GIVEN:
        simple = hint in (float, int, bool, str)
        kind = hint if simple else float if hint is None or float in among else None
    else:
        kind = None
    return None if kind is None else Argument(kind, default)


def rate_name(names: Sequence[str], acts_as_rate: Callable[[str], bool]) -> str | None:
    """Returns the name of the parameter that is a function's learning rate; None if there is none.

    Args:
      names: the names of the parameters.
      acts_as_rate: returns whether a parameter with an ambiguous name is a learning rate.
    """
    known = {name.lower(): name for name in reversed(names)}
    sure = next((known[name] for name in RATE_NAMES if name in known), None)
    if sure is not None:
        return sure
    return next((known[name] for name in AMBIGUOUS_RATE_NAMES if name in known and acts_as_rate(known[name])), None)


def decay_name(names: Sequence[str]) -> str | None:
    """Returns the name of the parameter that is a function's weight decay; None if there is none."""
    known = {name.lower(): name for name in reversed(names)}
    return next((known[name] for name in DECAY_NAMES if name in known), None)


def _is_choice(hint: Any) -> bool:
    return typing.get_origin(hint) is Literal or (isinstance(hint, type) and issubclass(hint, enum.Enum))


def _of_enumeration(kind: type[enum.Enum], default: Any) -> Argument | None:
    """Returns an enumeration as a choice among texts: its values if they are texts, else its names.

    Returns None if the default is a combination of flags, which is not one of these texts.
    """
    if isinstance(default, enum.Flag) and default not in list(kind):
        return None
    by_text = {str(member.value): member for member in kind}
    if not all(isinstance(member.value, str) for member in kind):
        by_text = {member.name: member for member in kind}
    chosen: Any = Literal[tuple(by_text)]
    if default is None:
        chosen |= None
    text = next((text for text, member in by_text.items() if member is default), default)
    return Argument(chosen, text, lambda value: by_text.get(value, value))


def whole_if_possible(value: Any) -> Any:
    """Returns a whole number as an integer, which is the type of the function's own default."""
    return int(value) if isinstance(value, float) and math.isfinite(value) and value.is_integer() else value


def _are_numbers(values: Sequence[Any]) -> bool:
    """Returns whether a sequence holds only numbers. Integers alone do not count: they may be axes."""
    numbers = [plain(value) for value in values]
    return any(isinstance(n, float) for n in numbers) and all(type(n) in (int, float) for n in numbers)
