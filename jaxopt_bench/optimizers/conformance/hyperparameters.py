"""Measures the effect of each hyperparameter that is a number, and whether the optimizer follows the schedule."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers.base import Optimizer
from jaxopt_bench.optimizers.conformance.comparison import CLOSE, ratios_at, same_bits
from jaxopt_bench.optimizers.conformance.facts import LearningRateFacts
from jaxopt_bench.optimizers.conformance.laboratory import Laboratory
from jaxopt_bench.optimizers.factories import FactoryOptimizer


def measure_hyperparameters(laboratory: Laboratory) -> tuple[dict[str, int], tuple[str, ...], tuple[str, ...]]:
    """Measures the effect of each hyperparameter that is a number.

    Returns:
      Three values: for each number that doubles first updates, the number of arrays in which it does so; the numbers
      that need a program for each value; the numbers that change no update.
    """
    optimizer, base = laboratory.optimizer, laboratory.base
    large = [i for i, params in enumerate(laboratory.params) if params.size > 1]
    doubles: dict[str, int] = {}
    static, unused = [], []
    arrays = optimizer.hyperparameters()
    common = {f.name for f in dataclasses.fields(Optimizer)} - {"learning_rate", "weight_decay"}
    for field in (f.name for f in dataclasses.fields(optimizer)):
        value = getattr(optimizer, field)
        if field not in arrays and not (isinstance(value, float) and field not in common):
            continue
        programs, changes = laboratory.programs, False
        for other in _others(optimizer, field):
            found = laboratory.run(other)
            changes |= not same_bits(base, found)
            if getattr(other, field) == _times(value, 2) != value:
                ratios = ratios_at(found, base, laboratory.first)
                several = [ratio for i, ratio in enumerate(ratios) if i in large and ratio is not None]
                count = sum(abs(ratio - 2) < 2 * CLOSE for ratio in several)
                doubles |= {field: count} if count else {}
            if laboratory.programs > programs:
                static.append(field)
            if changes:
                break
        if not changes:
            unused.append(field)
    return doubles, tuple(static), tuple(unused)


def _others(optimizer: Optimizer, field: str) -> list[Optimizer]:
    """Returns the optimizer with other values of a field, which lie within its bounds and its usual range."""
    value = getattr(optimizer, field)
    usual = next(f.metadata.get("usual") for f in dataclasses.fields(optimizer) if f.name == field)
    found = []
    for other in (_times(value, 2), _times(value, 0.5), *(() if isinstance(value, tuple) else (0.1, 1e-3))):
        numbers = other if isinstance(other, tuple) else (other,)
        if other != value and (usual is None or all(number in usual for number in numbers)):
            try:
                found.append(dataclasses.replace(optimizer, **{field: other}))
            except UserError:
                continue
    return found


def _times(value: Any, factor: float) -> Any:
    return tuple(factor * item for item in value) if isinstance(value, tuple) else factor * value


def measure_learning_rate(laboratory: Laboratory, doubles: Mapping[str, int]) -> LearningRateFacts:
    """Returns which hyperparameter is the learning rate, and whether the optimizer follows a schedule of it.

    Args:
      laboratory: the laboratory of the optimizer.
      doubles: how many arrays have twice the first update if a number is doubled; see `measure_hyperparameters`.
    """
    optimizer, base, names = laboratory.optimizer, laboratory.base, laboratory.names
    argument: str | None = "learning_rate"
    if isinstance(optimizer, FactoryOptimizer):
        argument = next((name for name, field in optimizer.arguments.items() if field == "learning_rate"), None)
    change = min(laboratory.first + 2, laboratory.steps - 1)
    first = ratios_at(laboratory.run(multipliers=0.5), base, laboratory.first)
    later = ratios_at(laboratory.run(multipliers={change: 0.5}), base, change)
    return LearningRateFacts(
        argument=argument,
        value=optimizer.learning_rate,
        doubles=doubles,
        first_step={name: ratio for name, ratio in zip(names, first, strict=True) if ratio is not None},
        later_step={name: ratio for name, ratio in zip(names, later, strict=True) if ratio is not None},
    )
