"""`jaxopt-bench results`: runs as tables, on a terminal or in files."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import polars as pl
import tyro
from rich.console import Console

from jaxopt_bench.cli.command import COMPLETED, Command
from jaxopt_bench.cli.flags import bind
from jaxopt_bench.errors import UserError
from jaxopt_bench.files import replacing
from jaxopt_bench.reports import results_table
from jaxopt_bench.results import load


@dataclasses.dataclass(frozen=True)
class ResultsFlags:
    """Read runs back as a table: one row a run, every hyperparameter a column."""

    path: tyro.conf.Positional[pathlib.Path]
    """A run's directory, a study's folder, recorded results, or any folder of these."""
    sql: str | None = None
    """A query over the tables `runs` and `curves`, in place of all runs; names with a dot stand in double quotes."""
    csv: pathlib.Path | None = None
    """Write the table to this file, as CSV."""
    parquet: pathlib.Path | None = None
    """Write it to this file, as Parquet."""
    record: pathlib.Path | None = None
    """Record a study's results in this folder, without run directories, for reports and as --baselines."""
    rows: int = 40
    """Rows to print, at most."""


def parse(words: Sequence[str]) -> Command:
    """Returns the command that the words after `results` ask for."""
    return bind(results, ResultsFlags, "results", words)


def results(flags: ResultsFlags) -> int:
    """Prints the table, or writes it where the flags say."""
    for file in (flags.csv, flags.parquet):
        if file is not None and not file.parent.is_dir():
            raise UserError(f"{file.parent} is no folder; accepted: a file in a folder that is there.")
    found = load(flags.path)
    table = found.runs if flags.sql is None else found.sql(flags.sql)
    if flags.csv is not None:
        with replacing(flags.csv) as (csv, _):
            _flat(table).write_csv(csv)
    if flags.parquet is not None:
        with replacing(flags.parquet) as (parquet, _):
            table.write_parquet(parquet)
    if flags.record is not None:
        found.save(flags.record)
    if flags.csv is None and flags.parquet is None and flags.record is None:
        Console().print(results_table(table, most=flags.rows))
    return COMPLETED


def _flat(table: pl.DataFrame) -> pl.DataFrame:
    """Returns the table with lists as text, which is all that CSV can hold."""
    lists = [name for name, kind in table.schema.items() if isinstance(kind, pl.List)]
    texts = [pl.col(n).list.eval(pl.element().cast(pl.String)).list.join(" ").alias(n) for n in lists]
    return table.with_columns(texts)
