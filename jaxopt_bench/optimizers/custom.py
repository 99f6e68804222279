"""Optimizers of users, from any file or package: functions that return an `optax.GradientTransformation`.

The code is executed when a user names it. Reading the record of a run does not execute it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, PyTree

from jaxopt_bench import user_code
from jaxopt_bench.arguments import NOT_GIVEN, parameters
from jaxopt_bench.errors import UserError, shortened, unknown_name
from jaxopt_bench.optimizers import kept_forms, signatures
from jaxopt_bench.optimizers.adapters import schedule_free_parameters
from jaxopt_bench.optimizers.base import AVERAGES, DecayForm, Hyperparameters, IntendedSchedule, Optimizer, StepContext
from jaxopt_bench.optimizers.decay import measure_decay_form
from jaxopt_bench.optimizers.equivalence import ParametersError, find_form, random_parameters, small_parameters
from jaxopt_bench.optimizers.factories import FactoryOptimizer, Form, optimizer_class
from jaxopt_bench.optimizers.parse import parse_schedule, parse_space
from jaxopt_bench.optimizers.schedules import SCHEDULES
from jaxopt_bench.optimizers.signatures import DECAY, RATE, Factory
from jaxopt_bench.optimizers.wrappers import StoredState, find_state, from_stored, storable
from jaxopt_bench.user_config import LoadedConfig, RecordedConfig, UserConfigLoader

_ACCEPTED = "Expected MODULE:FUNCTION or FILE.py:FUNCTION, a function that returns an optax.GradientTransformation"


@dataclasses.dataclass(frozen=True)
class ImportedOptimizer(LoadedConfig, FactoryOptimizer):
    """An optimizer that a user's function makes.

    An experiment finds how the function must be called; see `equivalence`.

    Class attributes:
      forms: how the function is called, by `static_fields`.
    """

    forms: ClassVar[dict[Any, Form]]
    bounded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in dataclasses.fields(self):
            usual, value = field.metadata.get("usual"), getattr(self, field.name)
            numbers = value if isinstance(value, tuple) else () if value is None else (value,)
            if usual is not None and value != field.default and not all(number in usual for number in numbers):
                warnings.warn(f"{self.reference}: {field.name} is {value}. It is usually {usual}.", stacklevel=2)

    @property
    def form(self) -> Form:
        """How the function is called.

        Raises:
          UserError: if the function cannot be used.
        """
        key = self.static_fields
        if key not in self.forms:
            self.examine()
        return self.forms[key]

    @property
    def schedule(self) -> IntendedSchedule:  # type: ignore[override]
        """The learning-rate schedule that the optimizer is meant for, as far as its state shows it."""
        with contextlib.suppress(ParametersError):
            if self.form.schedule_free:
                return AVERAGES
        return Optimizer.schedule

    @property
    def decay_form(self) -> DecayForm:  # type: ignore[override]
        """Whether its weight decay is coupled or decoupled. If the function has its own decay, this is measured."""
        return measure_decay_form(self) if DECAY in self.arguments.values() else "coupled"

    def examine(self, like: PyTree[Any] | None = None) -> None:
        """Finds how the function must be called, unless this is known.

        Args:
          like: the parameters of a network. The function may need their names and numbers of axes. If None, parameters
            with the usual names are used.

        Raises:
          ParametersError: if the function fails on these parameters; it may work on others.
          UserError: if it cannot be used at all. The message names the function and the accepted forms.
        """
        key = self.static_fields
        if key in self.forms:
            return
        try:
            self.forms[key] = kept_forms.find(self._identity(), lambda: self._find_form(like))
        except UserError as error:
            raise type(error)(f"the optimizer {self.reference}: {error}") from error

    def check_on(self, params: PyTree[jax.ShapeDtypeStruct]) -> None:
        """Checks the shapes of a network's updates and of the parameters to evaluate; nothing is computed.

        Args:
          params: the shapes of the network's parameters.

        Raises:
          UserError: if the function, or the function in `EVALUATED`, fails or returns arrays of other shapes.
        """
        transform = self.transform(self.hyperparameters(), StepContext(key=jax.random.key(0)))

        def update(params: PyTree[Array]) -> tuple[PyTree[Array], optax.OptState]:
            return transform.update(params, transform.init(params), params, value=jnp.float32(1))

        updates, state = self._shapes_on(params, "", update, params)
        evaluated = self._shapes_on(params, "EVALUATED: ", self.evaluation_parameters, state, params)
        for what, found in (("its updates", updates), ("the parameters that EVALUATED returns", evaluated)):
            structure: Any = jax.tree.structure(found)
            if structure != jax.tree.structure(params):
                raise UserError(
                    f"the optimizer {self.reference}: {what} have another structure than the network's parameters. "
                    "Expected one array for each parameter."
                )
            for (path, own), param in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(params), strict=True):
                if own.shape != param.shape:
                    raise UserError(
                        f"the optimizer {self.reference}: {what} have the shape {own.shape} at "
                        f"{jax.tree_util.keystr(path)}. Expected {param.shape}."
                    )

    def _shapes_on(self, params: PyTree[Any], what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Returns the shapes of a function's results for a network's parameters."""
        try:
            return jax.eval_shape(function, *arguments)
        except UserError:
            raise
        except Exception as error:
            first = jax.tree_util.keystr(jax.tree.leaves_with_path(params)[0][0])
            raise UserError(
                f"the optimizer {self.reference}: {what}it fails for the network's parameters, such as {first}: "
                f"{type(error).__name__}: {error}"
            ) from error

    @property
    def in_words(self) -> str:
        """How the function is called, as a sentence."""
        form, names = self.form, {field: name for name, field in self.arguments.items()}
        plain = [names[field] for field in form.plain]
        whole = set(form.plain) <= set(self.whole_numbers)
        if not plain:
            program = "one program serves all settings"
        else:
            of = f"each value of {', '.join(plain)}" if whole else "each setting"
            program = f"{of} is a program of its own ({form.reason})"
        rate = names.get(RATE)
        rates = [names[field] for field in self.scheduled]
        listed = f"argument{'s' * (len(rates) > 1)} {' and '.join(rates)}"
        if form.schedule == "argument":
            schedule = f"the schedule multiplies its {listed}"
        elif form.schedule == "callable":
            schedule = f"its {listed} {'are optax schedules' if len(rates) > 1 else 'is an optax schedule'}"
        elif rate is None:
            schedule = "it takes no learning rate, so learning rate and schedule multiply its updates"
        else:
            schedule = f"the schedule multiplies its updates, since {rate} itself does not follow a schedule"
        average = "; the average of Schedule-Free is evaluated" if form.schedule_free else ""
        return f"{self.reference}: {program}; {schedule}{average}"

    def _find_form(self, like: PyTree[Any] | None) -> Form:
        if like is not None:
            small = jax.tree.map(lambda leaf: np.zeros([min(size, 4) for size in leaf.shape]), like)
            return find_form(self, random_parameters(small))
        with contextlib.suppress(ParametersError):
            return find_form(self, small_parameters())
        return find_form(self, small_parameters(scalar=False))

    def _identity(self) -> dict[str, Any]:
        """Returns the facts that determine how the function is called."""
        packages = user_code.packages_of(sys.modules.get(getattr(type(self).factory, "__module__", "")))
        return {
            "reference": self.reference,
            "code": self.code,
            "packages": packages,
            "static": repr(self.static_fields[1:]),
        }

    def rule(self, hyperparameters: Hyperparameters, context: StepContext) -> optax.GradientTransformation:
        """See `Optimizer.rule`."""
        try:
            return super().rule(hyperparameters, context)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"the optimizer {self.reference} fails: {type(error).__name__}: {error}; with {self}."
            ) from error

    def with_storable_state(self, rule: optax.GradientTransformation, form: Form) -> optax.GradientTransformation:
        """See `FactoryOptimizer.with_storable_state`."""
        return storable(rule, form.flat)

    def hyperparameters(self, dtype: DTypeLike = jnp.float32) -> Hyperparameters:
        """See `Tunable.hyperparameters`. Hyperparameters that the function gets as Python numbers are left out."""
        plain = self.form.plain
        return {name: array for name, array in super().hyperparameters(dtype).items() if name not in plain}

    @property
    def averages(self) -> bool:
        """See `Optimizer.averages`."""
        return super().averages or self.form.schedule_free

    def evaluation_parameters(self, opt_state: optax.OptState, params: PyTree[Array]) -> PyTree[Array]:
        """See `Optimizer.evaluation_parameters`."""
        evaluated = type(self).evaluated
        if evaluated is None and not self.form.schedule_free:
            return super().evaluation_parameters(opt_state, params)
        rule = self.call_factory(self.numbers(), StepContext(key=jax.random.key(0)), self.form)
        state = from_stored(find_state(opt_state, StoredState), rule, params)
        return (evaluated or schedule_free_parameters)(state, params)


@dataclasses.dataclass(frozen=True)
class RecordedOptimizer(RecordedConfig, Optimizer):
    """A user's optimizer in the record of a run. It can be read and compared, but it makes no transformation."""

    source = "the user"

    def rule(self, hyperparameters: Hyperparameters, context: StepContext) -> optax.GradientTransformation:
        """See `Optimizer.rule`.

        Raises:
          UserError: always.
        """
        self.refuse()


def wrap_optimizer(factory: Factory) -> type[ImportedOptimizer]:
    """Returns the class of the optimizers that a function makes. It is like `load`, but takes the function itself.

    Args:
      factory: a function at the top level of a file that returns an `optax.GradientTransformation`. The text of the
        file distinguishes it from other functions with the same name.

    Raises:
      UserError: if the function is not at the top level of a file; and as `load` does.
    """
    return USERS.describe(factory)


def _define_class(loaded: user_code.Loaded) -> type[ImportedOptimizer]:
    """Returns the class of the optimizers that a function makes."""
    factory, name = loaded.value, loaded.reference.rpartition(":")[2]
    if not callable(factory):
        raise UserError(f"{loaded.reference} is {shortened(factory)}. {_ACCEPTED}.")
    names = [parameter.name for parameter in parameters(factory)]
    rate = signatures.rate_name(names, lambda name: _acts_as_rate(factory, name))
    renamed = {found: field for found, field in ((rate, RATE), (signatures.decay_name(names), DECAY)) if found}
    attributes: dict[str, Any] = {"source": loaded.reference, "forms": {}}
    evaluated = _read_table(loaded, "EVALUATED", name)
    if evaluated is not None:
        if not callable(evaluated):
            raise UserError(
                f"{loaded.reference}: EVALUATED[{name!r}] is {shortened(evaluated)}. Expected a function of the "
                "optimizer's state and the parameters, which returns the parameters to evaluate."
            )
        attributes |= {"evaluated": staticmethod(evaluated), "own_average": True}
    if (schedule := _read_table(loaded, "SCHEDULES", name)) is not None:
        where = f"{loaded.reference}: SCHEDULES[{name!r}]"
        attributes["user_schedule"] = parse_schedule(schedule, where, SCHEDULES)
    made = cast(
        type[ImportedOptimizer], optimizer_class(name, factory, base=ImportedOptimizer, renamed=renamed, **attributes)
    )
    if (space := _read_table(loaded, "SPACES", name)) is not None:
        where = f"{loaded.reference}: SPACES[{name!r}]"
        made.user_space = parse_space(space, made, made.user_schedule, where)
    return made


USERS: UserConfigLoader[Any] = UserConfigLoader("optimizer", _define_class, RecordedOptimizer)
"""The loader of users' optimizers."""

load = USERS.load
"""Returns the class of the optimizers that a user's function makes; see `UserConfigLoader.load`.

The function's file can also give, by the function's name, the search space, the schedule for training, and the
parameters to evaluate::

    SPACES = {"mine": {"learning_rate": "1e-4..1e-1", "b2": [0.9, 0.99, 0.999]}}
    SCHEDULES = {"mine": "constant"}
    EVALUATED = {"mine": lambda state, params: state.average}
"""


def _read_table(loaded: user_code.Loaded, table: str, name: str) -> Any:
    """Returns the entry for a function in a table of its module; None if there is none.

    Raises:
      UserError: if the table of a file is not a dictionary, or names a function that is not in the file.
    """
    found = getattr(loaded.module, table, None)
    if not loaded.reference.rpartition(":")[0].endswith(".py"):  # a package may use the name otherwise
        return found.get(name) if isinstance(found, Mapping) else None
    if found is None:
        return None
    if not isinstance(found, Mapping):
        raise UserError(f"{loaded.file}: {table} is {shortened(found)}. Expected a dictionary by a function's name.")
    functions = [other for other, value in vars(loaded.module).items() if callable(value)]
    for other in found:
        if other not in functions:
            raise unknown_name(f"function in {table} of {loaded.file}", str(other), functions)
    return found.get(name)


def _acts_as_rate(factory: Factory, name: str) -> bool:
    """Returns whether a function's first update is proportional to one of its arguments."""
    params = jax.tree.map(jnp.asarray, small_parameters())
    updates = []
    others = {
        parameter.name: 0.5
        for parameter in parameters(factory)
        if parameter.default is NOT_GIVEN and parameter.name != name
    }
    try:
        for value in (1e-3, 2e-3):
            transform = optax.with_extra_args_support(factory(**{name: value}, **others))
            state = transform.init(params)
            made, _ = transform.update(params, state, params, value=jnp.float32(1))
            updates.append(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(made)]))
    except Exception:
        return False
    one, two = updates
    return bool(np.abs(one).max() > 0 and np.allclose(two, 2 * one, rtol=1e-4, atol=1e-6 * np.abs(two).max()))
