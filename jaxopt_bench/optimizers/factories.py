"""Optimizers made from functions that return an `optax.GradientTransformation`: optax's own, and those of users.

The function's signature says what the hyperparameters are, its docstring what they mean.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import docstring_parser
import optax
from jaxtyping import Array, PyTree

from jaxopt_bench.config import Bounds
from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers.base import Hyperparameters, Moment, Optimizer, decay_mask
from jaxopt_bench.optimizers.wrappers import with_plain_keys

Factory = Callable[..., optax.GradientTransformation]
Scheduled = Literal["learning_rate", "updates"]

_MASKS = ("mask", "weight_decay_mask")  # arguments that `decay_mask` fills
_KEY = "key"  # the argument that the run's own random key fills
SHARE = Bounds(at_least=0, below=1)
BOUNDS: Mapping[str, Bounds] = {
    **dict.fromkeys(("b1", "b2", "b3", "beta3", "betas", "momentum", "decay", "rho"), SHARE),
    **dict.fromkeys(("learning_rate", "weight_decay", "eps", "eps_root"), Bounds(at_least=0)),
}
"""Bounds of fields that mean the same wherever they are."""

_RECORDED = ("name", "code")  # what stands beside the fields in a record
_NOT_GIVEN = inspect.Parameter.empty


@dataclasses.dataclass(frozen=True)
class Made(Optimizer):
    """An optimizer that a function makes; see `optimizer_class`.

    Class attributes:
      factory: the function.
      arguments: the field that each of its parameters is read from.
      scheduled: what the schedule multiplies: the learning rate, or the updates of a function that takes none or
        reads it once.
      evaluated: the parameters to evaluate, of the state and those trained, where these are others.
    """

    factory: ClassVar[Factory]
    arguments: ClassVar[Mapping[str, str]]
    scheduled: ClassVar[Scheduled] = "learning_rate"
    evaluated: ClassVar[Callable[[Any, PyTree[Array]], PyTree[Array]] | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        taken = self.arguments.values()
        if self.decay_mask != "all" and "weight_decay" in taken and "decay_mask" not in taken:
            raise UserError(
                f"{type(self).__name__}.decay_mask is {self.decay_mask!r}; accepted: 'all', since its own weight decay "
                "takes no mask."
            )

    def rule(self, hyperparameters: Hyperparameters, moment: Moment) -> optax.GradientTransformation:
        """See `Optimizer.rule`."""
        return self.made(hyperparameters, moment, self.scheduled)

    def made(
        self, hyperparameters: Hyperparameters, moment: Moment, scheduled: Scheduled
    ) -> optax.GradientTransformation:
        """Returns what the function makes of its arguments, under a schedule that multiplies what `scheduled` says."""

        def argument(field: str) -> Any:
            if field == "decay_mask":
                return decay_mask(self.decay_mask)
            if field == _KEY:
                return moment.key
            value = hyperparameters.get(field, getattr(self, field))
            if field.endswith("learning_rate") and value is not None and scheduled == "learning_rate":
                return value * moment.multiplier
            return tuple(value) if isinstance(getattr(self, field), tuple) else value

        rule = type(self).factory(**{name: argument(field) for name, field in self.arguments.items()})
        if not isinstance(rule, optax.GradientTransformation):
            name = name_of(type(self).factory)
            raise UserError(f"{name} returned {rule!r}; accepted: an optax.GradientTransformation.")
        parts = [with_plain_keys(rule) if _KEY in self.arguments.values() else rule]
        if "weight_decay" not in self.arguments.values():
            parts.insert(0, optax.add_decayed_weights(hyperparameters["weight_decay"], decay_mask(self.decay_mask)))
        if scheduled == "updates":
            taken = "learning_rate" in self.arguments.values()
            parts.append(optax.scale((1.0 if taken else hyperparameters["learning_rate"]) * moment.multiplier))
        return optax.chain(*parts)

    def evaluation_parameters(self, opt_state: Any, params: PyTree[Array]) -> PyTree[Array]:
        """See `Optimizer.evaluation_parameters`."""
        evaluated = type(self).evaluated
        if evaluated is not None:
            return evaluated(opt_state, params)
        return super().evaluation_parameters(opt_state, params)


def optimizer_class(
    name: str,
    factory: Factory,
    *,
    renamed: Mapping[str, str] = types.MappingProxyType({}),
    fixed: Mapping[str, Any] = types.MappingProxyType({}),
    kinds: Mapping[str, Any] = types.MappingProxyType({}),
    bounds: Mapping[str, Bounds] = types.MappingProxyType({}),
    base: type[Made] = Made,
    **attributes: Any,
) -> type[Made]:
    """Returns the optimizer that a function makes, its parameters as fields.

    A float parameter becomes a float field, as do an optional one and those in a tuple; integers, booleans and
    strings become static fields. Parameters named `mask` or `weight_decay_mask` are filled by the field `decay_mask`,
    one named `key` by the run's own random key; what has a default and cannot be written as JSON keeps its default.

    Args:
      name: of the class.
      factory: returns an `optax.GradientTransformation`. Called anew for each step, with arrays for floats.
      renamed: fields by the parameters that have another name, as `{"max_learning_rate": "learning_rate"}`.
      fixed: arguments that are no hyperparameters.
      kinds: types of fields that are narrower than what the signature says, as `{"betas": tuple[float, float]}`.
      bounds: of fields that `BOUNDS` does not have, or that are narrower here.
      base: the class it derives from.
      **attributes: class attributes, such as `source`; and defaults of fields, as `learning_rate=0.1`.

    Raises:
      UserError: for a parameter that is none of these and has no default, or takes the name of a field that every
        optimizer has.
    """
    fields: dict[str, tuple[Any, Any]] = {}
    arguments: dict[str, str] = {}
    for parameter in _parameters(factory):
        if parameter.name in fixed:
            continue
        field = "decay_mask" if parameter.name in _MASKS else renamed.get(parameter.name, parameter.name)
        default = parameter.default
        if field == "learning_rate":  # None is none to train with
            fields[field] = (float, attributes.pop(field, _NOT_GIVEN if default is None else default))
        elif field == "weight_decay":
            fields[field] = (float, 0.0 if default is None else default)
        elif field not in ("decay_mask", _KEY):
            kind = kinds.get(field, _kind(_hint(factory, parameter), default))
            if kind is not None and (field in _RECORDED or _has(base, field)):
                raise UserError(
                    f"{name_of(factory)} has a parameter {field!r}, which every optimizer has already; accepted: "
                    "another name."
                )
            if kind is None and default is _NOT_GIVEN:
                raise UserError(
                    f"{name_of(factory)} has a parameter {field!r} without a default, of no type that a flag can have; "
                    "accepted: float, int, bool, str, a tuple of floats, or a default."
                )
            if kind is None:
                continue
            fields[field] = (kind, default)
        arguments[parameter.name] = field
    if "learning_rate" not in fields:
        attributes["scheduled"] = "updates"
        fields["learning_rate"] = (float, 1.0)
    namespace = {
        **attributes,
        "factory": staticmethod(functools.partial(factory, **fixed) if fixed else factory),
        "arguments": types.MappingProxyType(arguments),
        "__module__": __name__,
        "__doc__": _documentation(factory, renamed, fields),
    }
    bounds = {**BOUNDS, **bounds}
    described = [_dataclass_field(field, *fields[field], bounds.get(field)) for field in fields]
    return dataclasses.make_dataclass(name, described, bases=(base,), namespace=namespace, frozen=True, kw_only=True)


def _has(cls: type, name: str) -> bool:
    """Returns whether a class has an attribute, or says that its subclasses have it."""
    return hasattr(cls, name) or any(name in vars(base).get("__annotations__", {}) for base in cls.__mro__)


def field_values(optimizer: Optimizer) -> dict[str, Any]:
    """Returns the values of an optimizer's fields, from which its class makes it again."""
    return {field.name: getattr(optimizer, field.name) for field in dataclasses.fields(optimizer)}


def name_of(factory: Factory) -> str:
    """Returns a function's name for messages."""
    return getattr(factory, "__qualname__", repr(factory))


def _parameters(factory: Factory) -> list[inspect.Parameter]:
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(factory).parameters.values()
    for parameter in found:
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise UserError(
                f"{name_of(factory)} has the positional-only parameter {parameter.name!r}; accepted: parameters that "
                "can be given by name."
            )
    return [parameter for parameter in found if parameter.kind not in several]


def _hint(factory: Factory, parameter: inspect.Parameter) -> Any:
    """Returns a parameter's annotation; None where there is none, or it names what only a type checker imports."""
    hint = parameter.annotation
    if isinstance(hint, str):
        try:
            return eval(hint, getattr(inspect.unwrap(factory), "__globals__", {}))
        except Exception:
            return None
    return None if hint is _NOT_GIVEN else hint


def _kind(hint: Any, default: Any) -> Any:
    """Returns the type of a parameter's field; None where it is none that a flag and JSON can have."""
    among = _members(hint)
    if hint is float or isinstance(default, float):
        return float | None if type(None) in among else float
    if typing.get_origin(hint) is Literal and isinstance(default, str):
        return hint
    if isinstance(default, (bool, int, str)):
        return type(default)
    if isinstance(default, tuple) and default and all(isinstance(item, float) for item in default):
        return tuple[float, ...]
    if default is None and not any(typing.get_origin(member) not in (None, Callable) for member in among):  # no tree
        return float | None if float in among else int | None if int in among else None
    if default is _NOT_GIVEN:
        return hint if hint in (float, int, bool, str) else float if hint is None or float in among else None
    return None


def _members(hint: Any) -> set[Any]:
    """Returns the types that a union is of, also those of unions within."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return set().union(*(_members(argument) for argument in typing.get_args(hint)))
    return {hint}


def _dataclass_field(name: str, kind: Any, default: Any, bounds: Bounds | None) -> tuple[str, Any, Any]:
    metadata = {} if bounds is None else {"bounds": bounds}
    if default is _NOT_GIVEN:
        return name, kind, dataclasses.field(metadata=metadata)
    return name, kind, dataclasses.field(default=default, metadata=metadata)


def _documentation(factory: Factory, renamed: Mapping[str, str], fields: Mapping[str, Any]) -> str:
    """Returns a docstring with the function's first paragraph, and what it says of its parameters."""
    text = inspect.cleandoc(factory.__doc__ or "")
    try:
        parsed = docstring_parser.parse(text, docstring_parser.DocstringStyle.GOOGLE)
    except docstring_parser.ParseError:
        return text.partition("\n\n")[0]
    meanings = {renamed.get(p.arg_name, p.arg_name): " ".join((p.description or "").split()) for p in parsed.params}
    lines = [f"  {field}: {meaning}" for field, meaning in meanings.items() if field in fields]
    return "\n".join([parsed.short_description or name_of(factory), *(["", "Args:"] if lines else []), *lines])
