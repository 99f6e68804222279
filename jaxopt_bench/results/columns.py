"""The columns of the two tables and their types. Those of the metrics depend on the metrics of the runs."""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import polars as pl
from polars.datatypes import DataTypeClass

from jaxopt_bench.config import Config
from jaxopt_bench.experiment import NAMED_PARTS, Experiment
from jaxopt_bench.measures import split_of
from jaxopt_bench.problems import LOSS
from jaxopt_bench.runs import SPLITS

ColumnType = pl.DataType | DataTypeClass
"""A type of Polars, as a class or an instance: Polars itself mixes both."""

Types = Mapping[str, ColumnType]
"""Types by column."""

PARTS = ("optimizer.", "schedule.")
"""The prefixes of the names of the optimizer's and the schedule's fields."""

VERSION = "version."
"""The prefix of the names of the packages' versions."""

STUDY_COLUMNS: Types = {
    "study": pl.String, "phase": pl.String, "workload": pl.String, "contender": pl.String, "repetition": pl.Int64,
    "trial": pl.Int64, "selected": pl.Boolean,
}  # fmt: skip
"""The position of a run in a study; null for a run that belongs to no study."""

IDENTITY: Types = {"path": pl.String, **STUDY_COLUMNS, "digest": pl.String, "status": pl.String}

METRICS: Types = {"metrics": pl.String}
"""The metrics of the runs, as JSON: a list of `Metric.to_json`, the headline first."""

_STEP = {"step": pl.Int64, "epoch": pl.Float64}
RESULT_COLUMNS: Types = {
    f"{at}.{name}": kind
    for at in ("final", "best")
    for name, kind in {**_STEP, **{f"{split}_{LOSS}": pl.Float64 for split in SPLITS}}.items()
}
"""The results of a run; null while it is in progress. The tables have such columns for the other metrics too."""

COST: Types = {
    "steps": pl.Int64, "diverged_step": pl.Int64, "parameters": pl.Int64, "seconds": pl.Float64,
    "examples_per_second": pl.Float64,
}  # fmt: skip
"""The cost of a run; null while it is in progress."""

ENVIRONMENT: Types = {
    "members": pl.Int64, "backend": pl.String, "device": pl.String, "devices": pl.Int64, "threads": pl.Int64,
    "code_path": pl.String, "revision": pl.String, "environments": pl.Int64, "inner_rules": pl.String,
}  # fmt: skip
"""The last environment of a run, and the number of different environments in which it was trained one after the other.
If its optimizer has several inner rules, `inner_rules` says in JSON which rule updated which part of the network."""

LINES: Types = {
    "step": pl.Int64, "epoch": pl.Float64, "split": pl.String, "loss": pl.Float64, "seconds": pl.Float64,
    "steps": pl.Int64, "grad_norm": pl.Float64, "update_norm": pl.Float64, "learning_rate": pl.Float64,
    "examples_per_second": pl.Float64,
}  # fmt: skip
"""The fields of a line of metrics; null if lines of its split have no such field. The tables have a column for each
other metric too."""

_PYTHON: Mapping[ColumnType, type] = {pl.Boolean: bool, pl.Int64: int, pl.Float64: float, pl.String: str}
_INFERRED: tuple[ColumnType, ...] = (pl.Boolean, pl.Int64, pl.Float64, pl.String, pl.List(pl.Float64))
"""Candidate types for fields of unknown configurations, the narrowest first."""


@functools.cache
def experiment_types() -> Types:
    """Returns the types of the experiment's fields that every run has, under the names of their flags."""
    fields = dict(_fields(Experiment))
    return {name.removeprefix("workload."): kind for name, kind in fields.items() if name != "workload.name"}


def run_types() -> Types:
    """Returns the types of the columns that `runs` always has, in their order."""
    return {**IDENTITY, **experiment_types(), **METRICS, **RESULT_COLUMNS, **COST, **ENVIRONMENT}


def in_order(names: Sequence[str]) -> list[str]:
    """Returns columns of `runs` in their order in the table: grouped by topic, with the versions last."""
    own = [*experiment_types()]
    after = own.index(PROBLEM) + 1
    known = {*IDENTITY, *own, *METRICS, *COST, *ENVIRONMENT}
    reached = sorted((name for name in names if is_result_column(name)), key=_order_of_reached)
    parts = [name for name in names if name.startswith(PARTS) and name not in known]
    of_problem = [
        name for name in names if not (name in known or is_result_column(name) or name.startswith((*PARTS, VERSION)))
    ]
    ordered = dict.fromkeys(
        [*IDENTITY, *own[:after], *of_problem, *own[after:], *parts, *METRICS, *reached, *COST, *ENVIRONMENT]
    )
    return [*(name for name in ordered if name in names), *(name for name in names if name not in ordered)]


PROBLEM = "problem.name"
"""The column with the kind of the problem. The problem's fields come after it."""


def is_result_column(name: str) -> bool:
    """Returns whether a column of `runs` holds results of runs."""
    return name.startswith(("final.", "best."))


def _order_of_reached(name: str) -> tuple[int, int, int]:
    """Returns the sort key of a result column: by epoch and split, with the loss first."""
    at, _, measure = name.partition(".")
    found = split_of(measure)
    split = -1 if found is None else SPLITS.index(found[0])
    return ["final", "best"].index(at), split, int(found is not None and found[1] != LOSS)


def metric_columns(names: Sequence[str]) -> list[str]:
    """Returns the columns of `curves` that hold metrics, including the loss."""
    return [name for name in names if name == LOSS or not (name == "path" or name in LINES)]


def curve_types(metrics: Iterable[str] = ()) -> Types:
    """Returns the types of the columns of `curves`, in their order.

    Args:
      metrics: names of metrics in the table, besides the loss.
    """
    others = {name: pl.Float64 for name in metrics if name not in LINES}
    ends = [*LINES].index(LOSS) + 1
    lines = [*LINES.items()]
    return {"path": pl.String, **dict(lines[:ends]), **others, **dict(lines[ends:])}


@functools.cache
def hyperparameter_types() -> Types:
    """Returns the types of the fields of all problems, models, optimizers and schedules, by the names of their flags.

    A field is left out if it has different types in two of these classes.
    """
    found: dict[str, ColumnType | None] = {}
    for part, table in NAMED_PARTS.items():
        _add_types(found, table, "" if part == PROBLEM.partition(".")[0] else f"{part}.")
    return {name: kind for name, kind in found.items() if kind is not None}


def _add_types(found: dict[str, ColumnType | None], table: Mapping[str, Config], prefix: str) -> None:
    """Adds the types of the fields of all configurations in a table, and of the configurations inside them."""
    for cls in {type(entry) for entry in table.values()}:
        for name, kind in _fields(cls):
            found[f"{prefix}{name}"] = kind if found.get(f"{prefix}{name}", kind) == kind else None
        for part, inner in cls.kinds.items():
            _add_types(found, inner, f"{prefix}{part}.")


def fits(value: object, kind: ColumnType) -> bool:
    """Returns whether a column of a type can hold a JSON value, or null, without loss of information."""
    if value is None:
        return True
    if isinstance(kind, pl.List):
        return isinstance(value, list) and all(item is not None and fits(item, kind.inner) for item in value)
    if kind in (pl.Boolean, pl.String):
        return type(value) is _PYTHON[kind]
    if kind == pl.Float64:
        return isinstance(value, float) or (type(value) is int and abs(value) <= 2**53)
    return type(value) is int and -(2**63) <= value < 2**63


def column(name: str, values: Sequence[object], kind: ColumnType | None = None) -> pl.Series:
    """Returns JSON values as a column.

    Args:
      name: the name of the column.
      values: one value per row; None for null.
      kind: the type of the column, if it is known. If a value does not fit this type, the column has the first of the
        types Boolean, Int64, Float64, String and List(Float64) that fits all values. If none does, it holds JSON text.
    """
    known = () if kind is None else (kind,)
    if kind is None and all(value is None for value in values):
        known = (pl.Float64,)
    kind = next((each for each in (*known, *_INFERRED) if all_fit(values, each)), None)
    if kind is None:
        values, kind = [_text(value) for value in values], pl.String
    exact = {*map(type, values)} <= {_PYTHON.get(kind), type(None)}
    try:
        return pl.Series(name, values if exact else [_as(value, kind) for value in values], kind)
    except UnicodeEncodeError:  # JSON can contain single surrogates, which text in Polars cannot contain
        return pl.Series(
            name, [str(v).encode(errors="replace").decode() if v is not None else None for v in values], kind
        )


def all_fit(values: Sequence[object], kind: ColumnType) -> bool:
    """Returns whether all values fit a type; see `fits`."""
    if {*map(type, values)} <= {_PYTHON.get(kind), type(None)}:  # almost always true
        numbers = [value for value in values if isinstance(value, int)] if kind == pl.Int64 else []
        return not numbers or (fits(min(numbers), kind) and fits(max(numbers), kind))
    return all(fits(value, kind) for value in values)


def concatenated(tables: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Concatenates tables vertically, with null for missing columns; see `column` for columns of different types."""
    several = list(tables)
    kinds: dict[str, set[ColumnType]] = {}
    for table in several:
        for name, kind in table.schema.items():
            kinds.setdefault(name, set()).add(kind)
    for name in (name for name, found in kinds.items() if len(found) > 1):
        values = {i: table[name].to_list() for i, table in enumerate(several) if name in table.columns}
        kind = column(name, [value for own in values.values() for value in own]).dtype
        for i, own in values.items():
            other = [_text(value) for value in own] if kind == pl.String else own
            several[i] = several[i].with_columns(column(name, other, kind))
    return pl.concat(several, how="diagonal")


def _fields(cls: type[Config]) -> tuple[tuple[str, ColumnType], ...]:
    """Returns the types of a configuration's fields. Fields of its parts are named `part.field`."""
    hints = typing.get_type_hints(cls)
    found: list[tuple[str, ColumnType]] = []
    for name in (field.name for field in dataclasses.fields(cls)):
        hint = hints[name]
        if name in cls.kinds:
            found.append((f"{name}.name", pl.String))
        elif isinstance(hint, type) and issubclass(hint, Config):
            found += [(f"{name}.{inner}", kind) for inner, kind in _fields(hint)]
        elif (kind := _type_of(hint)) is not None:
            found.append((name, kind))
    return tuple(found)


def _type_of(hint: object) -> ColumnType | None:
    """Returns the column type for the type hint of a configuration's field; None if there is no single type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        kinds = {_type_of(argument) for argument in arguments if argument is not type(None)}
        return kinds.pop() if len(kinds) == 1 else None
    if origin is Literal:
        return _type_of(type(arguments[0]))
    if origin is tuple:
        inner = _type_of(arguments[0])
        return None if inner is None else pl.List(inner)
    return next((kind for kind, python in _PYTHON.items() if python is hint), None)


def _as(value: object, kind: ColumnType) -> object:
    """Converts a value that fits a type to that type: Polars does not accept integers for floats."""
    if isinstance(kind, pl.List) and isinstance(value, list):
        return [_as(item, kind.inner) for item in value]
    return float(value) if kind == pl.Float64 and isinstance(value, int) else value


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def with_paths(table: pl.DataFrame, paths: Mapping[str, str]) -> pl.DataFrame:
    """Returns a table with other paths of runs; `paths` has the new path of each old one."""
    return table.with_columns(pl.col("path").replace_strict(paths, return_dtype=pl.String))
