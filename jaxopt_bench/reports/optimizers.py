"""The table of all optimizers, and the table of one optimizer's hyperparameters, for a terminal."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from typing import Any

import docstring_parser
from rich import box
from rich.table import Table

from jaxopt_bench.optimizers import Axis, Choice, Optimizer
from jaxopt_bench.optimizers.axes import RATES_IN_WORDS

_OF_ALL = tuple(field.name for field in dataclasses.fields(Optimizer))

RULE = (
    f"Learning rates: {RATES_IN_WORDS} the default, for every optimizer. Weight decay: one range for coupled and one "
    "for decoupled decay."
)


def optimizers_table(optimizers: Mapping[str, Optimizer]) -> Table:
    """Returns a row for each optimizer: its default learning rate and its source."""
    table = Table(title="optimizers", box=box.SIMPLE, title_justify="left")
    table.add_column("name", no_wrap=True, overflow="fold")
    table.add_column("learning rate", justify="right")
    table.add_column("source")
    for name, optimizer in optimizers.items():
        table.add_row(name, f"{optimizer.learning_rate:g}", optimizer.source.partition(";")[0])
    return table


def hyperparameters_table(name: str, optimizer: Optimizer) -> Table:
    """Returns a row for each field of an optimizer: its default, its recommended search range, and its meaning."""
    table = Table(title=name, box=box.SIMPLE, title_justify="left")
    table.add_column("field", no_wrap=True)
    table.add_column("default", justify="right", overflow="fold")
    table.add_column("range", no_wrap=True)
    table.add_column("")
    searched, meanings = optimizer.search_space(), field_documentation(type(optimizer))
    axes = {**optimizer.axes(), **searched}
    ours = [field.name for field in dataclasses.fields(optimizer)]
    for field in sorted(ours, key=lambda field: field in _OF_ALL and field not in ("learning_rate", "weight_decay")):
        axis = axes.get(field)
        searches = f"{_span(axis)}{' ★' if field in searched else ''}" if axis else ""
        table.add_row(field, _format_default(getattr(optimizer, field)), searches, _sentence(meanings.get(field, "")))
    stated = ", as its file states" if optimizer.user_space else ""
    table.caption = f"★ searched by default{stated}   * logarithmic\n{RULE}"
    return table


def field_documentation(cls: type[Any]) -> dict[str, str]:
    """Returns the documentation of a dataclass's fields: docstrings below them in the source, and a class's `Args`."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("jaxopt_bench") and dataclasses.is_dataclass(base):
            found |= _below_the_fields(base)
            parsed = docstring_parser.parse(base.__doc__ or "", docstring_parser.DocstringStyle.GOOGLE)
            arguments = {p.arg_name: " ".join((p.description or "").split()) for p in parsed.params}
            found |= {name: text for name, text in arguments.items() if name not in _OF_ALL}
    return found


def _below_the_fields(cls: type[Any]) -> dict[str, str]:
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):  # the class was made from a signature
        return {}
    pairs = re.findall(r'^    (\w+): [^\n]*\n    """(.*?)"""', source, re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()) for name, text in pairs}


def _span(axis: Axis | Choice) -> str:
    if isinstance(axis, Choice):
        return str(axis)
    written = "1 − x: " if axis.scale == "log_one_minus" else ""
    return f"{written}{axis.low:g} … {axis.high:g}{'' if axis.scale == 'linear' else ' *'}"


def _sentence(text: str) -> str:
    """Returns the first sentence, without the markup of documentation tools."""
    return re.sub(r":\w+:`~?([^`]*)`|`+([^`]*)`+", r"\1\2", text).partition(". ")[0].rstrip(".")


def _format_default(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return " ".join(f"{item:g}" for item in value) if isinstance(value, tuple) else str(value)
