"""The arguments of a user's function: which of them become fields of a configuration, and the types of these fields."""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import docstring_parser
import jax
import numpy as np

from jaxopt_bench.errors import UserError

NOT_GIVEN = inspect.Parameter.empty
_SCALARS = (bool, int, float, str)


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Returns a function's parameters, without `*args` and `**kwargs`.

    Raises:
      UserError: for a parameter that can only be given by position.
    """
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(function).parameters.values()
    for parameter in found:
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise UserError(
                f"{name_of(function)} has the positional-only parameter {parameter.name!r}. Expected parameters that "
                "can be given by name."
            )
    return [parameter for parameter in found if parameter.kind not in several]


def name_of(function: Callable[..., Any]) -> str:
    """Returns a function's name for messages."""
    return getattr(function, "__qualname__", repr(function))


def hint_of(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Returns a parameter's annotation; None if it has none, or one that only a type checker can resolve."""
    hint = parameter.annotation
    while isinstance(function, functools.partial):
        function = function.func
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    names = getattr(inspect.unwrap(function), "__globals__", vars(module) if module else {})
    while isinstance(hint, str):  # `from __future__ import annotations` turns a quoted annotation into a nested string
        try:
            hint = eval(hint, dict(names))
        except Exception:
            return None
    return None if hint is NOT_GIVEN else hint


def union_members(hint: Any) -> set[Any]:
    """Returns the member types of a union, including those of nested unions."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return set().union(*(union_members(argument) for argument in typing.get_args(hint)))
    return {hint}


def plain(value: Any) -> Any:
    """Converts a scalar of NumPy or JAX to a Python number, and returns any other value unchanged.

    A float32 becomes the shortest decimal number that rounds to it, such as 1e-08.
    """
    if isinstance(value, enum.Enum):
        return value
    if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0:
        try:
            scalar = np.asarray(value)[()]
        except TypeError:  # a random key
            return value
        if isinstance(scalar, (np.bool_, np.integer)):
            return scalar.item()
        return float(str(scalar)) if jax.dtypes.issubdtype(scalar.dtype, np.floating) else value
    return value


def fields_of(
    function: Callable[..., Any], left_out: Collection[str] = (), reserved: Collection[str] = ()
) -> list[tuple[str, Any, Any]]:
    """Returns the name, the type and the dataclass field of each argument that a flag can set.

    A flag can set numbers, booleans, texts, choices among these (`Literal`) and tuples of these. The type comes from
    the annotation of the argument, or otherwise from its default. Any other argument keeps its default.

    Args:
      function: a function, or a class, for the arguments of its constructor.
      left_out: arguments that get their values in another way.
      reserved: names that a field cannot have.

    Raises:
      UserError: for an argument without a default that no flag can set, or one with a reserved name.
    """
    found = []
    for parameter in parameters(function):
        if parameter.name in left_out:
            continue
        default = plain(parameter.default)
        kind = _kind(hint_of(function, parameter), default)
        if kind is None and default is NOT_GIVEN:
            raise UserError(
                f"{name_of(function)} has the argument {parameter.name!r} without a default and without a type that "
                "a flag can have. Expected a default, or one of bool, int, float, str, Literal, or a tuple of one type."
            )
        if kind is None:
            continue
        if parameter.name in reserved:
            raise UserError(
                f"{name_of(function)} has the argument {parameter.name!r}, but this name is reserved. "
                "Expected another name."
            )
        given: Any = (
            {} if default is NOT_GIVEN else {"default": tuple(default) if isinstance(default, list) else default}
        )
        found.append((parameter.name, kind, dataclasses.field(**given)))
    return found


def kind_of(value: Any) -> Any:
    """Returns the type of a field for a value: a number, a text, None, or a sequence of one type."""
    if value is None:
        return float | None
    if isinstance(value, (list, tuple)):
        kinds: Any = {type(plain(item)) for item in value}
        if kinds == {int, float}:
            kinds = {float}
        return tuple[(*kinds, ...)] if len(kinds) == 1 and kinds <= set(_SCALARS) else Any
    return type(value) if type(value) in _SCALARS else Any


def documentation(function: Callable[..., Any], fields: Mapping[str, str]) -> str:
    """Returns a docstring with a function's first paragraph and its descriptions of the parameters.

    Args:
      function: the function whose docstring is read.
      fields: the name of the field for each parameter.
    """
    text = inspect.cleandoc(function.__doc__ or "")
    if inspect.isclass(function) and text.startswith(f"{function.__name__}("):  # generated for a dataclass
        text = ""
    try:
        parsed = docstring_parser.parse(text, docstring_parser.DocstringStyle.GOOGLE)
    except docstring_parser.ParseError:
        return text.partition("\n\n")[0]
    meanings = {fields.get(p.arg_name): " ".join((p.description or "").split()) for p in parsed.params}
    lines = [f"  {field}: {meaning}" for field, meaning in meanings.items() if field is not None]
    return "\n".join([parsed.short_description or name_of(function), *(["", "Args:"] if lines else []), *lines])


def _kind(hint: Any, default: Any) -> Any:
    """Returns the type of an argument's field; None if no flag can set it."""
    if hint is not None:
        among = union_members(hint) - {type(None), None}
        only: Any
        (only,) = among if len(among) == 1 else (float,) if among == {int, float} else (None,)
        optional = among != union_members(hint)
        if typing.get_origin(only) in (list, Sequence):
            only = tuple[(*typing.get_args(only), ...)]  # type: ignore[misc]
        if _can_be_set(only):
            return only | None if optional else only
        if default is NOT_GIVEN or default is None:
            return None
    kind = None if default is NOT_GIVEN or default is None else kind_of(default)
    return kind if _can_be_set(kind) else None


def _can_be_set(kind: Any) -> bool:
    """Returns whether a flag can have a type."""
    if typing.get_origin(kind) is tuple:
        items = set(typing.get_args(kind)) - {Ellipsis}
        return len(items) == 1 and items <= set(_SCALARS)
    return kind in _SCALARS or typing.get_origin(kind) is Literal
