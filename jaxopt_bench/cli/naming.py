"""The meaning of names on the command line: experiments with replaced parts, optimizers, runs."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import tyro

from jaxopt_bench import catalog, data, user_code
from jaxopt_bench.config import ConfigTable, required_fields
from jaxopt_bench.data.tables import TABLES
from jaxopt_bench.data.tokens import WORDS
from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.experiment import NAMED_PARTS, Experiment
from jaxopt_bench.optimizers import OPTIMIZERS, ImportedOptimizer, Optimizer, load
from jaxopt_bench.optimizers.axes import rate_or_fallback
from jaxopt_bench.problems import PROBLEMS, Classification, Language, ProblemConfig, Regression
from jaxopt_bench.problems.choose import NETWORKS, choose_problem, input_kind_of
from jaxopt_bench.user_config import UserTable


def resolve_experiment(
    command: str, words: Sequence[str], given: Mapping[str, float] = types.MappingProxyType({})
) -> tuple[Experiment, list[str]]:
    """Returns the experiment after applying --problem, --optimizer, --model and --schedule, and the remaining
    arguments.

    Args:
      command: the command, for error messages.
      words: the arguments of the command.
      given: values of fields that the arguments do not set, by names such as "optimizer.learning_rate".

    Raises:
      UserError: if no experiment is given or a name is unknown.
    """
    if words and words[0] in ("-h", "--help"):
        words = ["digits_cnn_adamw", *words]
    if not words or words[0].startswith("-"):
        raise UserError(
            f"{command} needs an experiment as its first argument. Expected: {command} EXPERIMENT [flags]. "
            "`jaxopt-bench list experiments` prints the names of experiments."
        )
    named, rest = _values(("experiments", *NAMED_PARTS), words[1:])
    folder = named.pop("experiments", None)
    experiment = catalog.find(words[0], None if folder is None else pathlib.Path(folder))
    workload = experiment.workload
    other = named.pop("problem", None)
    if other is not None:
        problem = _on_data(_part("problem", PROBLEMS, other, rest, given), rest)
    else:
        problem = _on_data(workload.problem, rest, may_change=True)
    if other is not None or problem != workload.problem:
        experiment = dataclasses.replace(experiment, name=problem.title)
        workload = dataclasses.replace(workload, name=problem.title)
    problem, rest = _with_parts(problem, rest, given)
    replaced = {field: _part(field, Experiment.kinds[field], name, rest, given) for field, name in named.items()}
    if isinstance(optimizer := replaced.get("optimizer"), ImportedOptimizer):
        replaced = {"schedule": type(optimizer).user_schedule or experiment.schedule, **replaced}
    workload = dataclasses.replace(workload, problem=problem)
    return dataclasses.replace(experiment, workload=workload, **replaced), rest


def resolve_problem(words: Sequence[str]) -> tuple[ProblemConfig, list[str]]:
    """Returns the problem of --problem, or a problem on the data of --dataset, and the remaining arguments.

    Raises:
      UserError: if neither is given, or the problem is unknown.
    """
    named, rest = _values(("problem",), words)
    found, _ = _values(("dataset", "target"), rest)
    if "problem" in named:
        problem = _on_data(_part("problem", PROBLEMS, named["problem"], rest, {}), rest)
    elif found.get("dataset") and data.is_file_name(found["dataset"]) and found["dataset"] not in data.DATASETS:
        problem = choose_problem(found["dataset"], found.get("target"))
    elif "dataset" in found:
        problem = _of_named_data(found["dataset"])
    else:
        raise UserError("the problem is missing. Expected --problem NAME, or --dataset NAME or PATH.")
    return _with_parts(problem, rest, {})


def _of_named_data(name: str) -> ProblemConfig:
    """Returns the problem, with a small network, of a data set that comes with this program or is prepared for it."""
    if name in TABLES:
        return Regression(dataset=name)
    if name == WORDS:
        return Language()
    return Classification(dataset=name, model=NETWORKS[data.dataset(name).inputs])


def _with_parts(
    problem: ProblemConfig, words: Sequence[str], given: Mapping[str, float]
) -> tuple[ProblemConfig, list[str]]:
    """Returns a problem after applying flags for its parts, such as --model, and the remaining arguments."""
    kinds = type(problem).kinds
    parts, rest = _values(kinds, words)
    chosen = {field: _part(field, kinds[field], name, rest, given) for field, name in parts.items()}
    return dataclasses.replace(problem, **chosen), rest


def _on_data(problem: ProblemConfig, words: Sequence[str], may_change: bool = False) -> ProblemConfig:
    """Returns a problem on the user's data if --dataset names a file, with the target of --target.

    Args:
      problem: the problem.
      words: the arguments of the command.
      may_change: whether another kind of problem, or another network, may replace the problem if the data need it.

    Raises:
      UserError: if the data cannot be read.
    """
    found, _ = _values(("dataset", "target"), words)
    fields = {field.name for field in dataclasses.fields(problem)}
    if (
        {"-h", "--help"} & set(words)
        or not data.is_file_name(name := found.get("dataset", ""))
        or name in data.DATASETS
    ):
        return problem
    if not may_change:
        return dataclasses.replace(problem, **{field: value for field, value in found.items() if field in fields})
    suited = choose_problem(name, found.get("target"))
    model = getattr(problem, "model", None)
    if type(problem) is type(suited) and model is not None and input_kind_of(data.file_name(name)) in model.inputs:
        return dataclasses.replace(problem, **found)
    return suited


def with_field_names(words: Sequence[str]) -> list[str]:
    """Returns the arguments after renaming flags of a user's optimizer to the names of its fields.

    A function may call its learning rate `lr`; its flag `--optimizer.lr` then means `--optimizer.learning-rate`.
    """
    reference = _values(("optimizer",), words)[0].get("optimizer", "")
    if not user_code.is_reference(reference) or {"-h", "--help"} & set(words):
        return list(words)
    names = {name.replace("_", "-"): field for name, field in load(reference).arguments.items() if name != field}
    renamed = []
    for word in words:
        flag, equals, value = word.partition("=")
        part, _, name = flag.partition(".")
        field = names.get(name.replace("_", "-")) if part == "--optimizer" else None
        renamed.append(word if field is None else f"--optimizer.{field.replace('_', '-')}{equals}{value}")
    return renamed


def resolve_optimizer(name: str) -> Optimizer:
    """Returns an optimizer by its name in the table, or a user's function, for display only and not for training.

    Raises:
      UserError: if it is unknown, or the function cannot be imported.
    """
    return _part("optimizer", OPTIMIZERS, name, [], {}, placeholders=True)


def _part(
    field: str,
    table: ConfigTable[Any],
    name: str,
    words: Sequence[str],
    given: Mapping[str, float],
    placeholders: bool = False,
) -> Any:
    """Returns a part of an experiment by its name.

    If it is the user's code, the arguments of the command line set its arguments without defaults.

    Args:
      field: the kind of part, such as "optimizer" or "model".
      table: the table that contains the name.
      name: the name of an entry in the table, or a reference to the user's code.
      words: the arguments of the command line.
      given: values of fields that the arguments do not set, by names such as "optimizer.learning_rate".
      placeholders: whether missing values are replaced with placeholders, because only the fields of the part matter.
    """
    if not isinstance(table, UserTable) or not user_code.is_reference(name):
        return table[name]
    cls = table.users.load(name)
    hints = typing.get_type_hints(cls)
    required = {own.name: hints[own.name] for own in required_fields(cls)}
    found = {**given, **_values([f"{field}.{own}" for own in required], words)[0]}
    arguments: list[str] = []
    own_names = {own: argument for argument, own in getattr(cls, "arguments", {}).items()}
    for own, kind in required.items():
        key, flag = f"{field}.{own}", f"--{field}.{own.replace('_', '-')}"
        if key not in found and not placeholders and not {"-h", "--help"} & set(words):
            argument = own_names.get(own, own)
            own_flag = f"--{field}.{argument.replace('_', '-')}"
            raise UserError(f"{name} has the argument {argument!r} without a default. Expected {own_flag} VALUE.")
        arguments += [flag, str(found.get(key, _placeholder(own, kind)))]
    kind = Annotated[cls, tyro.conf.arg(name="" if field == "problem" else field)]  # as in an experiment
    flags = dataclasses.make_dataclass("Flags", [(field, kind)])
    return getattr(tyro.cli(flags, prog=f"jaxopt-bench … --{field} {name}", args=arguments), field)


def _placeholder(name: str, kind: Any) -> Any:
    """Returns a placeholder for an argument without a default, if only the fields of the optimizer matter."""
    if name == "learning_rate":
        return rate_or_fallback(None)
    arguments = [argument for argument in typing.get_args(kind) if argument not in (Ellipsis, type(None))]
    if typing.get_origin(kind) is Literal:
        return arguments[0]
    return arguments[0](1) if arguments else kind(1)  # for a tuple, or a type that allows None


def _values(fields: Iterable[str], words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Returns the values of some flags, by field, and the remaining arguments.

    Raises:
      UserError: if a flag has no value.
    """
    flags = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False, argument_default=argparse.SUPPRESS
    )
    for field in fields:
        flags.add_argument(*dict.fromkeys((f"--{field}", f"--{field.replace('_', '-')}")), dest=field)
    try:
        found, rest = flags.parse_known_args(words)
    except argparse.ArgumentError as error:
        flag = (error.argument_name or "").rpartition("/")[2]
        raise UserError(
            f"{flag} has no value. Expected: {flag} VALUE, or {flag}=VALUE if it begins with a minus."
        ) from error
    return vars(found), rest


def _last_written(run: pathlib.Path) -> float:
    """Returns the time at which a run wrote its metrics or its config.json, in seconds."""
    return max(path.stat().st_mtime for name in ("config.json", "metrics.jsonl") if (path := run / name).exists())


def find_run(name: str, runs_dir: pathlib.Path) -> pathlib.Path:
    """Returns the directory of a run: `name` itself, or the last run in the folder `name`.

    The last run is the one that wrote its config.json or its metrics last. `name` is looked up as a path first, and
    then in `runs_dir`.

    Args:
      name: the directory of a run or a folder of runs: a path, or a path in `runs_dir`, such as an experiment's name.
      runs_dir: the folder of all runs. It has a folder for each experiment.

    Raises:
      UserError: if there is neither.
    """
    for path in (pathlib.Path(name), runs_dir / name):
        if (path / "config.json").exists():
            return path
        runs = sorted((config.parent for config in path.glob("*/config.json")), key=_last_written)
        if runs:
            return runs[-1]
    known = sorted(path.name for path in runs_dir.glob("*") if path.is_dir())
    if not known or pathlib.Path(name).exists():
        raise UserError(
            f"{name!r} is not the directory of a run (it has no config.json). Expected: the directory of a run, or an "
            f"experiment with runs in {runs_dir}: {', '.join(known) or 'there are none'}."
        )
    raise unknown_name(f"run or experiment in the folder {runs_dir}", name, known)
