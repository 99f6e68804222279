"""The command line, `jaxopt-bench COMMAND …`: it parses, calls, prints and picks the exit code. A file a command."""

from __future__ import annotations

from jaxopt_bench.cli.entry import main, parse

__all__ = ["main", "parse"]
