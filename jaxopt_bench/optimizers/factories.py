"""Optimizers made by functions that return an `optax.GradientTransformation`: functions of optax and of users.

The hyperparameters are read from the signature of the function, and their meanings from its docstring.
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
from jaxopt_bench.optimizers.base import Hyperparameters, Optimizer, StepContext, decay_mask
from jaxopt_bench.optimizers.cautious import cautious
from jaxopt_bench.optimizers.signatures import DECAY, RATE, Argument, Factory
from jaxopt_bench.optimizers.wrappers import penalised, storable, without_extra_arguments
from jaxopt_bench.user_config import reserved_names

ScheduleForm = Literal["argument", "callable", "updates"]

Filling = Literal["mask", "required_mask", "key", "axes"]
"""The value that this program gives to an argument that a function leaves to its caller.

* "mask": the mask of the field `decay_mask`; None if all parameters decay.
* "required_mask": the same, but the mask of all parameters instead of None, because the argument has no default.
* "key": the run's own random key.
* "axes": the function `matrices`, which returns the axes that make a parameter a matrix.
"""

SHARE = Bounds(at_least=0, below=1)
BOUNDS: Mapping[str, Bounds] = {
    **dict.fromkeys(("b1", "b2", "b3", "beta3", "betas", "momentum", "decay", "rho"), SHARE),
    **dict.fromkeys(("learning_rate", "weight_decay", "eps", "eps_root"), Bounds(at_least=0)),
}
"""Bounds of fields that have the same meaning in all optimizers."""


@dataclasses.dataclass(frozen=True)
class Form(Config):
    """How a function is called, and how the schedule reaches it."""

    plain: tuple[str, ...] = ()
    """Fields that it gets as Python numbers. Each of their values is compiled separately. Other fields are arrays."""
    schedule: ScheduleForm = "argument"
    """How the schedule acts: it multiplies the learning rate that the function gets ("argument"), it is passed as the
    learning rate in the form of an optax schedule, a function of the number of updates ("callable"), or it multiplies
    the updates ("updates")."""
    value: bool = True
    """Whether its update gets the loss, by the name `value`."""
    flat: bool = False
    """Whether its state is kept as a list of arrays, because each call of the function makes new classes for it."""
    schedule_free: bool = False
    """Whether its state is that of optax's Schedule-Free. Then the average in this state is evaluated."""
    reason: str = ""
    """The reason why some fields are plain."""


@dataclasses.dataclass(frozen=True)
class FactoryOptimizer(Optimizer):
    """An optimizer that a function makes; see `optimizer_class`.

    Class attributes:
      factory: the function.
      arguments: the field of each of its parameters.
      filled: the values of its parameters that are not fields.
      bounded: whether its fields must lie in the bounds that `BOUNDS` has for their names.
      converters: by parameter, the function that converts a value of its field into the argument.
      schedule_form: how the schedule reaches it; see `Form.schedule`.
      evaluated: returns the parameters to evaluate, given the state and the trained parameters; None for the rule of
        `Optimizer.evaluation_parameters`.
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
        """Returns the numbers for `rule_in_form`, as Python numbers: arguments, learning rate and weight decay."""
        read = {RATE, DECAY, *self.arguments.values()}
        return {name: value for name, value in float_fields(self).items() if name in read}

    @property
    def own_numbers(self) -> tuple[str, ...]:
        """The fields of the numbers that are arguments of the function."""
        return tuple(name for name in self.numbers() if name in self.arguments.values())

    @property
    def whole_numbers(self) -> tuple[str, ...]:
        """The `own_numbers` that are integers by default, and so may count steps. The learning rate is left out."""
        convert = signatures.whole_if_possible
        whole = {field for name, field in self.arguments.items() if self.converters[name] is convert}
        return tuple(name for name in self.own_numbers if name in whole - {RATE})

    @property
    def scheduled(self) -> tuple[str, ...]:
        """The fields of its arguments that are learning rates, also of inner rules. The schedule multiplies them."""
        return tuple(f for f in self.arguments.values() if _is_rate(f) and getattr(self, f) is not None)

    def rule(self, hyperparameters: Hyperparameters, context: StepContext) -> optax.GradientTransformation:
        """See `Optimizer.rule`."""
        numbers = {**self.numbers(), **hyperparameters}
        return self.rule_in_form(numbers, context, self.form, with_mask=self.cautious)

    def rule_in_form(
        self, numbers: Mapping[str, Any], context: StepContext, form: Form, with_mask: bool = False
    ) -> optax.GradientTransformation:
        """Returns the function's transformation. If it lacks weight decay or the schedule, they are added around it.

        Args:
          numbers: the fields that are numbers, each as an array or a Python number.
          context: the information of training about this step.
          form: how the function is called.
          with_mask: whether `cautious` masks the function's updates.

        Raises:
          UserError: if the function does not return an `optax.GradientTransformation`.
        """
        parts = [self._made(numbers, context, form)]
        if with_mask:
            parts = [cautious(parts[0], -1, self._undecayed(numbers, context, form), numbers.get(DECAY, 0.0))]
        if self.line_search:
            parts = [penalised(parts[0], numbers[DECAY], decay_mask(self.decay_mask))]
        elif DECAY not in self.arguments.values():
            parts.insert(0, optax.add_decayed_weights(numbers[DECAY], decay_mask(self.decay_mask)))
        if form.schedule == "updates":
            taken = RATE in self.arguments.values()
            parts.append(optax.scale((1.0 if taken else numbers[RATE]) * context.multiplier))
        return optax.chain(*parts)

    def _made(self, numbers: Mapping[str, Any], context: StepContext, form: Form) -> optax.GradientTransformation:
        """Returns the function's transformation, with an update and a state in the form that training needs."""
        rule = self.call_factory(numbers, context, form)
        return self.with_storable_state(rule if form.value else without_extra_arguments(rule), form)

    def _undecayed(
        self, numbers: Mapping[str, Any], context: StepContext, form: Form
    ) -> optax.GradientTransformation | None:
        """Returns the function's transformation without weight decay; None if it has no decoupled decay of its own."""
        if DECAY not in self.arguments.values() or DECAY not in numbers or self.decay_form == "coupled":
            return None
        decay = numbers[DECAY]
        # if the decay is the Python number 0, a function may leave out the decay and its state
        none = 1e-30 * decay if isinstance(decay, float) else jnp.zeros_like(decay)
        return self._made({**numbers, DECAY: none}, context, form)

    def call_factory(
        self, numbers: Mapping[str, Any], context: StepContext, form: Form
    ) -> optax.GradientTransformation:
        """Calls the function, and returns its transformation; see `rule_in_form`."""

        def argument(name: str, field: str) -> Any:
            value = numbers.get(field, getattr(self, field))
            if field in self.scheduled:
                if form.schedule == "argument":
                    return value * context.multiplier
                if form.schedule == "callable":
                    return lambda count: value * context.multiplier_at(count)
            if isinstance(getattr(self, field), tuple):
                value = tuple(value)
            return self.converters[name](value) if name in self.converters else value

        mask = decay_mask(self.decay_mask)
        fillings = {"mask": mask, "required_mask": mask or _mask_all, "key": context.key, "axes": matrices}
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
    """Returns whether a field has the name of a learning rate. Limits, such as `min_lr`, are not learning rates."""
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
    """Returns the class of the optimizers that a function makes. The function's parameters become fields.

    A number, an optional number, and numbers in a tuple become float fields. A parameter that is annotated as an
    integer, a boolean, a text or an enumeration becomes a static field. A parameter that has a default and cannot be
    written as JSON keeps its default. Some parameters are filled if the function leaves them to its caller: `mask` and
    `weight_decay_mask` by the field `decay_mask`, `key` by the run's own random key, and parameters whose names end in
    `weight_dimension_numbers` by `matrices`. If the function has no learning rate, the class still has the field
    `learning_rate`, with the default 1, and it multiplies the updates.

    Args:
      name: the name of the class.
      factory: returns an `optax.GradientTransformation`. It is called again for each step, with arrays for floats.
      renamed: the fields of parameters that have another name, as `{"max_learning_rate": "learning_rate"}`.
      fixed: arguments that are not hyperparameters.
      kinds: types of fields that are narrower than in the signature, as `{"betas": tuple[float, float]}`.
      bounds: the bounds of fields that `BOUNDS` does not have, or that are narrower here.
      base: the class that it derives from.
      **attributes: class attributes, such as `source`; and defaults of fields, as `learning_rate=0.1`.

    Raises:
      UserError: if a parameter is none of these and has no default, or has the name of a field that every optimizer
        has.
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
    """The fields and arguments that are read from the signature of a function.

    Attributes:
      fields: the type and the default of each field.
      arguments: the field of each parameter.
      filled: the values of the parameters that are not fields.
      converters: by parameter, the function that converts a value of its field into the argument.
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
    """Returns the fields and arguments of a function; see `optimizer_class`."""
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
    """Returns the value of a parameter that the function leaves to its caller; None for other parameters."""
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
    """Returns the field of a parameter; None if the parameter keeps its default.

    Raises:
      UserError: if it has no default, and no flag can set it.
    """
    default = plain(parameter.default)
    if field == RATE and not isinstance(default, (int, float)):  # missing, or a schedule: ours replaces it
        default = NOT_GIVEN
    if field == DECAY and default is None and base.bounded:
        default = 0.0
    if field in kinds:
        return Argument(kinds[field], default)
    found = signatures.argument(factory, parameter.replace(default=default))
    if field in (RATE, DECAY):  # a number, whatever its annotation is
        kind = float if default is not None else float | None
        return Argument(kind, default) if found is None else dataclasses.replace(found, kind=kind)
    if found is None and default is NOT_GIVEN:
        raise UserError(
            f"{name_of(factory)} has the parameter {parameter.name!r} without a default and without a type that a "
            "flag can have. Expected a default, or the type float, int, bool, str, an enumeration or a Literal."
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
