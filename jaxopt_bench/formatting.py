"""Values as people read them, wherever they are shown: durations, hyperparameters, names of fields."""

from __future__ import annotations

import collections
from collections.abc import Iterable


def format_duration(seconds: float) -> str:
    """Returns a duration in the two largest units that matter."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{seconds / 86400:.1f} days"


def format_value(value: object) -> str:
    """Returns a hyperparameter's value: floats with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def short_names(fields: Iterable[str]) -> dict[str, str]:
    """Returns what each field is called where it stands beside the others: its last part, or all where two share it."""
    lasts = {field: field.rpartition(".")[2] for field in fields}
    count = collections.Counter(lasts.values())
    return {field: last if count[last] == 1 else field for field, last in lasts.items()}
