"""Whether a backend computes what training needs, held against float64 results that come with the package."""

from __future__ import annotations

from jaxopt_bench.doctor.advice import advice, elsewhere, note, plugins
from jaxopt_bench.doctor.check import Error, Result, check
from jaxopt_bench.doctor.items import Item, make_items

__all__ = ["Error", "Item", "Result", "advice", "check", "elsewhere", "make_items", "note", "plugins"]
