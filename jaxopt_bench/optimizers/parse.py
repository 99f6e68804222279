"""Reads values, ranges and schedules of an optimizer that users write on the command line or in a Python file.

`LOW..HIGH` is a range to search. `LOW..HIGH:COUNT` means COUNT values that are evenly spaced in their logarithm.
`A,B,C` is a list of values. Sweeps and search spaces share these forms.
"""

from __future__ import annotations

import dataclasses
import math
import re
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from jaxopt_bench.arguments import union_members
from jaxopt_bench.config import ConfigTable
from jaxopt_bench.errors import UserError, shortened, unknown_name
from jaxopt_bench.optimizers.axes import SHARED_AXES, Axis, Choice, Scale, rounded
from jaxopt_bench.optimizers.base import Optimizer
from jaxopt_bench.optimizers.schedules import Schedule

MOST_POINTS = 10_000
"""The largest COUNT. A larger one is probably a typing error."""
FORMS = "Expected LOW..HIGH:COUNT, such as 1e-4..1e-1:8, or A,B,C, such as 1e-4,1e-3,1e-2"
"""The forms of the values of a field in a sweep."""
SPACE_FORMS = "Expected LOW..HIGH, such as 1e-4..1e-1, or values such as 0.9,0.99,0.999"
"""The forms of the searched values of a field."""
_SOURCE = "the user"
_DECAY_RATE = re.compile(r"(.*_)?(b[1-3]|beta[1-3]?|momentum|ema|ema_decay)")  # drawn by the logarithm of 1 − value
_NUMBER = re.compile(r"[-+]?\.?\d")


def logarithmic_points(low: float, high: float, count: int) -> tuple[float, ...]:
    """Returns points from `low` to `high`, both included, evenly spaced in their logarithm; six significant digits.

    Raises:
      UserError: if not 0 < `low` < `high`, `high` is infinite, or `count` is not between 2 and `MOST_POINTS`.
    """
    if not (0 < low < high < math.inf and 2 <= count <= MOST_POINTS):
        raise UserError(
            f"the range {low:g}..{high:g}:{count} is invalid. Expected LOW..HIGH:COUNT with 0 < LOW < HIGH and "
            f"2 <= COUNT <= {MOST_POINTS:,}, such as 1e-4..1e-1:8."
        )
    ratio = math.log(high / low)
    return (low, *(rounded(low * math.exp(ratio * i / (count - 1))) for i in range(1, count - 1)), high)


def parse_values(word: str) -> tuple[float, ...] | None:
    """Returns the values of a range such as "1e-4..1e-1:8" or of a list such as "1e-4,1e-3", in their order.

    Returns None if the word has neither form.

    Raises:
      UserError: if the word has the form of a range or a list but is invalid.
    """
    if not _NUMBER.match(word):
        return None
    try:
        if ".." in word:
            low, high, count = _ends(word)
            return logarithmic_points(low, high, int(count))
        return tuple(map(float, word.split(","))) if "," in word else None
    except ValueError as error:
        raise UserError(f"{word!r} is not a range or a list of numbers. {FORMS}.") from error


def parse_space(
    stated: Mapping[str, object], optimizer: Optimizer | type[Optimizer], schedule: Schedule | None, where: str
) -> dict[str, Axis | Choice]:
    """Returns a search space, given by the names of an optimizer's fields or of its function's arguments.

    Args:
      stated: the searched values, in the forms of `parse_searched`, by the name of a field ("learning_rate"), of the
        argument that sets it ("lr"), or of a field of the schedule ("schedule.warmup").
      optimizer: the optimizer with these fields, or its class.
      schedule: the schedule with the fields "schedule.…"; if None, these fields are not checked.
      where: the beginning of error messages, such as "--space" or "mine.py: SPACES['mine']".

    Returns:
      Ranges and choices by field: "learning_rate", "schedule.warmup".

    Raises:
      UserError: if a name is unknown, a field is named twice, or a range or list is invalid.
    """
    cls = optimizer if isinstance(optimizer, type) else type(optimizer)
    kinds = dict(typing.get_type_hints(cls))
    if schedule is not None:
        kinds |= {f"schedule.{field}": kind for field, kind in typing.get_type_hints(type(schedule)).items()}
    if not isinstance(stated, Mapping):
        raise UserError(f"{where} is {shortened(stated)}. Expected a dictionary of ranges or lists by field name.")
    space: dict[str, Axis | Choice] = {}
    for name, value in stated.items():
        field = _field(name, cls, schedule, where)
        if field in space:
            raise UserError(f"{where} names the field {field} twice. Expected one range or list for each field.")
        scale = "log" if field.startswith("schedule.") else _scale(cls, field)
        space[field] = parse_searched(value, f"{where}.{name}", kind=kinds.get(field), scale=scale)
    return space


def parse_searched(value: object, where: str, *, kind: Any = None, scale: Scale = "log") -> Axis | Choice:
    """Returns the searched values of one field.

    Args:
      value: a text: "1e-4..1e-1" (a range), "1e-4..1e-1:4" (four values, evenly spaced in their logarithm) or
        "0.9,0.99" (values); a list of values; one value, at which the field is fixed; or an `Axis` or `Choice`.
      where: the beginning of error messages.
      kind: the field's type; if None, each value in a text must be a number, true or false.
      scale: the scale of a range. A range with LOW <= 0 is linear. "log_one_minus" with HIGH >= 1 becomes "log".

    Raises:
      UserError: if the value has none of these forms, or does not suit the field's type.
    """
    if isinstance(value, (Axis, Choice)):
        return value
    if isinstance(value, str) and any(typing.get_origin(member) is tuple for member in union_members(kind)):
        raise UserError(
            f"{where} is {value!r}, but each value of this field is a list of numbers. Expected a list of lists in "
            "SPACES in the optimizer's file, such as [[0.9, 0.99], [0.9, 0.999]]."
        )
    if isinstance(value, str) and _NUMBER.match(value) and ".." in value:
        return _parsed_range(value, where, kind, scale)
    if isinstance(value, str):
        values = [_parsed_item(item.strip(), where, kind) for item in value.split(",")]
    else:
        values = [_as_kind(item, kind) for item in (value if isinstance(value, (list, tuple)) else [value])]
    if not values:
        raise UserError(f"{where} is an empty list. Expected at least one value.")
    if not all(isinstance(item, (bool, int, float, str, list, tuple, type(None))) for item in values):
        raise UserError(f"{where} is {shortened(value)}. {SPACE_FORMS}.")
    for i, item in enumerate(values):
        if item in values[:i]:
            raise UserError(f"{where} has the value {item!r} twice. Expected different values.")
    return Choice(tuple(values))


def parse_schedule(value: object, where: str, schedules: ConfigTable[Schedule]) -> Schedule:
    """Returns a schedule from its name, such as "constant", or with values, such as "cosine:warmup=1,final=0.1".

    Args:
      value: the text, or a `Schedule`.
      where: the beginning of error messages.
      schedules: the schedules by name.

    Raises:
      UserError: if the name or a field is unknown, or a field does not accept its value.
    """
    if isinstance(value, Schedule):
        return value
    if not isinstance(value, str):
        raise UserError(f"{where} is {shortened(value)}. Expected the name of a schedule, such as 'constant'.")
    name, colon, settings = value.partition(":")
    fields: dict[str, object] = {}
    for setting in settings.split(",") if colon else ():
        field, _, number = setting.partition("=")
        try:
            fields[field.strip()] = float(number)
        except ValueError as error:
            raise UserError(
                f"{where}: {setting!r} is not FIELD=NUMBER. Expected a schedule's name, such as constant, or with "
                "values, such as cosine:warmup=1,final=0.1."
            ) from error
    try:
        return schedules.from_json({"name": name.strip(), **fields}, "schedule")
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _ends(word: str) -> tuple[float, float, str]:
    """Returns the ends of a range, and the text of its count.

    Raises:
      ValueError: if an end is not a number.
    """
    low, _, rest = word.partition("..")
    high, _, count = rest.partition(":")
    if high.startswith("."):
        raise ValueError("three dots: is HIGH meant to begin with a decimal point?")
    return float(low), float(high), count


def _parsed_range(word: str, where: str, kind: Any, scale: Scale) -> Axis | Choice:
    members = union_members(kind)
    if kind is not None and float not in members:
        raise UserError(
            f"{where} is the range {word!r}, but the field does not take every number in it. Expected a list of "
            f"{'integers, such as 1,2,4' if int in members else 'its values'}."
        )
    try:
        if ":" in word:
            return Choice(parse_values(word) or ())
        low, high, _ = _ends(word)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    except ValueError as error:
        raise UserError(f"{where}: {word!r} is not a range of numbers. {SPACE_FORMS}.") from error
    if not -math.inf < low < high < math.inf:
        raise UserError(f"{where}: the range {word!r} is empty or infinite. Expected finite numbers with LOW < HIGH.")
    if low <= 0:
        return Axis(low, high, "linear", _SOURCE)
    if scale == "log_one_minus" and high < 1:
        return Axis(rounded(1 - high), rounded(1 - low), scale, _SOURCE)
    return Axis(low, high, "log" if scale == "log_one_minus" else scale, _SOURCE)


def _parsed_item(text: str, where: str, kind: Any) -> str | float | bool | None:
    """Returns the value of a text, in the field's type."""
    members = union_members(kind)
    words = {"true": True, "false": False}
    if kind is not None and type(None) in members and text.lower() == "none":
        return None
    if (kind is None or bool in members) and text.lower() in words:
        return words[text.lower()]
    for number in (int, float):
        if kind is None or number in members:
            try:
                return number(text)
            except ValueError:
                continue
    if kind is not None and not members & {int, float, bool} and text:
        return text
    expected = "true or false" if bool in members else "integers, such as 1,2,4"
    known = kind is not None and members & {int, bool}
    raise UserError(
        f"{where}: {text!r} is not a value of this field. {f'Expected {expected}' if known else SPACE_FORMS}."
    )


def _as_kind(value: Any, kind: Any) -> Any:
    """Returns a value; if it is an integer and the field has floats, as a float."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if is_integer and float in union_members(kind) else value


def _field(name: object, cls: type[Optimizer], schedule: Schedule | None, where: str) -> str:
    """Returns the field that a name means: "learning_rate", or "schedule.warmup"."""
    arguments: Mapping[str, str] = getattr(cls, "arguments", {})
    own = [field.name for field in dataclasses.fields(cls)]
    of_schedule = [f"schedule.{field.name}" for field in dataclasses.fields(schedule)] if schedule else []
    text = str(name).removeprefix("optimizer.").replace("-", "_")
    if text in own or text in of_schedule:
        return text
    if arguments.get(text) in own:
        return arguments[text]
    if schedule is None and text.startswith("schedule."):
        return text
    known: Iterable[str] = [*own, *(a for a, field in arguments.items() if field in own), *of_schedule]
    raise UserError(f"{where}: {unknown_name('field', text, dict.fromkeys(known))}")


def _scale(cls: type[Optimizer], field: str) -> Scale:
    """Returns the scale on which a field of an optimizer is searched."""
    axis = {**SHARED_AXES, **cls.own_axes}.get(field)
    return axis.scale if axis else "log_one_minus" if _DECAY_RATE.fullmatch(field) else "log"
