"""The command line, `jaxopt-bench COMMAND …`: parses arguments, calls functions, prints, and sets the exit code.

Each command has its own file."""

from __future__ import annotations

from jaxopt_bench.cli.entry import main, parse

__all__ = ["main", "parse"]
