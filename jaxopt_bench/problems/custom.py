"""A user's own problems, from any file or package: functions that return a `jaxopt_bench.Problem`.

The code is executed when a user names it. Reading the record of a run does not execute it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib
from typing import Annotated, Any, Self, cast

import jax
import numpy as np
import tyro
from jaxtyping import PyTree

from jaxopt_bench import prng, user_code
from jaxopt_bench.arguments import documentation, fields_of
from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.models.layers import LayersPath
from jaxopt_bench.prng import Purpose
from jaxopt_bench.problems.base import Examples, Problem, ProblemConfig
from jaxopt_bench.problems.checks import check_problem, check_untrained, with_untrained
from jaxopt_bench.user_config import LoadedConfig, RecordedConfig, UserConfigLoader, field_values, reserved_names

_ACCEPTED = "Expected a function that returns a jaxopt_bench.Problem"
_FRACTION = "validation_fraction"


@dataclasses.dataclass(frozen=True)
class ImportedProblem(LoadedConfig, ProblemConfig):
    """A problem that a user's function returns. The fields are the arguments of the function."""

    @property
    def title(self) -> str:
        """The function's name."""
        return self.reference.rpartition(":")[2]

    @property
    def data_name(self) -> str:
        """The function's reference."""
        return self.reference

    @property
    def validates(self) -> bool:
        """Whether the problem has validation examples. This calls the function."""
        return self.load().validation is not None

    def without_validation(self) -> Self:
        """See `ProblemConfig.without_validation`; the function needs the argument `validation_fraction`."""
        if hasattr(self, _FRACTION):
            return dataclasses.replace(self, **{_FRACTION: 0.0})
        raise UserError(
            f"the problem {self.reference} cannot be trained on its validation examples: it has no argument "
            f"{_FRACTION}. Expected such an argument, or Study.refit=False."
        )

    def parameter_shapes(self) -> PyTree[jax.ShapeDtypeStruct]:
        """See `ProblemConfig.parameter_shapes`."""
        problem = self.load()
        return jax.eval_shape(lambda: problem.initial(prng.key(0, Purpose.INITIALISATION))[0])

    def load(self, data_dir: pathlib.Path | None = None, layers: LayersPath = "plain") -> Problem:
        """Calls the function, once for all runs of this process, checks the problem and returns it.

        Args:
          data_dir: not used.
          layers: not used.

        Raises:
          UserError: if the function fails, or does not return a valid problem; see `check_problem`.
        """
        del data_dir, layers
        return _load(self)


@dataclasses.dataclass(frozen=True)
class RecordedProblem(RecordedConfig, ProblemConfig):
    """A user's problem in the record of a run. It can be read and compared, but it has no data."""

    @property
    def title(self) -> str:
        """The function's name."""
        return self.reference.rpartition(":")[2]

    def load(self, data_dir: pathlib.Path | None = None, layers: LayersPath = "plain") -> Problem:
        """See `ProblemConfig.load`.

        Raises:
          UserError: always.
        """
        self.refuse()


@functools.lru_cache(maxsize=4)  # the settings of a population have one problem; data may be large
def _load(config: ImportedProblem) -> Problem:
    what = f"the problem {config.reference}"
    try:
        problem = type(config).defined(**field_values(config))
    except UserError as error:
        raise UserError(f"{what}: {error}") from error
    except Exception as error:
        raise UserError(f"{what} fails: {user_code.describe_error(error)}") from error
    if not isinstance(problem, Problem):
        raise UserError(f"{what} returned {shortened(problem)}. {_ACCEPTED}.")
    check_problem(problem, what)
    facts = {**problem.facts, "digest": digest_of_examples(problem)}
    problem = dataclasses.replace(with_untrained(problem), facts=facts)
    check_untrained(problem, what)
    return problem


def digest_of_examples(problem: Problem) -> str:
    """Returns twelve hexadecimal digits that identify the contents of the arrays of all splits.

    If a function opens the test split, the test split is not opened and is not part of the digest.
    """
    found = hashlib.sha256()
    for split in ("train", "validation", "test"):
        examples: Examples = getattr(problem, split)
        for path, leaf in jax.tree.leaves_with_path(None if callable(examples) else examples):
            array = np.ascontiguousarray(leaf)
            found.update(f"{split}{jax.tree_util.keystr(path)} {array.dtype.str} {array.shape}\n".encode())
            found.update(array.data if array.dtype.kind in "biufc" else array.tobytes())
    return found.hexdigest()[:12]


def _define_class(loaded: user_code.Loaded) -> type[ImportedProblem]:
    """Returns a problem class for a user's function."""
    function, name = loaded.value, loaded.reference.rpartition(":")[2]
    if isinstance(function, Problem):
        raise UserError(f"the problem {loaded.reference} is a Problem. {_ACCEPTED}.")
    if not callable(function):
        raise UserError(f"the problem {loaded.reference} is {shortened(function)}. {_ACCEPTED}.")
    fields = [
        (field, Annotated[kind, tyro.conf.arg(name=f"problem.{field}")], default)
        for field, kind, default in fields_of(function, reserved=reserved_names(ImportedProblem))
    ]
    namespace = {"__module__": __name__, "__doc__": documentation(function, {field: field for field, _, _ in fields})}
    made = dataclasses.make_dataclass(
        name, fields, bases=(ImportedProblem,), namespace=namespace, frozen=True, kw_only=True
    )
    return cast(type[ImportedProblem], made)


USERS: UserConfigLoader[Any] = UserConfigLoader("problem", _define_class, RecordedProblem)
"""Loads users' problems."""

load, wrap_problem = USERS.load, USERS.describe
"""They return the class of the problems that a user's function defines; see `UserConfigLoader`.

`load` takes a reference such as `line.py:line`, and `wrap_problem` the function.
"""
