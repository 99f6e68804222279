"""The entries of `study.json`: the planned runs, winners, timings, and sizes of the study."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.strict_json import NUMBER, check_object
from jaxopt_bench.study.contender import run_name
from jaxopt_bench.study.search import Point
from jaxopt_bench.study.study import Study

JsonTypes = Mapping[str, Any]
"""The types of an object's fields in JSON, for `check_object`."""


class UnitKey(NamedTuple):
    """The identity of a unit of a study: the names of its workload and its contender, and its repetition."""

    workload: str
    contender: str
    repetition: int


@dataclasses.dataclass(frozen=True)
class Entry:
    """Base of all entries. In JSON, an entry is an object with the fields of the dataclass, in their order."""

    json_types: ClassVar[JsonTypes]
    """The types of the fields in JSON; the items of a list are strings."""

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, values: object, where: str) -> Self:
        """Returns the entry that `to_json` wrote.

        Args:
          values: a JSON object; fields that an entry does not have are ignored.
          where: the file and the field, for error messages.

        Raises:
          UserError: with the name of the first field that is missing or has another type.
        """
        found = check_object(where, values, cls.json_types)
        fields = {name: found[name] for name in cls.json_types}
        for name in (name for name, kind in cls.json_types.items() if kind is list):
            if not all(isinstance(item, str) for item in fields[name]):
                raise UserError(f"{where} is damaged: {name} is {fields[name]!r}. Expected: texts.")
            fields[name] = tuple(fields[name])
        return cls(**fields)


@dataclasses.dataclass(frozen=True)
class RunEntry(Entry):
    """A planned run.

    Attributes:
      phase: "trial", "finalist", "confirmation", or "superseded": a run of a former finalist or winner, from before
        more trials were added.
      workload, contender, repetition: its unit.
      trial: the index of the trial whose values it has.
      seed: the seed of the experiment.
      digest: the digest of the experiment.
      path: the path of its directory, relative to the study's folder.
    """

    json_types: ClassVar[JsonTypes] = {
        "phase": str, "workload": str, "contender": str, "repetition": int, "trial": int, "seed": int, "digest": str,
        "path": str,
    }  # fmt: skip

    phase: str
    workload: str
    contender: str
    repetition: int
    trial: int
    seed: int
    digest: str
    path: str

    @property
    def unit(self) -> UnitKey:
        """The unit of the run."""
        return UnitKey(self.workload, self.contender, self.repetition)


@dataclasses.dataclass(frozen=True)
class Selection(Entry):
    """The result of the selection among a unit's trials.

    Attributes:
      workload, contender, repetition: the unit.
      trial: the index of the winner; 0 if nothing is tuned, None if all trials diverged.
      value: the value that judges the winner: its mean over the seeds of the finalists, if there are finalists; None if
        it is not known.
      values: the winner's values of the searched fields; None if there is no winner.
      edges: the fields in which the winner's value lies at the edge of the range, each with the edge.
      diverged: the number of diverged trials.
      among: the digests of the trials.
      finalists: the values of the trials that were trained again, by index, the best trial first. A value is the mean
        over only the other seeds; None if a run with one of them diverged or did not reach the target. Empty if no
        trial was trained again.
    """

    json_types: ClassVar[JsonTypes] = {
        "workload": str, "contender": str, "repetition": int, "trial": int | None, "value": NUMBER | None,
        "values": dict | None, "edges": list, "diverged": int, "among": list, "finalists": dict,
    }  # fmt: skip

    workload: str
    contender: str
    repetition: int
    trial: int | None
    value: float | None
    values: Point | None
    edges: tuple[str, ...]
    diverged: int
    among: tuple[str, ...]
    finalists: Mapping[int, float | None] = dataclasses.field(default_factory=dict)

    @property
    def unit(self) -> UnitKey:
        """The unit of the trials."""
        return UnitKey(self.workload, self.contender, self.repetition)

    @property
    def winning_values(self) -> Point:
        """The winner's values; there must be a winner."""
        assert self.values is not None, "there is no winner"
        return self.values

    @classmethod
    def from_json(cls, values: object, where: str) -> Self:
        """See `Entry.from_json`."""
        found = super().from_json(values, where)
        if found.trial is not None and found.among and not 0 <= found.trial < len(found.among):
            raise UserError(f"{where} is damaged: trial is {found.trial}, of {len(found.among)} trials.")
        if found.trial is not None and found.values is None:
            raise UserError(f"{where} is damaged: it names a trial, but not the values of the trial.")
        own: Mapping[Any, Any] = found.finalists  # in JSON, keys are strings
        check_object(f"{where}.finalists", own, dict.fromkeys(own, NUMBER | None))
        known = {str(index) for index in range(len(found.among))}
        if own and not (own.keys() <= known and str(found.trial) in own):
            raise UserError(f"{where} is damaged: finalists is {shortened(own)}. Expected: trials, with the winner.")
        return dataclasses.replace(found, finalists={int(key): value for key, value in own.items()})


@dataclasses.dataclass(frozen=True)
class Timing(Entry):
    """The time of a training step, measured separately from the runs.

    Attributes:
      workload, contender: the workload and the contender of the training step.
      seconds_per_step: the time.
      environment: the environment of the measurement, see `runs.environment`.
    """

    json_types: ClassVar[JsonTypes] = {
        "workload": str,
        "contender": str,
        "seconds_per_step": NUMBER,
        "environment": dict,
    }

    workload: str
    contender: str
    seconds_per_step: float
    environment: Mapping[str, object]


@dataclasses.dataclass(frozen=True)
class StudySize(Entry):
    """The fields of a study that may grow; workloads and contenders by name."""

    json_types: ClassVar[JsonTypes] = {
        "trials": int | None, "total_epochs": int | None, "trial_seeds": int, "seeds": int, "repetitions": int,
        "workloads": list, "contenders": list,
    }  # fmt: skip

    trials: int | None
    total_epochs: int | None
    trial_seeds: int
    seeds: int
    repetitions: int
    workloads: tuple[str, ...]
    contenders: tuple[str, ...]

    @classmethod
    def of(cls, study: Study) -> StudySize:
        """Returns the size of a study."""
        return cls(
            study.trials,
            study.total_epochs,
            study.trial_seeds,
            study.seeds,
            study.repetitions,
            workloads=tuple(workload.name for workload in study.workloads),
            contenders=tuple(contender.name for contender in study.contenders),
        )


@dataclasses.dataclass(frozen=True)
class StudyRun:
    """The facts that a study records about a run.

    Attributes:
      entry: its entry in `study.json`.
      study: the name of the study; None if it does not matter.
      selected: whether its trial is a winner; None if that does not matter.
    """

    entry: RunEntry
    study: str | None = None
    selected: bool | None = None

    @property
    def columns(self) -> dict[str, str | int | None]:
        """The run's place in the study, by the names of columns."""
        run = self.entry
        place = {"study": self.study, "phase": run.phase, **run.unit._asdict(), "trial": run.trial}
        return {**place, "selected": self.selected}

    @property
    def identity(self) -> dict[str, str | int]:
        """The facts that identify its records: its digest, its seed, and the name of the experiment."""
        run = self.entry
        return {"digest": run.digest, "seed": run.seed, "name": run_name(run.workload, run.contender)}
