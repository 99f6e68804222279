"""Frozen dataclasses as configurations: they are checked at construction, written as JSON, and read back strictly.

A `Config` holds numbers, strings, booleans, tuples of those and other configs, and tuples of configs. Several kinds of
config (the optimizers, the models, the schedules) are chosen by name from a table. `ConfigTable` is such a table, and
in JSON the name is stored beside the fields.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Self, TypeVar

import numpy as np

from jaxopt_bench.errors import UserError, unknown_name

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The interval that must contain a number; `None` means no limit on that side."""

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None

    def __contains__(self, value: float) -> bool:
        return not (
            (self.above is not None and not value > self.above)
            or (self.at_least is not None and not value >= self.at_least)
            or (self.below is not None and not value < self.below)
            or (self.at_most is not None and not value <= self.at_most)
        )

    def __str__(self) -> str:
        words = {"above": ">", "at_least": ">=", "below": "<", "at_most": "<="}
        parts = [f"{sign} {getattr(self, side):g}" for side, sign in words.items() if getattr(self, side) is not None]
        return " and ".join(parts)


def number_field(
    default: T,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> T:
    """Returns a dataclass field that holds a number (or a tuple of numbers, or None) within bounds."""
    bounds = Bounds(above, at_least, below, at_most)
    return dataclasses.field(default=default, metadata={"bounds": bounds})


@dataclasses.dataclass(frozen=True)
class Config:
    """Base of every configuration. Construction checks each field's type and bounds.

    Integers for float fields become floats, and lists become tuples, so that equal configurations are equal
    and have equal JSON.

    Raises:
      UserError: if a value is not accepted; the message names the field, the value and the accepted values.
    """

    kinds: ClassVar[Mapping[str, ConfigTable[Any]]] = {}  # field name -> table, for the fields that are chosen by name
    added_later: ClassVar[tuple[str, ...]] = ()  # fields that older runs do not have: JSON omits their default values

    def __post_init__(self) -> None:
        hints = _hints(type(self))
        for field in dataclasses.fields(self):
            where = f"{type(self).__name__}.{field.name}"
            value = _convert(where, getattr(self, field.name), hints[field.name], field.metadata)
            object.__setattr__(self, field.name, value)

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values; a field that is chosen by name includes its `name`.

        Fields of `added_later` are left out if they have their defaults, so that digests of older runs stay valid.
        """
        result: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in self.added_later and value == field.default:
                continue
            if field.name in self.kinds:
                result[field.name] = {"name": self.kinds[field.name].name_of(value), **value.to_json()}
            else:
                result[field.name] = _to_json(value)
        return result

    @classmethod
    def from_json(cls, values: Mapping[str, Any], where: str = "") -> Self:
        """Returns the configuration that `to_json` wrote.

        A missing field gets its default.

        Args:
          values: a JSON object.
          where: the path to it, for error messages.

        Raises:
          UserError: for an unknown field, a missing field without a default, a value of the wrong type or out of
            bounds, or `values` that are not an object.
        """
        if not isinstance(values, Mapping):
            raise UserError(f"{where or cls.__name__}: {values!r} is not an object with the fields of {cls.__name__}.")
        hints = _hints(cls)
        names = {field.name for field in dataclasses.fields(cls)}
        arguments: dict[str, Any] = {}
        for name, value in values.items():
            if name not in names:
                raise unknown_name(f"field of {where or cls.__name__}", name, names)
            path = f"{where}.{name}" if where else name
            if name in cls.kinds:
                arguments[name] = cls.kinds[name].from_json(value, path)
            else:
                arguments[name] = _from_json(hints[name], value, path)
        missing = [field.name for field in required_fields(cls) if field.name not in arguments]
        if missing:
            raise UserError(f"{where or cls.__name__}: the field {missing[0]!r} is missing.")
        return cls(**arguments)


def required_fields(cls: type[Config]) -> list[dataclasses.Field[Any]]:
    """Returns the fields that have no default."""
    missing = dataclasses.MISSING
    return [f for f in dataclasses.fields(cls) if f.default is missing and f.default_factory is missing]


def float_fields(config: Config) -> dict[str, float | tuple[float, ...]]:
    """Returns the values of a configuration's float fields by name. A field that is None is left out."""
    kinds = _hints(type(config)).items()
    values = {name: getattr(config, name) for name, kind in kinds if kind is float or float in typing.get_args(kind)}
    return {name: value for name, value in values.items() if value is not None}


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the fields of a JSON object and of the objects inside it, under the names of their flags."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


C = TypeVar("C", bound=Config)


class ConfigTable(dict[str, C]):
    """A table of default configurations by name. Several names may share a class (resnet20, resnet32, …)."""

    def __init__(self, kind: str, **entries: C):
        super().__init__(entries)
        self.kind = kind

    def __getitem__(self, name: str) -> C:
        if name not in self:
            raise unknown_name(self.kind, name, self)
        return super().__getitem__(name)

    def name_of(self, config: C) -> str:
        """Returns the name whose default has the same class and differs in the fewest fields; float fields count least.

        So the name does not change with a number that training uses as an array.
        """
        candidates = {name: entry for name, entry in self.items() if type(entry) is type(config)}
        if not candidates:
            raise UserError(f"the class of {self.kind} {config!r} is not in the table: {', '.join(sorted(self))}.")
        return min(candidates, key=lambda name: _differences(candidates[name], config))

    def from_json(self, values: Any, where: str = "") -> C:
        """Returns the configuration for `{"name": …, fields …}`; missing fields get the defaults of the name."""
        if not isinstance(values, Mapping) or not isinstance(values.get("name"), str):
            raise UserError(f"{where or self.kind}: {values!r} is not an object with a 'name'.")
        default = self[values["name"]]
        fields = {name: value for name, value in values.items() if name != "name"}
        return type(default).from_json({**default.to_json(), **fields}, where)


_hints: Callable[[Any], dict[str, Any]] = functools.cache(typing.get_type_hints)


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_to_json(item) for item in value)
    if isinstance(value, float) and math.isinf(value):  # JSON cannot represent it as a number
        return str(value)
    return value.to_json() if hasattr(value, "to_json") else value


def _from_json(hint: Any, value: Any, path: str) -> Any:
    """Converts a JSON value to the config, or the configs, of the type hint; any other value is returned unchanged."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType) and value is not None:
        return _from_json(next((a for a in arguments if hasattr(a, "from_json")), None), value, path)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_from_json(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    return hint.from_json(value, path) if hasattr(hint, "from_json") and value is not None else value


def _differences(one: Config, other: Config) -> tuple[int, int]:
    """Returns the number of differing fields that are part of a program, and the number of other differing fields."""
    differing = [
        (a, b) for f in dataclasses.fields(one) if (a := getattr(one, f.name)) != (b := getattr(other, f.name))
    ]
    numbers = [pair for pair in differing if all(isinstance(value, float) for value in pair)]
    return len(differing) - len(numbers), len(numbers)


def _convert(where: str, value: Any, hint: Any, metadata: Mapping[str, Any]) -> Any:
    """Returns `value` with the type of `hint`, or raises the error that names the accepted values."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (hint,) = (argument for argument in arguments if argument is not type(None))
        return _convert(where, value, hint, metadata)
    if origin is Literal:
        if value not in arguments or type(value) not in {type(a) for a in arguments}:
            raise UserError(f"{where} is {value!r}. Expected: {', '.join(map(repr, arguments))}.")
        return value
    if origin is tuple:
        count = None if arguments[-1] is Ellipsis else len(arguments)
        if not isinstance(value, (tuple, list)) or count not in (None, len(value)):
            several = f"{'' if count is None else f'{count} '}{arguments[0].__name__}s"
            raise UserError(f"{where} is {value!r}. Expected: a list of {several}.")
        return tuple(_convert(f"{where}[{i}]", item, arguments[0], metadata) for i, item in enumerate(value))
    if hint is Any:
        return value
    if hint in (int, float):
        return _convert_number(where, value, hint, metadata)
    if not isinstance(value, hint):
        raise UserError(f"{where} is {value!r}. Expected: a {hint.__name__}.")
    if hint is str and any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in value):
        raise UserError(f"{where} is {value!r}. Expected: a text without control characters and lone surrogates.")
    return value


def _convert_number(where: str, value: Any, hint: type, metadata: Mapping[str, Any]) -> Any:
    """Returns a number with the type of its field.

    Args:
      where: the field, for messages.
      value: the given value.
      hint: int or float.
      metadata: the metadata of the field. `bounds`: the interval that must contain the number; `usual`: the interval
        that contains such a number in most cases; `infinite`: whether the number may be infinite.
    """
    is_infinite = value in ("inf", "-inf") or (isinstance(value, (float, np.floating)) and math.isinf(value))
    if metadata.get("infinite") and hint is float and is_infinite:
        return float(value)
    bounds = metadata.get("bounds")
    words = {int: "an integer", float: "a finite number"}[hint] + (f" {bounds}" if bounds and str(bounds) else "")
    allowed = (int, np.integer) if hint is int else (int, float, np.integer, np.floating)
    converted = hint(value) if isinstance(value, allowed) and not isinstance(value, bool) and _fits(value) else None
    if converted is None or (bounds is not None and converted not in bounds):
        raise UserError(f"{where} is {value!r}. Expected: {words}.")
    limits = bounds or metadata.get("usual")
    if hint is float and limits is not None and converted in limits:
        rounded = _in_float32(converted)
        if math.isinf(rounded) or rounded not in Bounds(above=limits.above, below=limits.below):
            raise UserError(
                f"{where} is {value!r}, but training computes in float32, where it rounds to {rounded:g}. "
                f"Expected a finite number {limits} in float32."
            )
    return converted


def _in_float32(value: float) -> float:
    """Returns a number rounded to float32, the precision of training; numbers below its normal range become 0."""
    with np.errstate(over="ignore"):
        rounded = np.float32(value)
    return float(rounded) if abs(rounded) >= np.finfo(np.float32).tiny else 0.0


def _fits(value: Any) -> bool:
    """Returns whether a float can hold a number."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
