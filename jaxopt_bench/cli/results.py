"""`jaxopt-bench results`: runs as tables, on a terminal or in files."""

from __future__ import annotations

import dataclasses
import io
import os
import pathlib
import sys
from collections.abc import Sequence

import polars as pl
import tyro
from rich.console import Console

from jaxopt_bench.cli.command import COMPLETED, Command
from jaxopt_bench.cli.flags import bind
from jaxopt_bench.cli.streams import STANDARD_OUTPUT, check_output_file, write_output
from jaxopt_bench.errors import UserError
from jaxopt_bench.reports import results_table
from jaxopt_bench.reports.tables import csv_text
from jaxopt_bench.results import incomplete_in_words, load, repeats_in_words, without_repeats

WIDEST = 1_000_000
"""Characters of a line that no table has."""


@dataclasses.dataclass(frozen=True)
class ResultsFlags:
    """Read runs back as a table: one row a run, every hyperparameter a column."""

    path: tyro.conf.Positional[pathlib.Path]
    """A run's directory, a study's folder, recorded results, or any folder of these."""
    sql: str | None = None
    """A query over the tables `runs` and `curves`, in place of all runs; names with a dot stand in double quotes."""
    csv: pathlib.Path | None = None
    """Write the table to this file, as CSV; - is standard output."""
    parquet: pathlib.Path | None = None
    """Write it to this file, as Parquet; - is standard output."""
    record: pathlib.Path | None = None
    """Record a study's results in this folder, without run directories, for reports and as --baselines."""
    compact: bool = False
    """With --record: leave out the results of single test examples; and of a study's trials and finalists, the lines
    before the last epoch of all splits but the one by which trials are judged."""
    rows: int = 40
    """Rows to print, at most."""


def parse(words: Sequence[str]) -> Command:
    """Returns the command that the words after `results` ask for."""
    return bind(results, ResultsFlags, "results", words)


def results(flags: ResultsFlags) -> int:
    """Prints the table, or writes it where the flags say."""
    files = [file for file in (flags.csv, flags.parquet) if file is not None]
    for file in files:
        check_output_file(file)
    if files.count(STANDARD_OUTPUT) > 1:
        raise UserError("--csv and --parquet are both -, standard output. Expected at most one of them.")
    if flags.parquet == STANDARD_OUTPUT and sys.stdout.isatty():
        raise UserError("--parquet is -, and standard output is a terminal. Expected a file or a pipe.")
    found, repeats = without_repeats(load(flags.path))
    if repeats:
        print(f"{repeats_in_words(repeats)} left out", file=sys.stderr)
    if (said := incomplete_in_words(found)) is not None:
        print(said, file=sys.stderr)
    table = found.runs if flags.sql is None else found.sql(flags.sql)
    if flags.csv is not None:
        write_output(flags.csv, csv_text(table).encode())
    if flags.parquet is not None:
        parquet = io.BytesIO()  # Parquet cannot be written to a pipe directly
        table.write_parquet(parquet)
        write_output(flags.parquet, parquet.getvalue())
    if flags.record is not None:
        found.save(flags.record, compact=flags.compact)
    if not files and flags.record is None:
        _print(table if flags.sql is not None else table.drop("metrics"), flags.rows)  # a long JSON text
    return COMPLETED


def _print(table: pl.DataFrame, rows: int) -> None:
    """Prints a table: as far as it fits a terminal, and with all of its columns and texts into a pipe or a file."""
    console = Console()
    if console.is_terminal or "COLUMNS" in os.environ:
        console.print(results_table(table, most=rows))
    else:
        Console(width=WIDEST).print(results_table(table, most=rows, longest=None))
