"""A contender of a study: an optimizer with a schedule and a search space, and its experiments."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from jaxopt_bench.config import Config, Named
from jaxopt_bench.errors import unknown_name
from jaxopt_bench.experiment import Experiment, Workload, check_folder_name
from jaxopt_bench.optimizers import OPTIMIZERS, SCHEDULES, Axis, Choice, Cosine, Optimizer, Schedule, Space
from jaxopt_bench.study.search import Point


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contender(Config):
    """An optimizer of a study: its defaults, its schedule, and the space in which it is tuned.

    Raises:
      UserError: if the space names a field that cannot be set, or has values that the field does not accept.
    """

    kinds: ClassVar[Mapping[str, Named[Any]]] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}

    name: str
    """Its name in the study."""
    optimizer: Optimizer
    """The optimizer, with the values of the fields that are not searched."""
    schedule: Schedule = Cosine()
    """The learning-rate schedule."""
    space: Space | None = None
    """Ranges and choices by field, as "optimizer.learning_rate". None: those of `Optimizer.search_space`. Empty: the
    optimizer is not tuned."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_folder_name("Contender.name", self.name)
        if self.space is None:
            object.__setattr__(self, "space", space_of(self.optimizer.search_space()))
        for field, searched in self.searched.items():
            ends = searched.values if isinstance(searched, Choice) else (searched.value(0), searched.value(1))
            for value in ends:
                self.at({field: value})

    @property
    def searched(self) -> Space:
        """The search space."""
        assert self.space is not None, "it is set when it is made"
        return self.space

    def at(self, values: Point) -> Contender:
        """Returns the contender with other values of some fields and an empty search space.

        Args:
          values: by field, as "optimizer.learning_rate" or "schedule.warmup".

        Raises:
          UserError: for a field that does not exist, or a value that it does not accept.
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
    """Returns a search space of an optimizer's fields ("learning_rate") and a schedule's ("schedule.warmup")."""
    return Space({field if "." in field else f"optimizer.{field}": searched for field, searched in ranges.items()})


def experiment_of(
    workload: Workload, contender: Contender, *, seed: int, evaluate_test: bool, track_test: bool = False
) -> Experiment:
    """Returns the experiment of a contender on a workload. Its name has the names of both.

    Args:
      workload: what is trained.
      contender: the optimizer and schedule; its search space is ignored.
      seed: of the run.
      evaluate_test: whether it reads the test split, if there is one.
      track_test: whether it reads the test split after every epoch as well.
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
