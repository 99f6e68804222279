"""The dataclasses that define a run. Nothing else determines the computations of a run."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

import tyro

from jaxopt_bench.config import Config, ConfigTable, flattened, number_field
from jaxopt_bench.errors import UserError, shortened, unknown_name
from jaxopt_bench.optimizers import OPTIMIZERS, SCHEDULES, Constant, Optimizer, Schedule
from jaxopt_bench.problems import PROBLEMS, ProblemConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workload(Config):
    """A task for comparing optimizers: a problem, a number of epochs and a batch size.

    Raises:
      UserError: for a field of the wrong type or out of bounds, or a `name` that a folder cannot have.
    """

    kinds: ClassVar[Mapping[str, ConfigTable[Any]]] = {"problem": PROBLEMS}

    name: Annotated[str, tyro.conf.Suppress] = "unnamed"
    """Its name in a study. It has no effect on the computation."""
    problem: Annotated[ProblemConfig, tyro.conf.arg(name="")]
    """The problem, whose loss is minimised."""
    epochs: int = number_field(10, at_least=1)
    """Passes over the training split."""
    batch_size: int = number_field(128, at_least=1)
    """Examples per step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_folder_name("Workload.name", self.name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment(Config):
    """One training on one workload with one optimizer, its schedule and a seed.

    Raises:
      UserError: for a field of the wrong type or out of bounds, a `name` that a folder cannot have, or `track_test`
        without `evaluate_test`.
    """

    kinds: ClassVar[Mapping[str, ConfigTable[Any]]] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}

    name: str = "unnamed"
    """The name of its folder. It has no effect on the computation."""
    workload: Annotated[Workload, tyro.conf.arg(name="")]
    """The problem, the number of epochs and the batch size."""
    optimizer: Optimizer
    """The optimizer and its hyperparameters."""
    schedule: Schedule = Constant()
    """How the learning rate changes over the epochs."""
    evaluate_test: bool = True
    """Evaluate the test split once, after training."""
    track_test: bool = False
    """Evaluate the test split after every epoch as well, for curves. Nothing is selected by it."""
    seed: int = number_field(0, at_least=0, below=2**32)
    """Seed of every random draw."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_folder_name("Experiment.name", self.name)
        if self.track_test and not self.evaluate_test:
            raise UserError(
                "Experiment.track_test is True, but evaluate_test is False. Expected: evaluate_test True, or "
                "track_test False."
            )

    def replace(self, **fields: Any) -> Self:
        """Returns the experiment with other values for some of its own fields or of its workload's fields.

        Args:
          **fields: new values by name, such as `epochs` or `seed`; `name` is the name of the experiment.

        Raises:
          UserError: for a field that does not exist, or a value that the field does not accept.
        """
        own = {field.name for field in dataclasses.fields(self)}
        of_workload = {field.name for field in dataclasses.fields(Workload)} - own
        for name in fields:
            if name not in own | of_workload:
                raise unknown_name("field of the experiment", name, own | of_workload)
        workload = fields.pop("workload", self.workload)
        workload = dataclasses.replace(workload, **{name: fields.pop(name) for name in of_workload & fields.keys()})
        return dataclasses.replace(self, workload=workload, **fields)

    @functools.cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that identify the computation of the experiment, independent of its name."""
        return digest_of(self.to_json())

    def program(self) -> dict[str, Any]:
        """Returns the fields that are compiled into a program, under the names of their flags.

        Fields that training uses as arrays are represented by their shapes; the name and the seed are left out.
        """
        fields = {name: value for name, value in self.to_json().items() if name not in ("name", "seed")}
        arrays = {"optimizer": self.optimizer.hyperparameters(), "schedule": self.schedule.hyperparameters()}
        shapes = {f"{part}.{name}": f"shape {a.shape}" for part, named in arrays.items() for name, a in named.items()}
        return flat_fields(fields) | shapes


NAMED_PARTS: Mapping[str, ConfigTable[Any]] = {**Workload.kinds, **Experiment.kinds}
"""The tables of the parts of an experiment that are chosen by name, including those of its workload."""


def unpack_workload(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an experiment's fields, with the workload replaced by the workload's fields except its name.

    Args:
      experiment: the result of `Experiment.to_json`; other versions of this program may have other fields.
    """
    fields: dict[str, Any] = {}
    for name, value in experiment.items():
        if name == "workload" and isinstance(value, Mapping):
            fields |= {own: each for own, each in value.items() if own != "name"}
        else:
            fields[name] = value
    return fields


def flat_fields(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of an experiment, or of a part of one, under the names of their flags.

    The workload's fields have no prefix, and its name is left out. The fields of a built-in problem have no prefix
    either. The problem's name, and the arguments of a user's function, have the prefix "problem.".

    Args:
      experiment: the result of `Experiment.to_json`; other versions of this program may have other fields.
    """
    fields = unpack_workload(experiment)
    problem = fields.pop("problem", {})
    others = flattened(fields)
    if ":" in str(problem.get("name")):
        return flattened(problem, "problem.") | others
    named = {"problem.name": problem["name"]} if "name" in problem else {}
    return named | flattened({name: value for name, value in problem.items() if name != "name"}) | others


def digest_of(experiment: Mapping[str, Any]) -> str:
    """Returns the digest of an experiment that is given as JSON.

    Args:
      experiment: the result of `Experiment.to_json`; other versions of this program may have other fields.
    """
    # The workload's fields are hashed as fields of the experiment: older runs were recorded with such digests.
    fields = {name: value for name, value in unpack_workload(experiment).items() if name != "name"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


LONGEST_NAME = 255
"""The largest number of bytes of a file name on nearly all file systems."""
_RESERVED = ("checkpoints", "claims")


def check_folder_name(field: str, name: str) -> None:
    """Checks that a folder can have a name, and that the name is not one of this program's own folders.

    Raises:
      UserError: if one of these is not the case; the message names the field.
    """
    forbidden = any(c == "/" or unicodedata.category(c) in ("Cc", "Cs") for c in name)  # controls, surrogates
    if forbidden or not 1 <= len(name.encode(errors="replace")) <= LONGEST_NAME or name.startswith("."):
        raise UserError(
            f"{field} is {shortened(name)}. Expected a name that a folder can have: 1 to {LONGEST_NAME} bytes, without "
            "slashes and control characters, not starting with a dot."
        )
    if name in _RESERVED or name.startswith("population-"):
        raise UserError(
            f"{field} is {shortened(name)}. Expected another name: this program has folders of its own called "
            f"{', '.join(_RESERVED)} and population-…"
        )
