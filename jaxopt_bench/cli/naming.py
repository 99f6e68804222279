"""What names on the command line stand for: experiments with parts of them replaced, optimizers, runs."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import tyro

from jaxopt_bench import catalog
from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.optimizers import OPTIMIZERS, Imported, Optimizer, load
from jaxopt_bench.optimizers.axes import rate_or_fallback
from jaxopt_bench.problems import PROBLEMS


def named_experiment(
    command: str, words: Sequence[str], given: Mapping[str, float] = types.MappingProxyType({})
) -> tuple[Experiment, list[str]]:
    """Returns the experiment with what names put in its place as defaults, and the words left for tyro to parse.

    Args:
      command: which is parsed.
      words: of the command line.
      given: values of fields that the words do not name, as "optimizer.learning_rate".

    Raises:
      UserError: where none is named, or there is none of a name.
    """
    if words and words[0] in ("-h", "--help"):
        words = ["digits_cnn_adamw", *words]
    if not words or words[0].startswith("-"):
        raise UserError(
            f"{command}: the experiment comes first; accepted: {command} EXPERIMENT [flags]; `jaxopt-bench list` names "
            "them."
        )
    named, rest = _values(("experiments", *Experiment.kinds), words[1:])
    folder = named.pop("experiments", None)
    experiment = catalog.find(words[0], None if folder is None else pathlib.Path(folder))
    if "problem" in named:
        experiment = dataclasses.replace(experiment, problem=PROBLEMS[named.pop("problem")])
    problem = experiment.problem
    parts, rest = _values(type(problem).kinds, rest)  # such as --model
    if parts:
        chosen = {field: type(problem).kinds[field][name] for field, name in parts.items()}
        experiment = dataclasses.replace(experiment, problem=dataclasses.replace(problem, **chosen))
    replaced = {field: Experiment.kinds[field][name] for field, name in named.items() if not _is_users(field, name)}
    if _is_users("optimizer", named.get("optimizer", "")):
        optimizer = _users_optimizer(named["optimizer"], rest, given)
        stated = type(optimizer).stated_schedule
        replaced = {"schedule": stated or experiment.schedule, "optimizer": optimizer, **replaced}
    return dataclasses.replace(experiment, **replaced), rest


def with_field_names(words: Sequence[str]) -> list[str]:
    """Returns the words with the flags of a user's optimizer under the names of its fields.

    A function may call its learning rate `lr`; its flag `--optimizer.lr` then means `--optimizer.learning-rate`.
    """
    reference = _values(("optimizer",), words)[0].get("optimizer", "")
    if not _is_users("optimizer", reference) or {"-h", "--help"} & set(words):
        return list(words)
    names = {name.replace("_", "-"): field for name, field in load(reference).arguments.items() if name != field}
    renamed = []
    for word in words:
        flag, equals, value = word.partition("=")
        part, _, name = flag.partition(".")
        field = names.get(name.replace("_", "-")) if part == "--optimizer" else None
        renamed.append(word if field is None else f"--optimizer.{field.replace('_', '-')}{equals}{value}")
    return renamed


def named_optimizer(name: str) -> Optimizer:
    """Returns an optimizer by its name in the table, or of a user's function, to be looked at rather than trained with.

    Raises:
      UserError: where there is none, or the function cannot be imported.
    """
    return _users_optimizer(name, [], {}, placeholders=True) if ":" in name else OPTIMIZERS[name]


def _users_optimizer(
    reference: str, words: Sequence[str], given: Mapping[str, float], placeholders: bool = False
) -> Imported:
    """Returns the optimizer of a user's function, its arguments without default taken from the words that set them.

    Args:
      reference: to the function.
      words: of the command line.
      given: values of fields that the words do not name, as "optimizer.learning_rate".
      placeholders: whether values of ours stand for what is not given, where only its fields are of interest.
    """
    cls = load(reference)
    missing = [field for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING]
    required: dict[str, Any] = {field.name: field.type for field in missing}
    found = {**given, **_values([f"optimizer.{name}" for name in required], words)[0]}
    arguments: list[str] = []
    own_names = {field: name for name, field in cls.arguments.items()}
    for name, kind in required.items():
        field, flag = f"optimizer.{name}", f"--optimizer.{name.replace('_', '-')}"
        if field not in found and not placeholders and not {"-h", "--help"} & set(words):
            own = own_names[name]
            own_flag = f"--optimizer.{own.replace('_', '-')}"
            raise UserError(f"{reference} has the argument {own!r} without a default. Expected {own_flag} VALUE.")
        arguments += [flag, str(found.get(field, _placeholder(name, kind)))]
    flags = dataclasses.make_dataclass("Flags", [("optimizer", cls)])  # for the flags' names in messages
    return tyro.cli(flags, prog=f"jaxopt-bench … --optimizer {reference}", args=arguments).optimizer


def _placeholder(name: str, kind: Any) -> Any:
    """Returns what stands for an argument without a default where only the optimizer's fields are of interest."""
    if name == "learning_rate":
        return rate_or_fallback(None)
    return typing.get_args(kind)[0] if typing.get_origin(kind) is Literal else kind(1)


def _values(fields: Iterable[str], words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Returns what the words set of some fields, and the other words.

    Raises:
      UserError: for a flag without a value.
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
            f"{flag} has no value; accepted: {flag} VALUE, or {flag}=VALUE where it begins with a minus."
        ) from error
    return vars(found), rest


def _is_users(field: str, name: str) -> bool:
    return field == "optimizer" and ":" in name


def find_run(name: str, runs_dir: pathlib.Path) -> pathlib.Path:
    """Returns a run's directory by its path, or the one of an experiment that was begun or continued last.

    Args:
      name: a run's directory, in `runs_dir` or anywhere, or an experiment's name.
      runs_dir: the folder of all runs.

    Raises:
      UserError: where there is neither.
    """
    for path in (pathlib.Path(name), runs_dir / name):
        if (path / "config.json").exists():
            return path
        runs = sorted(path.glob("*/config.json"), key=lambda config: config.stat().st_mtime)
        if runs:
            return runs[-1].parent
    known = sorted(path.name for path in runs_dir.glob("*") if path.is_dir())
    if not known or pathlib.Path(name).exists():
        raise UserError(
            f"{name!r} is no run's directory (it holds no config.json); accepted: a run's directory, or an experiment "
            f"with runs in {runs_dir}: {', '.join(known) or 'there are none'}."
        )
    raise unknown_name(f"run, neither a run's directory nor an experiment with runs in {runs_dir},", name, known)
