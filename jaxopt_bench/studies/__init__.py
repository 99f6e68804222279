"""Many runs under one protocol."""

from __future__ import annotations

from jaxopt_bench.studies.sweep import Range, grid, parse_range

__all__ = ["Range", "grid", "parse_range"]
