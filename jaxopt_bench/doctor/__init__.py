"""Checks if a backend computes training correctly, by comparison with float64 results in the package."""

from __future__ import annotations

from jaxopt_bench.doctor.advice import advice, elsewhere, note, plugins
from jaxopt_bench.doctor.check import Error, Result, check
from jaxopt_bench.doctor.items import Item, make_items

__all__ = ["Error", "Item", "Result", "advice", "check", "elsewhere", "make_items", "note", "plugins"]
