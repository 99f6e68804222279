"""`jaxopt-bench doctor`: prints versions and devices, and checks whether this backend computes correctly."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from collections.abc import Sequence

from rich.console import Console

from jaxopt_bench.cli.command import COMPLETED, FAILED, Command
from jaxopt_bench.cli.flags import bind
from jaxopt_bench.doctor import (
    Result,
    check,
    describe_low_precision,
    give_advice,
    make_items,
    plugins,
    suggest_alternatives,
)
from jaxopt_bench.doctor.expected import load_expected
from jaxopt_bench.errors import UserError, in_one_line
from jaxopt_bench.models import Layers
from jaxopt_bench.reports.extra import PACKAGES
from jaxopt_bench.runs.compilation import keep_compiled_programs
from jaxopt_bench.runs.environment import environment
from jaxopt_bench.training import CodePath, choose_code_path, default_backend

EXTRAS = {"report": PACKAGES, "ray": ("ray",), "peers": ("torch",)}
"""The extras that this command looks for, each with its modules. Other extras are not listed in the output."""


@dataclasses.dataclass(frozen=True)
class DoctorFlags:
    """Check that this backend computes correct results for all parts of training: layers, gradients, augmentation,
    updates of optimizers, and the loss and gradient of a small problem of each kind.

    The functions are compiled as for training on this machine, and compared with stored float64 results. The exit code
    is 1 if any result is wrong.
    """

    deterministic: bool = False
    """Check the code path of `run --deterministic`."""
    plain: bool = False
    """Check the plainest code path, instead of the one that training would choose here."""


def parse(words: Sequence[str]) -> Command:
    """Returns the command for the arguments after `doctor`."""
    return bind(doctor, DoctorFlags, "doctor", words)


def doctor(flags: DoctorFlags) -> int:
    """Prints versions, devices, a line for each item, and advice about failed items; returns the exit code."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    try:
        backend = default_backend()
    except UserError as error:
        console.print(f"FAILED: {error}")
        _print_lines(suggest_alternatives("none"), console)
        return FAILED
    keep_compiled_programs()
    path = (
        CodePath(deterministic=flags.deterministic) if flags.plain else choose_code_path(backend, flags.deterministic)
    )
    _print_environment(path, console)
    results, expected = [], load_expected()
    for item in make_items(Layers(path=path.layers)):
        console.print(f"  {item.name:26}", end="")  # printed first, to show which item crashed
        result = check(item, expected[item.name], path)
        _print_result(result, console)
        results.append(result)
    failed = sum(not result.passed for result in results)
    seconds = sum(result.seconds for result in results)
    console.print(f"\n{f'{failed} of {len(results)} FAILED' if failed else f'all {len(results)} ok'}, {seconds:.1f} s")
    _print_lines([*give_advice(results, backend, path), *filter(None, [describe_low_precision(results)])], console)
    return FAILED if failed else COMPLETED


def _print_environment(path: CodePath, console: Console) -> None:
    facts = environment(path)
    packages = {"Python": facts["python"], **facts["packages"], **plugins()}
    console.print(", ".join(f"{name} {version}" for name, version in packages.items() if version))
    kinds = {kind: facts["devices"].count(kind) for kind in facts["devices"]}
    devices = ", ".join(f"{count} × {kind}" for kind, count in kinds.items())
    console.print(f"{facts['backend']}: {devices}; {facts['threads']} threads")
    console.print(f"code path: {', '.join(f'{name} {value}' for name, value in path.to_json().items())}")
    extras = [name for name, modules in EXTRAS.items() if all(map(importlib.util.find_spec, modules))]
    console.print(f"extras: {', '.join(extras) or 'none'}\n")


def _print_result(result: Result, console: Console) -> None:
    word = "ok" if result.passed else "FAILED"
    share = result.error.size / result.tolerance if result.error else math.nan
    error = f"error {share:{'.2g' if share < 10 else ',.0f'}} of tolerance" if result.error else ""
    console.print(f"{word:8}{error:28}{result.seconds:5.1f} s")
    if result.raised is not None:
        console.print(f"      {in_one_line(result.raised)}")
    elif not result.passed and result.error is not None:
        size, where, got, expected = result.error
        console.print(
            f"      {where} is {got:.7g}, but the stored result is {expected:.7g}. The difference is {size:.2g} times "
            f"the largest stored value. Expected at most {result.tolerance:.2g}."
        )


def _print_lines(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(f"* {line}")
