"""Formats values for people: durations, hyperparameters, percentages, names of fields, lists."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence


def format_duration(seconds: float) -> str:
    """Returns a duration in its one or two most significant units."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{seconds / 86400:.1f} days"


def format_bytes(count: float) -> str:
    """Returns a number of bytes in the largest unit with a value of at least one, with two significant digits."""
    units = ("bytes", "kB", "MB", "GB", "TB")
    power = next(i for i in reversed(range(len(units))) if count >= 0.995 * 1000**i or i == 0)
    amount = count / 1000**power
    return (
        f"{amount:.1f} {units[power]}" if amount < 9.95 and power else f"{float(f'{amount:.2g}'):,.0f} {units[power]}"
    )


def format_value(value: object) -> str:
    """Returns a hyperparameter's value as text: floats with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_percent(share: float) -> str:
    """Returns a share in percent. A small share is not rounded to 0%, and a large one is not rounded to 100%."""
    if 0 < share < 0.0005:
        return "less than 0.1%"
    if 0.9995 < share < 1:
        return "more than 99.9%"
    return f"{100 * share:.1f}".removesuffix(".0") + "%"


def format_count(count: float, noun: str) -> str:
    """Returns a number with its noun, which gets an s unless the number is one: "1 epoch", "2 CPUs", "0.5 CPUs"."""
    return f"{count:,.15g} {noun}{'s' * (count != 1)}"


def short_names(fields: Iterable[str]) -> dict[str, str]:
    """Returns a short name for each field: its last part, or the whole name if two fields have the same last part."""
    lasts = {field: field.rpartition(".")[2] for field in fields}
    count = collections.Counter(lasts.values())
    return {field: last if count[last] == 1 else field for field, last in lasts.items()}


def join_words(items: Sequence[str]) -> str:
    """Returns items as a list in a sentence: "a", "a and b" or "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def capitalise(words: str) -> str:
    """Returns words with a capital first letter; all other letters stay unchanged, as in "R²" or "NaN"."""
    return words[:1].upper() + words[1:]
