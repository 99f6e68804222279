"""Reads runs, studies and recorded results from disk. Reading them runs no code of the runs."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Literal

import polars as pl

from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.files import open_regular
from jaxopt_bench.results.atomic_files import current_path, pending_names
from jaxopt_bench.results.columns import (
    STUDY_COLUMNS,
    Types,
    curve_types,
    is_result_column,
    metric_columns,
    run_types,
    with_paths,
)
from jaxopt_bench.results.examples import EXAMPLE_TYPES, check_examples, examples_table
from jaxopt_bench.results.metrics import metric_names
from jaxopt_bench.results.rows import check_agreement, curves_table, runs_table
from jaxopt_bench.results.tables import CURVES, EXAMPLES, RUNS, Results, combine_results
from jaxopt_bench.runs.load import RUN_FOLDER, check_complete, is_begun
from jaxopt_bench.study import DOCUMENT, Document, StudyRun, check_within, read_document

FolderKind = Literal["recorded", "study", "run"]
_KINDS: Mapping[str, FolderKind] = {RUNS: "recorded", DOCUMENT: "study", "config.json": "run"}
"""The kind of a folder, by a file in it; the first file of the table that exists determines the kind."""

_EXPECTED = "Expected a run's directory, a study's folder, or a folder of these."
_NO_RUNS = re.compile(r"claims|checkpoints|\..*|population-.*|.*\.incomplete-\d+", re.DOTALL)
"""Folders that are not searched for runs: they hold many other files, or the remains of a run."""


class NoRunsError(UserError):
    """A folder contains no runs."""


def load(path: str | pathlib.Path) -> Results:
    """Reads a run's directory, a study's folder, results recorded without their run directories, or a folder of these.

    In a study's folder, it reads the runs that `study.json` names.

    Args:
      path: the folder. Symbolic links to folders in it are not followed.

    Raises:
      NoRunsError: if the folder contains none of these.
      UserError: if it is not a folder, or a file is damaged.
    """
    path = pathlib.Path(path)
    if not os.path.isdir(path):  # `path.is_dir` would raise an exception, for example for a name that is too long
        raise UserError(f"{shortened(str(path))} is not a folder. {_EXPECTED}")
    found = list(_found(path))
    if not found:
        raise NoRunsError(f"{path} holds no runs. {_EXPECTED}")
    runs: dict[pathlib.Path, StudyRun | None] = {}
    documents, recorded = [], []
    for kind, folder in found:
        if kind == "recorded":
            recorded.append(_load_recorded(folder))
        elif kind == "run":
            runs[folder] = None
        else:
            documents.append(read_document(folder / DOCUMENT))
            runs |= {folder / run.entry.path: run for run in documents[-1].study_runs()}
    found_in = [folder.parent if kind == "run" else folder for kind, folder in found]
    everything = combine_results([load_runs(runs), *recorded])
    return dataclasses.replace(
        everything, documents=(*documents, *everything.documents), folder=os.path.commonpath(found_in) or "."
    )


def load_runs(runs: Mapping[pathlib.Path, StudyRun | None]) -> Results:
    """Reads those runs that were started.

    Args:
      runs: the description of each run by its study, by the run's directory; None for a run that belongs to no study.

    Raises:
      UserError: if a file is damaged.
    """
    begun = {path: run for path, run in runs.items() if is_begun(path)}
    table = runs_table(begun)
    curves = curves_table(dict(zip(begun, map(metric_names, table["metrics"]), strict=True)))
    check_agreement(table, curves)
    examples = examples_table(dict(zip(begun, table["metrics"], strict=True)))
    check_examples(table, examples)
    return Results(table, curves, examples=examples)


def _found(path: pathlib.Path) -> Iterator[tuple[FolderKind, pathlib.Path]]:
    """Yields the folders that can be read, ordered by path. Folders inside one of these belong to it."""
    for folder, inside, files in os.walk(path):
        names = [*files, *pending_names(folder)]
        kind = next((kind for name, kind in _KINDS.items() if name in names), None)
        if kind is None and "summary.json" in files and RUN_FOLDER.fullmatch(os.path.basename(os.path.abspath(folder))):
            check_complete(pathlib.Path(folder))
        if kind is not None:
            yield kind, pathlib.Path(folder)
        others = [name for name in inside if not _NO_RUNS.fullmatch(name)]
        inside[:] = [] if kind else sorted(others)


def _load_recorded(folder: pathlib.Path) -> Results:
    runs = _read_table(current_path(folder, RUNS), run_types())
    curves = _read_table(current_path(folder, CURVES), curve_types())
    _check_metrics(folder, runs, curves)
    paths = {path: str(folder / path) for path in runs["path"]}
    for path in paths:
        check_within(folder / RUNS, path)
    if len(paths) < len(runs) or not paths.keys() >= set(curves["path"].unique()):
        raise UserError(f"{folder} is damaged: {CURVES} has lines of runs that {RUNS} does not have, or has twice.")
    document_file = current_path(folder, DOCUMENT)
    documents = (read_document(document_file),) if document_file.exists() else ()
    for document in documents:
        _check_planned(folder, runs, document)
    found = Results(
        with_paths(runs, paths),
        with_paths(curves, paths),
        documents,
        examples=with_paths(_recorded_examples(folder, paths), paths),
    )
    check_agreement(found.runs, found.curves)
    check_examples(found.runs, found.examples)
    return found


def _recorded_examples(folder: pathlib.Path, paths: Mapping[str, str]) -> pl.DataFrame:
    """Returns the recorded results for single test examples; an empty table if none were recorded."""
    path = current_path(folder, EXAMPLES)
    if not path.exists():
        return pl.DataFrame(schema=dict(EXAMPLE_TYPES))
    examples = _read_table(path, EXAMPLE_TYPES)
    if not paths.keys() >= set(examples["path"].unique()) or any(column.has_nulls() for column in examples):
        raise UserError(f"{path} is damaged: it has rows of runs that {RUNS} does not have, or incomplete rows.")
    return examples


def _check_metrics(folder: pathlib.Path, runs: pl.DataFrame, curves: pl.DataFrame) -> None:
    """Checks that recorded runs have names of metrics, and that the values of the metrics are numbers."""
    if runs["metrics"].has_nulls():
        raise UserError(
            f"{folder / RUNS} does not say which metrics the runs have: the column metrics is missing or incomplete. "
            "Expected results recorded by this version of jaxopt-bench."
        )
    for text in runs["metrics"].unique(maintain_order=True):
        metric_names(text, f"{folder / RUNS}: metrics")
    reached = {name: runs.schema[name] for name in runs.columns if is_result_column(name) and name not in run_types()}
    measured = {name: curves.schema[name] for name in metric_columns(curves.columns)}
    for file, columns in ((RUNS, reached), (CURVES, measured)):
        for name, kind in columns.items():
            if kind != pl.Float64:
                raise UserError(f"{folder / file} is damaged: the column {name} has the type {kind}. Expected Float64.")


def _check_planned(folder: pathlib.Path, runs: pl.DataFrame, document: Document) -> None:
    """Checks that recorded runs belong to the study that was recorded with them."""
    planned = {run.entry.path: {**run.identity, **run.columns} for run in document.study_runs()}
    columns = [n for n in ("name", "seed", "digest", *STUDY_COLUMNS) if runs[n].count()]  # old versions lack some
    for row in runs.select("path", *columns).iter_rows(named=True):
        expected = planned.get(row["path"])
        if expected is None:
            raise UserError(
                f"{folder / RUNS} has the run {shortened(row['path'])}, which {DOCUMENT} beside it does not name. "
                "Expected files that were recorded together."
            )
        for name in columns:
            if row[name] != expected[name]:
                raise UserError(
                    f"{folder / RUNS} is of another study than {DOCUMENT} beside it: {name} of the run "
                    f"{shortened(row['path'])} is {shortened(row[name])}. Expected {shortened(expected[name])}, as "
                    f"{DOCUMENT} says."
                )


def _read_table(path: pathlib.Path, types: Types) -> pl.DataFrame:
    """Reads a recorded table, and adds the columns that the version of this program that wrote it did not have."""
    try:
        with open_regular(path) as file:
            table = pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise UserError(f"{path} is damaged or missing: {error}.") from error
    for name, kind in table.schema.items():
        if types.get(name, kind) != kind:
            raise UserError(f"{path} is damaged: the column {name} has the type {kind}. Expected: {types[name]}.")
    missing = [pl.lit(None, kind).alias(name) for name, kind in types.items() if name not in table.columns]
    table = table.with_columns(missing)
    if table["path"].has_nulls():
        raise UserError(f"{path} is damaged: some rows have no path.")
    return table
