"""Optimizers of the user's own, from any file or package: functions that return an `optax.GradientTransformation`.

Such code is run when it is named. Reading back what a run recorded of it runs nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import pathlib
import pickle
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
import optax
from jax.typing import DTypeLike

from jaxopt_bench.config import Named, float_arrays
from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.optimizers.axes import Axis
from jaxopt_bench.optimizers.base import Hyperparameters, Moment, Optimizer
from jaxopt_bench.optimizers.factories import Factory, Made, Scheduled, field_values, optimizer_class
from jaxopt_bench.optimizers.wrappers import with_plain_keys

_RATES = Axis(1e-5, 1.0, "log", "ours: nothing is known of it")
_ACCEPTED = "accepted: MODULE:FUNCTION or FILE.py:FUNCTION, a function that returns an optax.GradientTransformation"


@dataclasses.dataclass(frozen=True)
class Imported(Made):
    """An optimizer that a user's function makes.

    Where the function branches on the value of a number it cannot be compiled once for all values. Then its numbers
    are static, each setting is a program of its own, and the schedule multiplies its updates.

    Class attributes:
      reference: what it is named by, as `package.module:function` or `file.py:function`.
      code: twelve hexadecimal digits that identify the file that defines it.
      place: that file, for processes elsewhere to `load_again`; empty where there is none.
      probed: whether it branches, by the fields that are static in any case.
    """

    reference: ClassVar[str]
    code: ClassVar[str]
    place: ClassVar[str]
    probed: ClassVar[dict[Any, bool]]

    @property
    def branches(self) -> bool:
        """Whether the function looks at the values of its numbers."""
        arrays = float_arrays(self)
        key = (*sorted(arrays), *(getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in arrays))
        if key not in self.probed:
            self.probed[key] = _branches(self)
        return self.probed[key]

    def made(
        self, hyperparameters: Hyperparameters, moment: Moment, scheduled: Scheduled
    ) -> optax.GradientTransformation:
        """See `Made.made`."""
        return with_plain_keys(super().made(hyperparameters, moment, scheduled))

    def rule(self, hyperparameters: Hyperparameters, moment: Moment) -> optax.GradientTransformation:
        """See `Optimizer.rule`."""
        if not self.branches:
            return self.made(hyperparameters, moment, self.scheduled)
        try:
            return self.made(hyperparameters, moment, "updates")
        except Exception as error:
            raise _failure(self, error) from error

    def hyperparameters(self, dtype: DTypeLike = jnp.float32) -> Hyperparameters:
        """See `Optimizer.hyperparameters`; those the function branches on are not among them."""
        static = set(self.arguments.values()) if self.branches else set()
        return {name: array for name, array in super().hyperparameters(dtype).items() if name not in static}

    def to_json(self) -> dict[str, Any]:
        """Returns the fields and the code's digits."""
        return {"code": self.code, **super().to_json()}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the reference: the process that unpickles it imports the function, or runs its file.

        Raises:
          pickle.PicklingError: if another process would not find this function under its reference.
        """
        module, _, name = self.reference.rpartition(":")
        if not module.endswith(".py") and getattr(sys.modules.get(module), name, None) is not type(self).factory:
            raise pickle.PicklingError(
                f"the optimizer {self.reference} cannot be pickled: {name!r} is now another object in the module "
                f"{module}. Expected a function that can be imported under its own name."
            )
        return _unpickled, (self.reference, self.place, self.code, field_values(self))


@dataclasses.dataclass(frozen=True)
class Recorded(Optimizer):
    """What a run's record says of a user's optimizer. It can be read and compared, and makes no transformation."""

    source = "the user"
    learning_rates = _RATES
    reference: ClassVar[str]
    code: ClassVar[str]

    def rule(self, hyperparameters: Hyperparameters, moment: Moment) -> optax.GradientTransformation:
        """See `Optimizer.rule`.

        Raises:
          UserError: always.
        """
        raise UserError(
            f"the optimizer {self.reference} is the user's own, and its code of then ({self.code}) is not loaded; "
            f"accepted: jaxopt_bench.optimizers.load(…) of that file, before the run is used."
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the fields and the code's digits."""
        return {"code": self.code, **super().to_json()}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the record; unpickling it runs nothing of the user's."""
        return _recorded, (self.reference, self.code, field_values(self))


def _unpickled(reference: str, place: str, code: str, fields: Mapping[str, Any]) -> Imported:
    return load_again(reference, place, code)(**fields)


class Optimizers(Named[Optimizer]):
    """A table of optimizers by name, which also knows those of users by their references."""

    def __getitem__(self, name: str) -> Optimizer:
        if name.endswith(".py"):
            raise UserError(f"the optimizer {name!r} names no function; {_ACCEPTED}.")
        if ":" not in name:
            return super().__getitem__(name)
        cls = load(name)
        required = [field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING]
        if required:
            raise UserError(f"{name} has the argument {required[0]!r} without a default; accepted: load({name!r})(…).")
        return cls()

    def name_of(self, config: Optimizer) -> str:
        """See `Named.name_of`; of a user's optimizer, its reference."""
        return config.reference if isinstance(config, (Imported, Recorded)) else super().name_of(config)

    def from_json(self, values: Any, where: str = "") -> Optimizer:
        """See `Named.from_json`; a user's optimizer is only recorded there, unless this very code is loaded."""
        name = values.get("name") if isinstance(values, Mapping) else None
        if not isinstance(name, str) or ":" not in name:
            return super().from_json(values, where)
        fields = {field: value for field, value in values.items() if field not in ("name", "code")}
        loaded = _LOADED.get((name, values.get("code")))
        return loaded.from_json(fields, where) if loaded else _recorded(name, str(values.get("code")), fields)


_LOADED: dict[tuple[str, Any], type[Imported]] = {}  # as `sys.modules`: what this process has run already


def load(reference: str) -> type[Imported]:
    """Returns the optimizer that a user's function makes; its file or package is run, once for each text.

    Args:
      reference: `package.module:function`, also of a module in the working directory, or `path/to/file.py:function`.

    Raises:
      UserError: where it cannot be imported, is no function, or has a parameter that no flag can set.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise UserError(f"the optimizer {reference!r} is no reference; {_ACCEPTED}.")
    short = f"{pathlib.Path(place).name if place.endswith('.py') else place}:{name}"
    module, code = _run_file(place, reference) if place.endswith(".py") else _imported_module(place, reference)
    return _found(module, reference, short, code)


def load_again(reference: str, place: str, code: str) -> type[Imported]:
    """Returns an optimizer that another process has loaded, maybe on another machine, under the same reference.

    Its module is imported where that can be, and has the same text; else its file is run.

    Args:
      reference: what it is named by there, as its class says.
      place: its file there, as its class says.
      code: the digits of its text there, as its class says.

    Raises:
      UserError: where neither is here with that text; and as `load` does.
    """
    if (reference, code) in _LOADED:
        return _LOADED[reference, code]
    if not reference.rpartition(":")[0].endswith(".py"):
        with contextlib.suppress(UserError):  # the file is there still
            found = load(reference)
            if found.code == code:
                return found
    module, here = _run_file(place, reference)
    if here != code:
        raise UserError(
            f"the optimizer {reference!r}: {place} has another text here ({here}) than where it was loaded first "
            f"({code}); accepted: the same file everywhere, left as it is meanwhile."
        )
    return _found(module, reference, reference, code)


def imported(factory: Factory) -> type[Imported]:
    """Returns the optimizer that a function makes, as `load` does, of one that is at hand.

    Args:
      factory: returns an `optax.GradientTransformation`; a function at the top level of a file, since that file's text
        is what tells two of the same name apart.

    Raises:
      UserError: for any other function, and as `load` does.
    """
    name, module = getattr(factory, "__qualname__", ""), inspect.getmodule(factory)
    path = getattr(module, "__file__", None)
    if not inspect.isfunction(factory) or not name.isidentifier() or path is None:
        raise UserError(
            f"{factory!r} is no function at the top level of a file; accepted: one, since its file is part of what "
            "identifies a run."
        )
    reference, code = f"{factory.__module__}:{name}", _digest(pathlib.Path(path))
    known = _LOADED.get((reference, code))
    if known is not None and known.factory is factory:
        return known
    return _made(factory, name, reference, code, path)


def _found(module: ModuleType, reference: str, short: str, code: str) -> type[Imported]:
    """Returns the optimizer that a function of a module makes, named by a short reference."""
    if (short, code) in _LOADED:
        return _LOADED[short, code]
    place, _, name = reference.rpartition(":")
    factory = getattr(module, name, None)
    if factory is None:
        functions = [other for other, value in vars(module).items() if callable(value) and not other.startswith("_")]
        raise unknown_name(f"function of {place}", name, functions)
    if not callable(factory):
        raise UserError(f"{reference} is {factory!r}; {_ACCEPTED}.")
    return _made(factory, name, short, code, getattr(module, "__file__", None))


def _made(factory: Factory, name: str, reference: str, code: str, path: str | None) -> type[Imported]:
    place = str(pathlib.Path(path).absolute()) if path else ""
    known = {"reference": reference, "source": reference, "code": code, "place": place}
    attributes: dict[str, Any] = {**known, "probed": {}}
    made = optimizer_class(name, factory, base=Imported, learning_rates=_RATES, **attributes)
    _LOADED[reference, code] = cast(type[Imported], made)
    return _LOADED[reference, code]


_FILES: dict[tuple[pathlib.Path, str], ModuleType] = {}  # what was run, by path and text


def _run_file(place: str, reference: str) -> tuple[ModuleType, str]:
    """Returns the module that a file makes, and the digits of its text."""
    path = pathlib.Path(place).expanduser().resolve()
    if not path.is_file():
        raise UserError(f"the optimizer {reference!r}: {path} is no file; {_ACCEPTED}.")
    code = _digest(path)
    if (path, code) not in _FILES:
        name = f"jaxopt_bench_optimizers_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # where `inspect` and dataclasses look for it
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:  # a script may end itself
            del sys.modules[name]
            raise _not_imported(reference, error) from error
        _FILES[path, code] = module
    return _FILES[path, code], code


def _imported_module(place: str, reference: str) -> tuple[ModuleType, str]:
    """Returns an installed module, or one of the working directory, and the digits of its text when it was imported."""
    try:
        module = _import(place)
    except (Exception, SystemExit) as error:
        raise _not_imported(reference, error) from error
    return module, _digest_at_import(module)


@functools.cache
def _digest_at_import(module: ModuleType) -> str:
    path = getattr(module, "__file__", None)
    return _digest(pathlib.Path(path)) if path else "0" * 12


def _digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _not_imported(reference: str, error: BaseException) -> UserError:
    return UserError(f"the optimizer {reference!r} cannot be imported: {type(error).__name__}: {error}.")


def _import(module: str) -> ModuleType:
    """Imports a module, also from the working directory, which a command's path leaves out."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return importlib.import_module(module)


def _branches(optimizer: Imported) -> bool:
    """Returns whether a function works with its numbers as they are, but not with arrays of unknown values.

    Raises:
      UserError: where it works with neither.
    """
    params = {"layer": {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)}}
    arrays, moment = Optimizer.hyperparameters(optimizer), Moment(key=jax.random.key(0))

    def make(hyperparameters: Hyperparameters) -> Any:
        return optax.with_extra_args_support(optimizer.made(hyperparameters, moment, optimizer.scheduled))

    def update(hyperparameters: Hyperparameters) -> Any:
        transform = make(hyperparameters)
        return transform.update(params, transform.init(params), params, value=jnp.ones([]))

    try:
        jax.eval_shape(update, arrays)
        return False
    except UserError:
        raise
    except jax.errors.JAXTypeError:
        return True
    except Exception:  # of the function itself, or of what it makes with parameters other than these
        own = set(optimizer.arguments.values())
        try:
            make({name: array for name, array in arrays.items() if name not in own})
        except Exception as error:
            raise _failure(optimizer, error) from error
    try:
        jax.eval_shape(lambda hyperparameters: make(hyperparameters) and None, arrays)
    except Exception:
        return True
    return False


def _failure(optimizer: Imported, error: Exception) -> UserError:
    if isinstance(error, UserError):
        return error
    return UserError(f"the optimizer {optimizer.reference} fails: {type(error).__name__}: {error}; with {optimizer}.")


def _recorded(reference: str, code: str, fields: Mapping[str, Any]) -> Recorded:
    """Returns the record of a user's optimizer, with fields of the types that the values have."""
    shared = {field.name for field in dataclasses.fields(Recorded)}
    own = tuple((name, _kind_of(value)) for name, value in fields.items() if name not in shared)
    return _recorded_class(reference, code, own).from_json(fields)


@functools.cache
def _recorded_class(reference: str, code: str, fields: tuple[tuple[str, Any], ...]) -> Any:
    namespace = {"reference": reference, "code": code}
    name = reference.rpartition(":")[2]
    return dataclasses.make_dataclass(name, fields, bases=(Recorded,), namespace=namespace, frozen=True, kw_only=True)


def _kind_of(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple[float, ...]
    return float | None if value is None else type(value)
