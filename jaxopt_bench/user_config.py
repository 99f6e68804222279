"""Configurations that users' code defines, and records of configurations whose code is not loaded."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Generic, NoReturn, TypeVar, cast

from jaxopt_bench import user_code
from jaxopt_bench.arguments import kind_of
from jaxopt_bench.config import Config, ConfigTable, required_fields
from jaxopt_bench.errors import UserError

C = TypeVar("C", bound=Config)


class UserDefined:
    """A configuration that a user's code defines. The text of the code is part of its identity.

    Class attributes:
      reference: its name on the command line and in files, `package.module:name` or `file.py:name`.
      code: twelve hexadecimal digits that identify the texts that define it.
    """

    reference: ClassVar[str]
    code: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Returns the fields and the digits of the code."""
        return {"code": self.code, **super().to_json()}  # type: ignore[misc]


class RecordedConfig(UserDefined):
    """A recorded configuration whose code is not loaded. It can be read and compared, but not used.

    Class attributes:
      users: the kind of the configuration.
    """

    users: ClassVar[UserConfigLoader[Any]]

    def refuse(self) -> NoReturn:
        """Raises the error for using it.

        Raises:
          UserError: always.
        """
        kind = self.users.kind
        raise UserError(
            f"the run used the {kind} {self.reference} with the code {self.code}, which is not loaded. Expected the "
            f"unchanged file: pass it to `run` or `sweep` with --{kind}, or call jaxopt_bench.{kind}s.load(…) in "
            "Python before you use the run."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the record; unpickling it runs no code of the user."""
        return self.users.record, (self.reference, self.code, field_values(cast(Config, self)))


class LoadedConfig(UserDefined):
    """A configuration whose code is loaded.

    Class attributes:
      users: the kind of the configuration.
      code_file: the path of its code, which other processes use in `load_again`; empty if it has none.
      defined: the function or class.
    """

    users: ClassVar[UserConfigLoader[Any]]
    code_file: ClassVar[str]
    defined: ClassVar[Any]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the reference: the process that unpickles it imports the module, or runs its file.

        Raises:
          pickle.PicklingError: if another process would not find this function under its reference.
        """
        kind, (module, _, name) = self.users.kind, self.reference.rpartition(":")
        found = getattr(user_code.find_module(self.reference), name, None)
        if not module.endswith(".py") and found is not type(self).defined:
            raise pickle.PicklingError(
                f"the {kind} {self.reference} cannot be pickled: {name!r} is now another object in the module "
                f"{module}. Expected a function that can be imported under its own name."
            )
        return self.users.unpickle, (self.reference, self.code_file, self.code, field_values(cast(Config, self)))


class UserConfigLoader(Generic[C]):
    """How configurations of one kind are loaded from users' code. The module that defines an instance calls it `USERS`.

    Attributes:
      kind: the name of the kind, in the singular, such as "optimizer".
      loaded: the classes that this process has already loaded, by reference and code, similar to `sys.modules`.
    """

    def __init__(self, kind: str, make: Callable[[user_code.Loaded], type[C]], recorded: type[C]):
        """Describes a kind.

        Args:
          kind: the name of the kind, in the singular.
          make: returns the class of the configurations that a function or a class defines, a `LoadedConfig`. The
            attributes that `LoadedConfig` lists are set here.
          recorded: the base class of the records, a `RecordedConfig`.
        """
        self.kind = kind
        self.loaded: dict[tuple[str, str], type[C]] = {}
        self._make, self._recorded = make, recorded
        self.__module__ = make.__module__  # `pickle` looks it up in this module
        cast(Any, recorded).users = self

    def __reduce__(self) -> str:
        """Pickles the name that it has in the module of `make`."""
        return "USERS"

    def load(self, reference: str) -> type[C]:
        """Returns the class that a reference's code defines; its file or package is run once for each text.

        Args:
          reference: `package.module:name` (the module may be in the working directory) or `path/to/file.py:name`.

        Raises:
          UserError: if it cannot be imported, does not define a configuration of this kind, or has an argument that a
            flag cannot set.
        """
        return self._class_of(user_code.load_object(self.kind, reference))

    def load_again(self, reference: str, file: str, code: str) -> type[C]:
        """Returns the class that another process has loaded; see `user_code.load_again`.

        Args:
          reference: the class's `reference` in that process.
          file: the class's `code_file` in that process.
          code: the class's `code` in that process.

        Raises:
          UserError: if neither the module nor the file is here with the same text; and as `load` does.
        """
        known = self.loaded.get((reference, code))
        return known or self._class_of(user_code.load_again(self.kind, reference, file, code))

    def describe(self, value: Any) -> type[C]:
        """Returns the class that an imported function or class defines. Without `load`, a file need not be named.

        Args:
          value: a function or class at the top level of a file, whose text distinguishes it from others with its name.

        Raises:
          UserError: if it is not at the top level of a file; and as `load` does.
        """
        loaded = user_code.describe(value)
        known = self.loaded.get((loaded.reference, loaded.code))
        return known if known is not None and cast(Any, known).defined is value else self._add_class(loaded)

    def from_json(self, values: Mapping[str, Any], where: str = "") -> C:
        """Returns the configuration in a JSON object, or a record of it if exactly this code is not loaded.

        Args:
          values: a JSON object with a `name`.
          where: the path to it, for messages.
        """
        fields = {field: value for field, value in values.items() if field not in ("name", "code")}
        loaded = self.loaded.get((values["name"], str(values.get("code"))))
        return (
            loaded.from_json(fields, where) if loaded else self.record(values["name"], str(values.get("code")), fields)
        )

    def record(self, reference: str, code: str, fields: Mapping[str, Any]) -> C:
        """Returns the record of a configuration; the types of its fields are those of the values."""
        shared = {field.name for field in dataclasses.fields(self._recorded)}
        own = tuple((name, kind_of(value)) for name, value in fields.items() if name not in shared)
        return _record_class(cast(Any, self._recorded), reference, code, own).from_json(fields)

    def unpickle(self, reference: str, file: str, code: str, fields: Mapping[str, Any]) -> C:
        """Returns the configuration that another process pickled."""
        return self.load_again(reference, file, code)(**fields)

    def _class_of(self, loaded: user_code.Loaded) -> type[C]:
        return self.loaded.get((loaded.reference, loaded.code)) or self._add_class(loaded)

    def _add_class(self, loaded: user_code.Loaded) -> type[C]:
        made: Any = self._make(loaded)
        made.users, made.reference, made.code, made.code_file = self, loaded.reference, loaded.code, loaded.file
        made.defined = staticmethod(loaded.value)
        self.loaded[loaded.reference, loaded.code] = made
        return made


class UserTable(ConfigTable[C]):
    """A table of configurations by name, which also finds configurations of users by their references."""

    def __init__(self, users: UserConfigLoader[C], **entries: C):
        super().__init__(users.kind, **entries)
        self.users = users

    def __getitem__(self, name: str) -> C:
        if not user_code.is_reference(name):
            return super().__getitem__(name)
        cls = self.users.load(name)
        if required := required_fields(cls):
            raise UserError(
                f"{name} has the argument {required[0].name!r} without a default. Expected load({name!r})(…)."
            )
        return cls()

    def name_of(self, config: C) -> str:
        """See `ConfigTable.name_of`; for a user's configuration, returns its reference."""
        return config.reference if isinstance(config, UserDefined) else super().name_of(config)

    def from_json(self, values: Any, where: str = "") -> C:
        """See `ConfigTable.from_json`; a user's configuration becomes a record, unless exactly this code is loaded."""
        name = values.get("name") if isinstance(values, Mapping) else None
        is_users = isinstance(name, str) and user_code.is_reference(name)
        return self.users.from_json(values, where) if is_users else super().from_json(values, where)


def loaded_configs(config: Config) -> Iterator[LoadedConfig]:
    """Yields the configurations of users' code in a configuration and in its fields, such as an experiment's model."""
    if isinstance(config, LoadedConfig):
        yield config
    for value in field_values(config).values():
        if isinstance(value, Config):
            yield from loaded_configs(value)


def reserved_names(base: type[Config]) -> set[str]:
    """Returns the names that arguments of a user's function must not have, since they would collide with other values.

    These are the names in the JSON of records, and the names of all attributes of the class, with or without a value.

    Args:
      base: the class from which the function's configuration derives.
    """
    annotated = {name for cls in base.__mro__ for name in inspect.get_annotations(cls)}
    return {"name", "code", *dir(base), *annotated}


def field_values(config: Config) -> dict[str, Any]:
    """Returns the values of a configuration's fields, from which its class can construct it again."""
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


@functools.cache
def _record_class(base: type[Any], reference: str, code: str, fields: tuple[tuple[str, Any], ...]) -> Any:
    namespace = {"reference": reference, "code": code}
    name = reference.rpartition(":")[2] or "Record"
    return dataclasses.make_dataclass(name, fields, bases=(base,), namespace=namespace, frozen=True, kw_only=True)
