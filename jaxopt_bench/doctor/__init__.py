"""Checks if a backend computes training correctly, by comparison with float64 results in the package."""

from __future__ import annotations

from jaxopt_bench.doctor.advice import describe_low_precision, give_advice, plugins, suggest_alternatives
from jaxopt_bench.doctor.check import Error, Result, check
from jaxopt_bench.doctor.items import Item, make_items

__all__ = [
    "Error",
    "Item",
    "Result",
    "check",
    "describe_low_precision",
    "give_advice",
    "make_items",
    "plugins",
    "suggest_alternatives",
]
