"""The form of the help of flags: how docstrings, types and default values of fields are printed.

The flags are parsed by tyro. Its own help prints `{None}|INT` for an optional number, `(default: None)` if nothing is
set, and the line breaks of docstrings.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
    UnsupportedTypeAnnotationError,
)

NO_VALUE = "None"
"""The argument that stands for None on the command line."""


def help_rules() -> ConstructorRegistry:
    """Returns the rules for the argument `registry` of `tyro.cli`."""
    registry = ConstructorRegistry()
    registry.primitive_rule(describe_optional)
    registry.struct_rule(DataclassRule())
    return registry


def describe_optional(
    info: PrimitiveTypeInfo,
) -> PrimitiveConstructorSpec[Any] | UnsupportedTypeAnnotationError | None:
    """Returns how to parse an optional value such as `int | None`: its help shows `INT`, and None is accepted."""
    if info.type_origin not in (typing.Union, types.UnionType) or type(None) not in typing.get_args(info.type):
        return None
    others = tuple(kind for kind in typing.get_args(info.type) if kind is not type(None))
    inner: Any = typing.Union[others]  # noqa: UP007 (a union of a tuple of types)
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(inner, info.markers))
    if isinstance(spec, UnsupportedTypeAnnotationError):
        return spec
    return dataclasses.replace(
        spec,
        nargs=tuple(sorted({1, spec.nargs})) if isinstance(spec.nargs, int) and spec.nargs > 1 else spec.nargs,
        instance_from_str=lambda words: None if words == [NO_VALUE] else spec.instance_from_str(words),
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda value: [NO_VALUE] if value is None else spec.str_from_instance(value),
        metavar="{" + ",".join(spec.choices) + "}" if spec.choices else spec.metavar,
        choices=(*spec.choices, NO_VALUE) if spec.choices else None,
    )


@dataclasses.dataclass
class DataclassRule:
    """Changes the help of the fields of a dataclass: no line breaks of the source code, no default value of None.

    If the default of a field is None or empty, its docstring says what happens without a value.
    """

    _asks_others: bool = False

    def __call__(self, info: StructTypeInfo) -> StructConstructorSpec | None:
        """Returns the fields as tyro finds them, with their help changed; None if it is not a dataclass."""
        if self._asks_others or not dataclasses.is_dataclass(info.type):
            return None
        self._asks_others = True  # this rule would be called again for the same dataclass
        try:
            spec = ConstructorRegistry.get_struct_spec(info)
        finally:
            self._asks_others = False
        if not isinstance(spec, StructConstructorSpec):
            return None
        return dataclasses.replace(spec, fields=tuple(map(_describe_field, spec.fields)))


def _describe_field(field: StructFieldSpec) -> StructFieldSpec:
    """Returns a field with its help on one line. A default value that is None or empty is not printed."""
    kind: Any = field.type
    repeatable = tyro.conf.UseAppendAction in typing.get_args(kind)[1:]
    if field.default is None or (field.default in ("", ()) and not repeatable):
        metadata = kind.__metadata__ if typing.get_origin(kind) is Annotated else ()
        bare = kind.__origin__ if metadata else kind
        kind = Annotated[(bare, tyro.conf.arg(help_behavior_hint="(optional)"), *metadata)]
    return dataclasses.replace(field, type=kind, helptext=_join_lines(field.helptext))


def _join_lines(text: str | Callable[[], str | None] | None) -> Callable[[], str | None]:
    """Returns a function that returns a text as one line; docstrings are read only if help is shown."""

    def join() -> str | None:
        found = text() if callable(text) else text
        return None if found is None else " ".join(found.split())

    return join
