"""Results as tidy tables: queries, combining them, and records of them without their run directories."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterable

import numpy as np
import polars as pl
from jaxtyping import Float32

from jaxopt_bench.display import NotebookDisplay
from jaxopt_bench.errors import UserError
from jaxopt_bench.files import remove_leftovers, remove_regular
from jaxopt_bench.results.atomic_files import Write, current_path, lock_folder, write_together
from jaxopt_bench.results.columns import (
    concatenated,
    curve_types,
    in_order,
    metric_columns,
    with_paths,
)
from jaxopt_bench.results.examples import EXAMPLE_TYPES
from jaxopt_bench.results.queries import check_reads_no_file
from jaxopt_bench.study import DOCUMENT, Document, read_document

RUNS, CURVES, EXAMPLES = "runs.parquet", "curves.parquet", "examples.parquet"
"""The tables of results that were recorded without their run directories. The last one exists only if it has rows."""

COMPRESSION = 19
"""The compression level of Zstandard."""


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
                with_paths(table, paths).write_parquet, compression="zstd", compression_level=compression
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


def _below(path: str, folder: str) -> str:
    """Returns the path of a run relative to a folder."""
    relative = pathlib.PurePath(os.path.relpath(path, folder))
    if ".." in relative.parts:
        raise UserError(f"the run {path} is not in {folder}, where these results are from.")
    return relative.as_posix()
