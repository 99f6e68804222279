"""Texts that describe schedules, and the parts of a network that inner rules update."""

from __future__ import annotations

from collections.abc import Sequence

from jaxopt_bench.formatting import format_percent, format_value, join_words
from jaxopt_bench.optimizers.partitions import ParameterGroup
from jaxopt_bench.optimizers.schedules import SCHEDULES, Schedule


def describe_schedule(schedule: Schedule) -> str:
    """Returns a schedule's name, and its fields that differ from the defaults."""
    name = SCHEDULES.name_of(schedule)
    default = SCHEDULES[name].to_json()
    changed = [f"{field} {format_value(v)}" for field, v in schedule.to_json().items() if v != default.get(field)]
    return f"{name} ({', '.join(changed)})" if changed else name


def describe_rules(rules: Sequence[ParameterGroup]) -> str:
    """Returns which inner rules of an optimizer update which parts of a network, the largest part first."""
    ordered = sorted(rules, key=lambda rule: -rule.share)
    return join_words([f"{rule.name} on {describe_parameter_group(rule)}" for rule in ordered]) if ordered else ""


def describe_parameter_group(group: ParameterGroup) -> str:
    """Returns the size of a part of a network: the number of its arrays, and its share of all numbers."""
    return f"{group.arrays} of {group.of_arrays} parameter arrays ({format_percent(group.share)} of the numbers)"
