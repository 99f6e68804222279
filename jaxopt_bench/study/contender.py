"""A contender of a study: an optimizer with a schedule and a search space, and its experiments."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from jaxopt_bench.config import Bounds, Config, ConfigTable
from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.experiment import Experiment, Workload, check_folder_name
from jaxopt_bench.optimizers import OPTIMIZERS, SCHEDULES, Axis, Choice, Cosine, Optimizer, Schedule, Space
from jaxopt_bench.study.extension import Extension, axis_beyond, union
from jaxopt_bench.study.search import Point


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contender(Config):
    """An optimizer of a study: its defaults, its schedule, and the space in which it is tuned.

    Raises:
      UserError: if a space names a field that cannot be set, or has values that the field does not accept; or if
        extensions overlap or have other fields than the search space.
    """

    kinds: ClassVar[Mapping[str, ConfigTable[Any]]] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}
    added_later: ClassVar[tuple[str, ...]] = ("extensions",)

    name: str
    """The name of the contender in the study."""
    optimizer: Optimizer
    """The optimizer, with the values of the fields that are not searched."""
    schedule: Schedule = Cosine()
    """The learning-rate schedule."""
    space: Space | None = None
    """Ranges and choices by field, such as "optimizer.learning_rate". None: those of `Optimizer.search_space`. Empty:
    the optimizer is not tuned."""
    extensions: tuple[Extension, ...] = ()
    """Boxes beyond edges of the space in which some of the trials are drawn, in the order of the trials."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_folder_name("Contender.name", self.name)
        if self.space is None:
            object.__setattr__(self, "space", space_of(self.optimizer.search_space()))
        last = 0
        for extension in self.extensions:
            if extension.after < last or extension.space.keys() != self.searched.keys():
                raise UserError(
                    f"Contender.extensions of {self.name} is {self.extensions}. Expected boxes with the fields of its "
                    f"search space ({', '.join(self.searched)}), each after the trials of the one before."
                )
            last = extension.until
        for space in (self.searched, *(extension.space for extension in self.extensions)):
            for field, searched in space.items():
                ends = searched.values if isinstance(searched, Choice) else (searched.value(0), searched.value(1))
                for value in ends:
                    self.at({field: value})

    @property
    def searched(self) -> Space:
        """The search space, without its extensions."""
        assert self.space is not None, "it is set when it is made"
        return self.space

    @property
    def reach(self) -> Space:
        """The smallest space that contains the search space and its extensions."""
        return union([self.searched, *(extension.space for extension in self.extensions)])

    def beyond(self, edge: str) -> Space | None:
        """Returns the box beyond an edge of `reach`. Its other fields have the same ranges as in `reach`.

        Args:
          edge: a field and its end, such as "optimizer.b1 (low)".

        Returns:
          The box; None if the field accepts no values beyond this end.
        """
        field, _, end = edge.removesuffix(")").partition(" (")
        searched = self.reach[field]
        if not isinstance(searched, Axis):
            return None
        part, _, name = field.partition(".")
        metadata = next(f.metadata for f in dataclasses.fields(getattr(self, part)) if f.name == name)
        axis = axis_beyond(searched, higher=end == "high", bounds=metadata.get("bounds") or Bounds())
        if axis is None:
            return None
        try:
            self.at({field: axis.value(0)})
            self.at({field: axis.value(1)})
        except UserError:  # for example, a value may round to a bound in float32
            return None
        return Space({**self.reach, field: axis})

    def fixed_value(self, field: str) -> float | None:
        """Returns the value of a field that is not searched, such as "optimizer.partial"; None if it has no number."""
        part, _, name = field.partition(".")
        value = getattr(self.optimizer if part == "optimizer" else self.schedule, name, None)
        known = part in ("optimizer", "schedule") and field not in self.searched and not isinstance(value, bool)
        return float(value) if known and isinstance(value, int | float) else None

    def at(self, values: Point) -> Contender:
        """Returns the contender with other values of some fields and an empty search space.

        Args:
          values: the values by field, such as "optimizer.learning_rate" or "schedule.warmup".

        Raises:
          UserError: if a field does not exist, or does not accept its value.
        """
        changed: dict[str, Point] = {"optimizer": {}, "schedule": {}}
        known = [f"{part}.{field.name}" for part in changed for field in dataclasses.fields(getattr(self, part))]
        for name, value in values.items():
            if name not in known:
                raise unknown_name(f"field of the contender {self.name}", name, known)
            part, _, field = name.partition(".")
            changed[part][field] = value
        parts = {part: dataclasses.replace(getattr(self, part), **fields) for part, fields in changed.items()}
        return Contender(name=self.name, space=Space(), **parts)


def space_of(ranges: Mapping[str, Axis | Choice]) -> Space:
    """Returns a search space from fields of an optimizer ("learning_rate") and of a schedule ("schedule.warmup")."""
    return Space({field if "." in field else f"optimizer.{field}": searched for field, searched in ranges.items()})


def experiment_of(
    workload: Workload, contender: Contender, *, seed: int, evaluate_test: bool, track_test: bool = False
) -> Experiment:
    """Returns the experiment of a contender on a workload. Its name consists of both names.

    Args:
      workload: the workload to train.
      contender: the optimizer and schedule; its search space is ignored.
      seed: the seed of the run.
      evaluate_test: whether it reads the test split, if there is one.
      track_test: whether it also reads the test split after every epoch.
    """
    return Experiment(
        name=run_name(workload.name, contender.name),
        workload=workload,
        optimizer=contender.optimizer,
        schedule=contender.schedule,
        evaluate_test=evaluate_test,
        track_test=track_test,
        seed=seed,
    )


def run_name(workload: str, contender: str) -> str:
    """Returns the name of a contender's runs on a workload, and of their folder."""
    return f"{workload}_{contender}"
