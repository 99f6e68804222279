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

from jaxopt_bench.cli.answer import check_reference, print_suite, study_document
from jaxopt_bench.cli.command import COMPLETED, Command
from jaxopt_bench.cli.flags import bind
from jaxopt_bench.cli.streams import STANDARD_OUTPUT, check_output_file, write_output
from jaxopt_bench.errors import UserError
from jaxopt_bench.formatting import join_words
from jaxopt_bench.reports import ResultsTable
from jaxopt_bench.reports.table import csv_text
from jaxopt_bench.results import Results, describe_missing_results, describe_repeats, drop_repeated_runs, load
from jaxopt_bench.strict_json import json_text
from jaxopt_bench.verdict import compute_suite_verdict, verdict, verdict_to_json

_FILES = ("--csv", "--parquet", "--json")
WIDEST = 1_000_000
"""The width of output to a pipe or a file, in characters; no table is this wide."""


@dataclasses.dataclass(frozen=True)
class ResultsFlags:
    """Read runs back as a table: one row for each run, one column for each hyperparameter."""

    path: tyro.conf.Positional[pathlib.Path]
    """The directory of a run, the folder of a study, recorded results, or any folder of these."""
    sql: str | None = None
    """An SQL query over the tables `runs` and `curves`, instead of all runs; names with a dot need double quotes."""
    csv: pathlib.Path | None = None
    """Write the table to this file, as CSV; - is standard output."""
    parquet: pathlib.Path | None = None
    """Write the table to this file, as Parquet; - is standard output."""
    json: pathlib.Path | None = None
    """Write the answer of the study in the folder to this file, as JSON; - is standard output.
    `jaxopt_bench/verdict/export.py` describes its fields."""
    reference: str | None = None
    """The optimizer to compare the others with over several workloads of a study; adamw by default, if the study has
    it."""
    record: pathlib.Path | None = None
    """Record a study's results in this folder, without run directories, for reports and as --baselines."""
    compact: bool = False
    """With --record: leave out the results of single test examples. For trials and finalists of a study, also leave out
    the lines before the last epoch of all splits except the one that judges trials."""
    rows: int = 40
    """Maximum number of rows to print."""


def parse(words: Sequence[str]) -> Command:
    """Returns the command for the arguments after `results`."""
    return bind(results, ResultsFlags, "results", words)


def results(flags: ResultsFlags) -> int:
    """Prints the table, or writes it to the files of the flags."""
    files = {flag: file for flag in _FILES if (file := getattr(flags, flag.removeprefix("--"))) is not None}
    for file in files.values():
        check_output_file(file)
    if flags.compact and flags.record is None:
        raise UserError("--compact needs a record to write. Expected --record FOLDER, too.")
    printed = [flag for flag, file in files.items() if file == STANDARD_OUTPUT]
    if len(printed) > 1:
        every = "both" if len(printed) == 2 else "all"
        raise UserError(f"{join_words(printed)} are {every} -, standard output. Expected at most one of them.")
    if flags.parquet == STANDARD_OUTPUT and sys.stdout.isatty():
        raise UserError("--parquet is -, and standard output is a terminal. Expected a file or a pipe.")
    found, repeats = drop_repeated_runs(load(flags.path))
    if repeats:
        print(f"{describe_repeats(repeats)} left out", file=sys.stderr)
    if (said := describe_missing_results(found)) is not None:
        print(said, file=sys.stderr)
    table = found.runs if flags.sql is None else found.sql(flags.sql)
    if flags.csv is not None:
        write_output(flags.csv, csv_text(table).encode())
    if flags.parquet is not None:
        parquet = io.BytesIO()  # Parquet cannot be written to a pipe directly
        table.write_parquet(parquet)
        write_output(flags.parquet, parquet.getvalue())
    if flags.json is not None:
        _write_json(found, flags, flags.json)
    if flags.record is not None:
        found.save(flags.record, compact=flags.compact)
    if not files and flags.record is None:
        if flags.sql is not None:
            _print(table, flags.rows, folds=False)  # the query asked for all these columns
        else:
            _print(table.drop("metrics"), flags.rows, folds=True)  # a long JSON text
            _print_suite(found, flags.reference)
    return COMPLETED


def _write_json(found: Results, flags: ResultsFlags, file: pathlib.Path) -> None:
    """Writes the answer of a study as JSON."""
    document = study_document(found, flags.path, "--json")
    check_reference("--reference", flags.reference, [c.name for c in document.study.contenders])
    answer = verdict(found, document)
    suite = compute_suite_verdict(found, document, answer, flags.reference)
    write_output(file, json_text(verdict_to_json(found, document, answer, suite, flags.reference)).encode())


def _print_suite(found: Results, reference: str | None) -> None:
    """Prints the answer of a study over all its workloads, if it has several."""
    if len(found.documents) != 1:
        return
    (document,) = found.documents
    check_reference("--reference", reference, [c.name for c in document.study.contenders])
    if len(document.study.workloads) < 2:
        return
    suite = compute_suite_verdict(found, document, verdict(found, document), reference)
    if suite is not None:
        print_suite(suite, Console(), reference)


def _print(table: pl.DataFrame, rows: int, *, folds: bool) -> None:
    """Prints a table: the columns that fit on a terminal, or all columns and full texts to a pipe or a file."""
    console = Console()
    if console.is_terminal or "COLUMNS" in os.environ:
        console.print(ResultsTable(table, most=rows, folds=folds))
    else:
        Console(width=WIDEST).print(ResultsTable(table, most=rows, longest=None, folds=folds))
