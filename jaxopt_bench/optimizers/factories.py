"""Optimizers made from functions that return an `optax.GradientTransformation`: optax's own, and those of users.

The function's signature says what the hyperparameters are, its docstring what they mean.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from jaxopt_bench.arguments import NOT_GIVEN, documentation, name_of, parameters, plain
from jaxopt_bench.config import Bounds, Config, float_fields
from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.optimizers import signatures
from jaxopt_bench.optimizers.adapters import matrices
from jaxopt_bench.optimizers.base import Hyperparameters, Moment, Optimizer, decay_mask
from jaxopt_bench.optimizers.cautious import cautious
from jaxopt_bench.optimizers.signatures import DECAY, RATE, Argument, Factory
from jaxopt_bench.optimizers.wrappers import penalised, storable, without_extra_arguments
from jaxopt_bench.user_config import reserved_names

ScheduleForm = Literal["argument", "callable", "updates"]

Filling = Literal["mask", "required_mask", "key", "axes"]
"""What fills arguments that a function leaves to its caller: the mask of `decay_mask` (None for all parameters, unless
the function has no default and so may not accept None), the run's own random key, and which axes make a parameter a
matrix."""

SHARE = Bounds(at_least=0, below=1)
BOUNDS: Mapping[str, Bounds] = {
    **dict.fromkeys(("b1", "b2", "b3", "beta3", "betas", "momentum", "decay", "rho"), SHARE),
    **dict.fromkeys(("learning_rate", "weight_decay", "eps", "eps_root"), Bounds(at_least=0)),
}
"""Bounds of fields that mean the same wherever they are."""


@dataclasses.dataclass(frozen=True)
class Form(Config):
    """How a function is called, and how the schedule reaches it."""

    plain: tuple[str, ...] = ()
    """Fields that it gets as Python numbers. Each of their values is compiled by itself; the others are arrays."""
    schedule: ScheduleForm = "argument"
    """What the schedule does: multiply the learning rate that the function gets, take its place as an optax schedule
    (a function of the number of updates), or multiply the updates."""
    value: bool = True
    """Whether its update is given the loss, by the name `value`."""
    flat: bool = False
    """Whether its state is kept as a list of arrays, since each call of the function makes other classes for it."""
    schedule_free: bool = False
    """Whether its state is that of optax's Schedule-Free, whose average is evaluated."""
    reason: str = ""
    """Why some fields are plain."""


@dataclasses.dataclass(frozen=True)
class FactoryOptimizer(Optimizer):
    """An optimizer that a function makes; see `optimizer_class`.

    Class attributes:
      factory: the function.
      arguments: the field that each of its parameters is read from.
      filled: what fills those of its parameters that are no fields.
      bounded: whether its fields must lie in the bounds that `BOUNDS` has for their names.
      converters: by parameter, the function that returns its argument for a value of its field.
      schedule_form: how the schedule reaches it; see `Form.schedule`.
      evaluated: the parameters to evaluate, of the state and those trained, where these are others.
    """

    factory: ClassVar[Factory]
    arguments: ClassVar[Mapping[str, str]]
    filled: ClassVar[Mapping[str, Filling]] = types.MappingProxyType({})
    bounded: ClassVar[bool] = True
    converters: ClassVar[Mapping[str, Callable[[Any], Any]]] = types.MappingProxyType({})
    schedule_form: ClassVar[ScheduleForm] = "argument"
    evaluated: ClassVar[Callable[[Any, PyTree[Array]], PyTree[Array]] | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (
            self.decay_mask != "all"
            and DECAY in self.arguments.values()
            and not {"mask", "required_mask"} & {*self.filled.values()}
        ):
            raise UserError(
                f"{type(self).__name__}.decay_mask is {self.decay_mask!r}. Expected 'all', since its own weight decay "
                "takes no mask."
            )

    @property
    def form(self) -> Form:
        """How the function is called."""
        return Form(schedule=self.schedule_form)

    def numbers(self) -> dict[str, Any]:
        """Returns the numbers that `rule_in_form` reads, as Python numbers: the function's own and those around it."""
        read = {RATE, DECAY, *self.arguments.values()}
        return {name: value for name, value in float_fields(self).items() if name in read}

    @property
    def own_numbers(self) -> tuple[str, ...]:
        """The fields of the numbers that the function itself gets."""
        return tuple(name for name in self.numbers() if name in self.arguments.values())

    @property
    def whole_numbers(self) -> tuple[str, ...]:
        """Those of them that are integers by default, and so may count steps; the learning rate is not one of these."""
        convert = signatures.whole_if_possible
        whole = {field for name, field in self.arguments.items() if self.converters[name] is convert}
        return tuple(name for name in self.own_numbers if name in whole - {RATE})

    @property
    def scheduled(self) -> tuple[str, ...]:
        """The fields of its arguments that are learning rates, which the schedule multiplies: also of inner rules."""
        return tuple(f for f in self.arguments.values() if _is_rate(f) and getattr(self, f) is not None)

    def rule(self, hyperparameters: Hyperparameters, moment: Moment) -> optax.GradientTransformation:
        """See `Optimizer.rule`."""
        numbers = {**self.numbers(), **hyperparameters}
        return self.rule_in_form(numbers, moment, self.form, with_mask=self.cautious)

    def rule_in_form(
        self, numbers: Mapping[str, Any], moment: Moment, form: Form, with_mask: bool = False
    ) -> optax.GradientTransformation:
        """Returns what the function makes, and around it what it lacks: weight decay, or the schedule.

        Args:
          numbers: the fields that are numbers, each as an array or as a Python number.
          moment: what training tells of this step.
          form: how the function is called.
          with_mask: whether the function's updates are masked by `cautious`.

        Raises:
          UserError: if the function returns something else than an `optax.GradientTransformation`.
        """
        parts = [self._made(numbers, moment, form)]
        if with_mask:
            parts = [cautious(parts[0], -1, self._undecayed(numbers, moment, form), numbers.get(DECAY, 0.0))]
        if self.line_search:
            parts = [penalised(parts[0], numbers[DECAY], decay_mask(self.decay_mask))]
        elif DECAY not in self.arguments.values():
            parts.insert(0, optax.add_decayed_weights(numbers[DECAY], decay_mask(self.decay_mask)))
        if form.schedule == "updates":
            taken = RATE in self.arguments.values()
            parts.append(optax.scale((1.0 if taken else numbers[RATE]) * moment.multiplier))
        return optax.chain(*parts)

    def _made(self, numbers: Mapping[str, Any], moment: Moment, form: Form) -> optax.GradientTransformation:
        """Returns the function's transformation, with an update and a state in the form that training needs."""
        rule = self.call_factory(numbers, moment, form)
        return self.with_storable_state(rule if form.value else without_extra_arguments(rule), form)

    def _undecayed(self, numbers: Mapping[str, Any], moment: Moment, form: Form) -> optax.GradientTransformation | None:
        """Returns the function's transformation without weight decay; None if it has no decoupled decay of its own."""
        if DECAY not in self.arguments.values() or DECAY not in numbers or self.decay_form != "decoupled":
            return None
        decay = numbers[DECAY]
        # for a Python number 0, a function may leave the decay, and its state, out
        none = 1e-30 * decay if isinstance(decay, float) else jnp.zeros_like(decay)
        return self._made({**numbers, DECAY: none}, moment, form)

    def call_factory(self, numbers: Mapping[str, Any], moment: Moment, form: Form) -> optax.GradientTransformation:
        """Returns what the function returns; see `rule_in_form`."""

        def argument(name: str, field: str) -> Any:
            value = numbers.get(field, getattr(self, field))
            if field in self.scheduled:
                if form.schedule == "argument":
                    return value * moment.multiplier
                if form.schedule == "callable":
                    return lambda count: value * moment.multiplier_at(count)
            if isinstance(getattr(self, field), tuple):
                value = tuple(value)
            return self.converters[name](value) if name in self.converters else value

        mask = decay_mask(self.decay_mask)
        fillings = {"mask": mask, "required_mask": mask or _mask_all, "key": moment.key, "axes": matrices}
        given = {name: argument(name, field) for name, field in self.arguments.items()}
        rule = type(self).factory(**given, **{name: fillings[what] for name, what in self.filled.items()})
        if not isinstance(rule, optax.GradientTransformation):
            raise UserError(
                f"{name_of(type(self).factory)} returned {shortened(rule)}. Expected an optax.GradientTransformation."
            )
        return rule

    def with_storable_state(self, rule: optax.GradientTransformation, form: Form) -> optax.GradientTransformation:
        """Returns the transformation with its state in a form that training can hold."""
        return storable(rule) if "key" in self.filled.values() else rule

    def evaluation_parameters(self, opt_state: optax.OptState, params: PyTree[Array]) -> PyTree[Array]:
        """See `Optimizer.evaluation_parameters`."""
        evaluated = type(self).evaluated
        if evaluated is not None:
            return evaluated(opt_state, params)
        return super().evaluation_parameters(opt_state, params)


def _mask_all(params: PyTree[Array]) -> PyTree[bool]:
    """Returns the mask of all parameters."""
    return jax.tree.map(lambda _: True, params)


def _is_rate(field: str) -> bool:
    """Returns whether a field is a learning rate, by its name. Limits of one, such as `min_lr`, are not."""
    limit = field.startswith(("min_", "max_", "end_", "final_", "init_", "initial_"))
    return field == RATE or (field.endswith(("_learning_rate", "_lr")) and not limit)


def optimizer_class(
    name: str,
    factory: Factory,
    *,
    renamed: Mapping[str, str] = types.MappingProxyType({}),
    fixed: Mapping[str, Any] = types.MappingProxyType({}),
    kinds: Mapping[str, Any] = types.MappingProxyType({}),
    bounds: Mapping[str, Bounds] = types.MappingProxyType({}),
    base: type[FactoryOptimizer] = FactoryOptimizer,
    **attributes: Any,
) -> type[FactoryOptimizer]:
    """Returns the optimizer that a function makes, its parameters as fields.

    A parameter that is a number becomes a float field, as do an optional one and those in a tuple. One that is
    annotated as an integer, a boolean, a text or an enumeration becomes a static field. What has a default and cannot
    be written as JSON keeps its default. Some parameters are filled if the function leaves them to its caller: `mask`
    and `weight_decay_mask` by the field `decay_mask`, `key` by the run's own random key, and those that end in
    `weight_dimension_numbers` by `matrices`.

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
    signature = _read_signature(factory, renamed, fixed, kinds, base)
    if RATE in signature.fields:
        kind, default = signature.fields[RATE]
        signature.fields[RATE] = (kind, attributes.pop(RATE, default))
    else:
        attributes["schedule_form"] = "updates"
        signature.fields[RATE] = (float, 1.0)
    namespace = {
        **attributes,
        "factory": staticmethod(functools.partial(factory, **fixed) if fixed else factory),
        **{name: types.MappingProxyType(getattr(signature, name)) for name in ("arguments", "filled", "converters")},
        "__module__": __name__,
        "__doc__": documentation(factory, signature.arguments),
    }
    bounds = {**BOUNDS, **bounds}
    fields = [_dataclass_field(field, *kind, bounds.get(field), base) for field, kind in signature.fields.items()]
    return dataclasses.make_dataclass(name, fields, bases=(base,), namespace=namespace, frozen=True, kw_only=True)


class _Signature(NamedTuple):
    """What the parameters of a function become.

    Attributes:
      fields: the type and the default of each field.
      arguments: the field that each parameter is read from.
      filled: what fills those parameters that are no fields.
      converters: by parameter, the function that returns its argument for a value of its field.
    """

    fields: dict[str, tuple[Any, Any]]
    arguments: dict[str, str]
    filled: dict[str, Filling]
    converters: dict[str, Callable[[Any], Any]]


def _read_signature(
    factory: Factory,
    renamed: Mapping[str, str],
    fixed: Collection[str],
    kinds: Mapping[str, Any],
    base: type[FactoryOptimizer],
) -> _Signature:
    """Returns what the parameters of a function become; see `optimizer_class`."""
    signature = _Signature({}, {}, {}, {})
    for parameter in parameters(factory):
        if parameter.name in fixed:
            continue
        field = renamed.get(parameter.name, parameter.name)
        if (filling := _filling(factory, parameter)) is not None:
            signature.filled[parameter.name] = filling
        elif (argument := _argument(factory, parameter, field, kinds, base)) is not None:
            _check_field_name(factory, field, base)
            signature.fields[field] = (argument.kind, argument.default)
            signature.arguments[parameter.name] = field
            signature.converters[parameter.name] = argument.convert
    return signature


def _filling(factory: Factory, parameter: inspect.Parameter) -> Filling | None:
    """Returns what fills a parameter that is left to us; None for any other."""
    if not signatures.is_left_to_us(factory, parameter):
        return None
    if parameter.name in ("mask", "weight_decay_mask"):
        return "required_mask" if parameter.default is NOT_GIVEN else "mask"
    if parameter.name == "key":
        return "key"
    return "axes" if parameter.name.endswith("weight_dimension_numbers") else None


def _argument(
    factory: Factory, parameter: inspect.Parameter, field: str, kinds: Mapping[str, Any], base: type[FactoryOptimizer]
) -> Argument | None:
    """Returns what a parameter is as a field; None if it keeps its default.

    Raises:
      UserError: if it has no default, and no flag can set it.
    """
    default = plain(parameter.default)
    if field == RATE and not isinstance(default, (int, float)):  # none, or a schedule, which we have ourselves
        default = NOT_GIVEN
    if field == DECAY and default is None and base.bounded:
        default = 0.0
    if field in kinds:
        return Argument(parameter.name, kinds[field], default)
    found = signatures.argument(factory, parameter.replace(default=default))
    if field in (RATE, DECAY):  # a number, whatever it is annotated as
        kind = float if default is not None else float | None
        return Argument(parameter.name, kind, default) if found is None else dataclasses.replace(found, kind=kind)
    if found is None and default is NOT_GIVEN:
        raise UserError(
            f"{name_of(factory)} has the parameter {parameter.name!r} without a default and without a type that a "
            "flag can have. Expected a default, or float, int, bool, str, an enumeration, or a tuple of floats."
        )
    return found


def _check_field_name(factory: Factory, field: str, base: type[FactoryOptimizer]) -> None:
    if field not in (RATE, DECAY) and (hasattr(base, field) or field in reserved_names(base)):
        raise UserError(
            f"{name_of(factory)} has the parameter {field!r}, but every optimizer already has a field or an attribute "
            "of this name. Expected another name."
        )


def _dataclass_field(
    name: str, kind: Any, default: Any, bounds: Bounds | None, base: type[FactoryOptimizer]
) -> tuple[str, Any, Any]:
    metadata: dict[str, Any] = {} if bounds is None else {"bounds" if base.bounded else "usual": bounds}
    if not base.bounded:
        metadata["infinite"] = True
    if default is NOT_GIVEN:
        return name, kind, dataclasses.field(metadata=metadata)
    return name, kind, dataclasses.field(default=default, metadata=metadata)
