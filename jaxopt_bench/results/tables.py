"""Reads run directories and studies as tidy tables. Reading them runs no code of the runs."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Float32

from jaxopt_bench.display import NotebookDisplay
from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.files import open_regular, remove_leftovers, remove_regular
from jaxopt_bench.results.atomic_files import Write, current_path, lock_folder, pending_names, write_together
from jaxopt_bench.results.columns import (
    STUDY_COLUMNS,
    Types,
    concatenated,
    curve_types,
    in_order,
    is_result_column,
    metric_columns,
    run_types,
)
from jaxopt_bench.results.examples import EXAMPLE_TYPES, check_examples, examples_table
from jaxopt_bench.results.metrics import metric_names
from jaxopt_bench.results.queries import check_reads_no_file
from jaxopt_bench.results.rows import check_agreement, curves_table, runs_table
from jaxopt_bench.runs.load import RUN_FOLDER, check_complete, is_begun
from jaxopt_bench.study import DOCUMENT, Document, StudyRun, check_within, read_document

RUNS, CURVES, EXAMPLES = "runs.parquet", "curves.parquet", "examples.parquet"
"""The tables of results that were recorded without their run directories. The last one exists only if it has rows."""

COMPRESSION = 19
"""The compression level of Zstandard."""

FolderKind = Literal["recorded", "study", "run"]
_KINDS: Mapping[str, FolderKind] = {RUNS: "recorded", DOCUMENT: "study", "config.json": "run"}
"""The kind of a folder, by a file in it; the first file of the table that exists determines the kind."""

_EXPECTED = "Expected a run's directory, a study's folder, or a folder of these."
_NO_RUNS = re.compile(r"claims|checkpoints|\..*|population-.*|.*\.incomplete-\d+", re.DOTALL)
"""Folders that are not searched for runs: they hold many other files, or the remains of a run."""


class NoRunsError(UserError):
    """A folder contains no runs."""


@dataclasses.dataclass(frozen=True)
class Results(NotebookDisplay):
    """Runs as tables. The columns that are always present have the same types for all runs.

    Attributes:
      runs: a row for each run: its `path`; its position in a study (`study`, `phase`, `workload`, `contender`,
        `repetition`, `trial`, and whether that trial was `selected`); its `status` ("running" if it has none yet);
        every field of its experiment under the name of its flag (`optimizer.learning_rate`); its `metrics`, as JSON;
        its results (`final.test_loss`, `best.validation_loss`, …, and in the same way each other metric), its cost, and
        its environment.
      curves: a row for each line of the runs' metrics, with a column for each metric; `path` identifies the run.
      documents: the documents of the studies in the results.
      folder: the innermost folder that contains all runs; `save` writes each `path` relative to it.
      examples: the results for single test examples, for the runs that recorded them: a row for each run and each
        `step` at which the test split was evaluated; see `EXAMPLE_TYPES`.
    """

    runs: pl.DataFrame
    curves: pl.DataFrame
    documents: tuple[Document, ...] = ()
    folder: str = "."
    examples: pl.DataFrame = dataclasses.field(default_factory=lambda: pl.DataFrame(schema=dict(EXAMPLE_TYPES)))

    def __repr__(self) -> str:
        studies = ", ".join(document.study.name for document in self.documents) or "none"
        return f"Results({len(self.runs):,} runs, {len(self.curves):,} lines of metrics, studies: {studies})"

    def lines(self, path: str) -> pl.DataFrame:
        """Returns a run's rows of `curves`; an empty table if it has none."""
        return self._lines.get((path,), self.curves.clear())

    @functools.cached_property
    def _lines(self) -> dict[tuple[object, ...], pl.DataFrame]:
        return self.curves.partition_by("path", as_dict=True)  # once: searching all lines for each run takes minutes

    def examples_of(self, path: str, step: int) -> Float32[np.ndarray, " examples"] | None:
        """Returns the contribution of each test example to a run's headline metric; None if it was not recorded.

        Args:
          path: the path of the run.
          step: the step at which the test split was evaluated.
        """
        return self._examples.get((path, step))

    @functools.cached_property
    def _examples(self) -> dict[tuple[str, int], Float32[np.ndarray, " examples"]]:
        return {(path, step): np.asarray(values, np.float32) for path, step, values in self.examples.iter_rows()}

    def sql(self, query: str) -> pl.DataFrame:
        """Returns the result of an SQL query over the tables `runs` and `curves`.

        Args:
          query: the query. It cannot read any file. Column names with a dot need double quotes:
            `SELECT AVG("final.test_loss") FROM runs`.

        Raises:
          UserError: if Polars cannot answer it.
        """
        check_reads_no_file(query)
        try:
            return pl.SQLContext(runs=self.runs, curves=self.curves).execute(query, eager=True)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            what = str(error).split("\n\n")[0]  # without Polars' query plan
            raise UserError(
                f"the query {query!r} cannot be answered: {what}; the tables are runs and curves."
            ) from error

    def save(self, folder: str | pathlib.Path, *, compact: bool = False) -> None:
        """Writes the tables, and the study if there is one, into a folder that `load` can read.

        It does not write checkpoints, the name of the folder of the runs, or, for a study's trials and finalists, the
        lines of `curves` within epochs ("train_steps"). If it is killed, the folder has its old content or all of the
        new content.

        Args:
          folder: the folder; it is created if it does not exist.
          compact: whether the results for single test examples are left out, and, for a study's trials and finalists,
            the lines before the last epoch of all splits except the one by which trials are judged.

        Raises:
          UserError: if the results belong to several studies, or the folder holds a study that was not recorded by
            `save`, or recorded results of another study.
        """
        folder = pathlib.Path(folder)
        self.check_can_save(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with lock_folder(folder):
            self.write(folder, compact=compact)

    def check_can_save(self, folder: pathlib.Path) -> None:
        """Checks that these results can be written into a folder; see `save`."""
        if len(self.documents) > 1:
            raise UserError(f"these are the results of {len(self.documents)} studies. Expected: one study.")
        if not current_path(folder, DOCUMENT).exists():
            return
        if not (self.documents and current_path(folder, RUNS).exists()):
            raise UserError(f"{folder} holds a study, which these results cannot replace. Expected: another folder.")
        there, own = read_document(current_path(folder, DOCUMENT)).study.name, self.documents[0].study.name
        if there != own:
            raise UserError(
                f"{folder} holds recorded results of the study {there}, not of {own}. Expected: another folder."
            )

    def write(self, folder: pathlib.Path, *, compact: bool = False, compression: int = COMPRESSION) -> None:
        """Writes the same files as `save`, into a folder that this process has locked.

        Args:
          folder: an existing folder.
          compact: see `save`.
          compression: the compression level of Zstandard.
        """
        recorded = {CURVES: self._recorded_lines(compact), RUNS: self.runs}
        with_examples = not compact and len(self.examples) > 0
        if with_examples or current_path(folder, EXAMPLES).exists():  # an earlier call may have written them
            recorded[EXAMPLES] = self.examples if with_examples else self.examples.clear()
        paths = {path: _below(path, self.folder) for path in self.runs["path"]}
        remove_leftovers(folder)
        files: dict[str, Write] = {
            name: functools.partial(
                _renamed(table, paths).write_parquet, compression="zstd", compression_level=compression
            )
            for name, table in recorded.items()
        }
        for document in self.documents:
            files[DOCUMENT] = document.write
        write_together(folder, files)
        if not with_examples:
            remove_regular(folder / EXAMPLES)

    def _recorded_lines(self, compact: bool) -> pl.DataFrame:
        """Returns the lines of `curves` that are written; see `save`."""
        tuned = self.runs.filter(pl.col("phase").is_in(["trial", "finalist"])).select("path", "workload")
        judging = [(w.name, d.study.judging_split(w.name)) for d in self.documents for w in d.study.workloads]
        splits = pl.DataFrame(judging, {"workload": pl.String, "judging": pl.String}, orient="row")
        tuned = tuned.join(splits, on="workload", how="left").select("path", "judging", tuned=True)
        lines = self.curves.join(tuned, on="path", how="left", maintain_order="left")
        kept = pl.lit(value=True)
        if compact:
            is_last = pl.col("step") == pl.col("step").max().over("path")
            kept = is_last | pl.col("judging").is_null() | (pl.col("split") == pl.col("judging"))
        steps = pl.col("split").eq_missing("train_steps") & pl.col("tuned").is_not_null()
        return lines.filter(kept & ~steps).select(self.curves.columns)


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


def combine_results(results: Iterable[Results]) -> Results:
    """Combines several results into one."""
    several = list(results)
    runs = concatenated(each.runs for each in several)
    curves = concatenated(each.curves for each in several)
    return Results(
        runs.select(in_order(runs.columns)),
        curves.select(*curve_types(metric_columns(curves.columns))),
        tuple(document for each in several for document in each.documents),
        os.path.commonpath([os.path.abspath(each.folder) for each in several]),
        pl.concat(each.examples for each in several),
    )


def drop_repeated_runs(results: Results) -> tuple[Results, int]:
    """Returns results in which each run occurs once, and the number of repeats that were left out.

    Runs with the same digest, in one study or in none, are repeats: they come from `--fresh` or from a copied folder.
    The last one is kept: `<digest>.2` rather than `<digest>`, and of copies the one that was found last. Of equal
    documents one is kept.
    """
    runs = results.runs.with_row_index("index")
    again = pl.col("path").str.extract(r"\.(\d+)$").cast(pl.Int64, strict=False).fill_null(1)
    kept = runs.sort(again, "index").unique(["study", "digest"], keep="last").sort("index")
    count = len(runs) - len(kept)
    documents = tuple(d for i, d in enumerate(results.documents) if d not in results.documents[:i])
    if not count:
        return dataclasses.replace(results, documents=documents), 0
    curves, examples = (
        table.join(kept.select("path"), on="path", how="semi", maintain_order="left")
        for table in (results.curves, results.examples)
    )
    found = dataclasses.replace(results, runs=kept.drop("index"), curves=curves, documents=documents, examples=examples)
    return found, count


def describe_repeats(count: int) -> str:
    """Returns the number of runs that are repeats of others, as the subject of a sentence."""
    return f"{count:,} {'repeat' if count == 1 else 'repeats'} of the same runs (made with --fresh, or copied):"


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
        _renamed(runs, paths),
        _renamed(curves, paths),
        documents,
        examples=_renamed(_recorded_examples(folder, paths), paths),
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


def _renamed(table: pl.DataFrame, paths: Mapping[str, str]) -> pl.DataFrame:
    return table.with_columns(pl.col("path").replace_strict(paths, return_dtype=pl.String))


def _below(path: str, folder: str) -> str:
    """Returns the path of a run relative to a folder."""
    relative = pathlib.PurePath(os.path.relpath(path, folder))
    if ".." in relative.parts:
        raise UserError(f"the run {path} is not in {folder}, where these results are from.")
    return relative.as_posix()
