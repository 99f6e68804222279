"""A user's own networks, from any file or package: linen modules, or functions that return a linen module.

The code is executed when a user names it. Reading the record of a run does not execute it.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key

from jaxopt_bench import user_code
from jaxopt_bench.arguments import documentation, fields_of, parameters
from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.models.base import Inputs, Model
from jaxopt_bench.models.layers import Layers
from jaxopt_bench.user_config import LoadedConfig, RecordedConfig, UserConfigLoader, reserved_names

_ACCEPTED = "Expected a linen module class, or a function that returns a linen module"
_OUTPUTS = ("num_classes", "num_outputs")
_MODES = {"train": True, "training": True, "is_training": True, "deterministic": False}
"""The arguments that tell a module whether it is in training, and their values in training."""
_COLLECTIONS = {"params", "batch_stats"}


@dataclasses.dataclass(frozen=True)
class ImportedModel(LoadedConfig, Model):
    """A network defined by a user's linen module, or by a user's function that returns a linen module.

    The fields are the arguments of the module or function, except those that this class sets: `num_classes` or
    `num_outputs`, the number of outputs; `dtype`, the type of its computations; `train` (or `training`, `is_training`,
    `deterministic`).
    """

    inputs: ClassVar[tuple[Inputs, ...]] = typing.get_args(Inputs)  # the kinds are known only after it is built

    @property
    def has_dropout(self) -> bool:
        """True, because a user's network may have dropout."""
        return True

    def module(self, num_outputs: int, layers: Layers = Layers()) -> Network:
        """See `Model.module`.

        Raises:
          UserError: if bfloat16 is requested and the network has no argument `dtype`.
        """
        names = _names(type(self).defined)
        if layers.dtype != "float32" and "dtype" not in names:
            raise UserError(
                f"dtype is {layers.dtype!r}, but the model {self.reference} has no argument dtype. Expected 'float32'."
            )
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        given |= {name: num_outputs for name in _OUTPUTS if name in names}
        given |= {"dtype": jnp.dtype(layers.dtype)} if "dtype" in names else {}
        return Network(self, given, num_outputs)


@dataclasses.dataclass(frozen=True)
class RecordedModel(RecordedConfig, Model):
    """A user's model in the record of a run. It can be read and compared, but it cannot build a network."""

    inputs: ClassVar[tuple[Inputs, ...]] = typing.get_args(Inputs)

    def module(self, num_outputs: int, layers: Layers = Layers()) -> nn.Module:
        """See `Model.module`.

        Raises:
          UserError: always.
        """
        self.refuse()


@dataclasses.dataclass(frozen=True)
class Network:
    """A user's network, with the methods of a linen module that training uses.

    Attributes:
      config: the configuration of the model.
      arguments: the arguments for its class or function.
      num_outputs: the expected number of outputs for each example.
    """

    config: ImportedModel
    arguments: Mapping[str, Any]
    num_outputs: int

    def init(self, key: Key[Array, ""], inputs: Array, *, train: bool) -> dict[str, Any]:
        """Returns the initial variables, like `nn.Module.init`.

        Raises:
          UserError: if the user's code fails, or the variables or outputs are invalid.
        """
        outputs, variables = self._call("init_with_output", train, key, inputs)
        if not jax.tree.leaves(variables.get("params", {})):
            raise self._wrong("has no parameters. Expected at least one.")
        if others := sorted(variables.keys() - _COLLECTIONS - {"intermediates"}):
            raise self._wrong(
                f"has the variable collections {', '.join(others)}. Expected only params and batch_stats."
            )
        self._check_outputs(outputs, inputs)
        return {name: variables[name] for name in _COLLECTIONS & variables.keys()}

    def apply(
        self,
        variables: Mapping[str, Any],
        inputs: Array,
        *,
        train: bool,
        rngs: Mapping[str, Key[Array, ""]] | None = None,
        mutable: Sequence[str] | bool = False,
    ) -> Any:
        """Returns the outputs in float32, like `nn.Module.apply`, with the changed variables if some are mutable."""
        if rngs is not None:  # "params" serves rng collections with other names
            rngs = {"params": jax.random.fold_in(rngs["dropout"], 1), **rngs}
        found = self._call("apply", train, variables, inputs, rngs=rngs, mutable=mutable)
        outputs, changed = found if mutable is not False else (found, None)
        outputs = self._check_outputs(outputs, inputs)
        return outputs if changed is None else (outputs, changed)

    def _call(self, method: str, train: bool, first: Any, inputs: Array, **options: Any) -> Any:
        """Calls a method of the user's module, and tells the module whether it is in training.

        Args:
          method: the name of a method of the linen module.
          train: whether the module is in training.
          first: the argument of the method before the inputs.
          inputs: the inputs of the network.
          **options: further arguments of the method.
        """
        modes = {name: on is train for name, on in _MODES.items()}
        definition = type(self.config).defined
        try:
            given = {name: value for name, value in modes.items() if name in _names(definition)}
            module = definition(**self.arguments, **given)
            if not isinstance(module, nn.Module):
                raise UserError(f"the model {self.config.reference} returned {shortened(module)}. {_ACCEPTED}.")
            told = {name: value for name, value in modes.items() if name in _names(type(module).__call__)}
            return getattr(module, method)(first, inputs, **options, **told)
        except UserError:
            raise
        except Exception as error:
            shape = f"{list(inputs.shape)}, {inputs.dtype}"
            raise self._wrong(f"fails for inputs of shape {shape}: {user_code.describe_error(error)}") from error

    def _check_outputs(self, outputs: Any, inputs: Array) -> Float[Array, "batch *outputs"]:
        """Returns the outputs of a network in float32.

        Raises:
          UserError: if there is not one row of outputs for each example; for tokens, one for each position.
        """
        shape = getattr(outputs, "shape", None)
        if shape is None or not jnp.issubdtype(outputs.dtype, jnp.floating):
            what = type(outputs).__name__ if shape is None else f"an array of {outputs.dtype}"
            raise self._wrong(f"returned {what}. Expected an array of floating-point numbers.")
        if len(shape) < 2 or shape[0] != len(inputs) or shape[-1] != self.num_outputs:
            raise self._wrong(
                f"returned an array of shape {list(shape)} for {len(inputs)} examples. Expected "
                f"{[len(inputs), self.num_outputs]}, or [{len(inputs)}, length, {self.num_outputs}] for tokens. An "
                "argument num_outputs (or num_classes) of the class or function receives the number of outputs."
            )
        return outputs.astype(jnp.float32)

    def _wrong(self, problem: str) -> UserError:
        return UserError(f"the model {self.config.reference} {problem}")


def _names(definition: Callable[..., Any]) -> list[str]:
    return [parameter.name for parameter in parameters(definition)]


def _define_class(loaded: user_code.Loaded) -> type[ImportedModel]:
    """Returns a model class for a user's class or function."""
    definition, name = loaded.value, loaded.reference.rpartition(":")[2]
    is_class = inspect.isclass(definition)
    if not callable(definition) or (is_class and not issubclass(definition, nn.Module)):
        raise UserError(f"the model {loaded.reference} is {shortened(definition)}. {_ACCEPTED}.")
    left_out = {*_OUTPUTS, *_MODES, "dtype", *(("parent", "name") if is_class else ())}
    fields = fields_of(definition, left_out, reserved_names(ImportedModel))
    namespace = {
        "__module__": __name__,
        "__doc__": documentation(definition, {field: field for field, _, _ in fields}),
    }
    made = dataclasses.make_dataclass(
        name, fields, bases=(ImportedModel,), namespace=namespace, frozen=True, kw_only=True
    )
    return cast(type[ImportedModel], made)


USERS: UserConfigLoader[Any] = UserConfigLoader("model", _define_class, RecordedModel)
"""Loads users' models."""

load, wrap_model = USERS.load, USERS.describe
"""They return the class of the models that a user's code defines; see `UserConfigLoader`.

`load` takes a reference such as `net.py:Net`, and `wrap_model` a linen module class or a function that returns a
module.
"""
