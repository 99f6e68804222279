"""Run directories and studies read back as tidy tables. Reading them runs no code of theirs."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from jaxopt_bench.errors import UserError
from jaxopt_bench.files import replacing
from jaxopt_bench.results.document import DOCUMENT, Document, read_document
from jaxopt_bench.runs import read_json, read_records

RUNS, CURVES = "runs.parquet", "curves.parquet"
"""The two tables of results that were recorded without their run directories."""

_CURVES = {"path": pl.String, "step": pl.Int64, "epoch": pl.Float64, "split": pl.String}


@dataclasses.dataclass(frozen=True)
class Results:
    """Runs as tables.

    Attributes:
      runs: a row a run: where it belongs (`study`, `phase`, `workload`, `contender`, `repetition`, `trial`), its
        `status`, every field of its experiment under the name that flags give it (`optimizer.learning_rate`), what it
        reached (`final.test_accuracy`, `best.validation_loss`, …), what it took, and where it ran.
      curves: a row for each line of the runs' metrics; `path` says whose.
      documents: what the studies among them say of themselves.
    """

    runs: pl.DataFrame
    curves: pl.DataFrame
    documents: tuple[Document, ...] = ()

    def sql(self, query: str) -> pl.DataFrame:
        """Returns the answer to an SQL query over the tables `runs` and `curves`.

        Raises:
          UserError: where Polars cannot answer it.
        """
        try:
            return pl.SQLContext(runs=self.runs, curves=self.curves).execute(query, eager=True)
        except pl.exceptions.PolarsError as error:
            raise UserError(
                f"the query {query!r} cannot be answered: {error}; the tables are runs and curves."
            ) from error

    def save(self, folder: str | pathlib.Path) -> None:
        """Writes the tables, and the study if there is one, into a folder that `load` reads: no checkpoints.

        Raises:
          UserError: where they are of several studies.
        """
        folder = pathlib.Path(folder)
        if len(self.documents) > 1:
            raise UserError(f"these are the results of {len(self.documents)} studies; accepted: those of one.")
        folder.mkdir(parents=True, exist_ok=True)
        for document in self.documents:
            document.write(folder / DOCUMENT)
        for name, table in ((RUNS, self.runs), (CURVES, self.curves)):
            with replacing(folder / name) as (file, _):
                table.write_parquet(file, compression="zstd", compression_level=19)


def load(path: str | pathlib.Path) -> Results:
    """Reads a run's directory, a study's folder, results recorded without their run directories, or any folder of them.

    Args:
      path: of a folder.

    Raises:
      UserError: where there is nothing of the kind, or a file is damaged.
    """
    path = pathlib.Path(path)
    if not path.is_dir():
        raise UserError(f"{path} is no folder; accepted: a run's directory, a study's folder, or one with some inside.")
    recorded = [file.parent for file in sorted(path.rglob(RUNS))]
    studies = [file.parent for file in sorted(path.rglob(DOCUMENT)) if file.parent not in recorded]
    listed: dict[pathlib.Path, dict[str, Any]] = {}
    documents = []
    for folder in studies:
        document = read_document(folder / DOCUMENT)
        documents.append(document)
        listed |= {folder / run["path"]: place for run, place in document.places()}
    found = [file.parent for file in sorted(path.rglob("config.json"))]
    loose = {directory: {} for directory in found if directory not in listed and not _within(directory, studies)}
    results = load_runs(listed | loose)
    for folder in recorded:
        results = together([results, _load_recorded(folder)])
    if not len(results.runs) and not documents:
        raise UserError(
            f"{path} holds no runs; accepted: a run's directory, a study's folder, or one with some inside."
        )
    return dataclasses.replace(results, documents=(*documents, *results.documents))


def load_runs(places: Mapping[pathlib.Path, Mapping[str, Any]]) -> Results:
    """Reads runs, those that were begun, with what is known of each beside its record.

    Args:
      places: further columns, by the run's directory.
    """
    begun = {path: place for path, place in places.items() if (path / "config.json").exists()}
    runs = [_row(path, place) for path, place in begun.items()]
    lines = [{"path": str(path), **line} for path in begun for line in read_records(path / "metrics.jsonl")]
    curves = pl.DataFrame(lines, infer_schema_length=None, strict=False) if lines else pl.DataFrame(schema=_CURVES)
    return Results(pl.DataFrame(runs, infer_schema_length=None, strict=False), curves)


def together(results: Iterable[Results]) -> Results:
    """Returns several results as one."""
    several = list(results)
    return Results(
        _concatenated([r.runs for r in several]),
        _concatenated([r.curves for r in several]),
        tuple(document for r in several for document in r.documents),
    )


def _concatenated(tables: list[pl.DataFrame]) -> pl.DataFrame:
    filled = [table for table in tables if len(table)]
    return pl.concat(filled, how="diagonal_relaxed") if filled else tables[0]


def _load_recorded(folder: pathlib.Path) -> Results:
    tables = []
    for name in (RUNS, CURVES):
        try:
            tables.append(pl.read_parquet(folder / name, use_pyarrow=False))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise UserError(f"{folder / name} is damaged or missing: {error}") from error
    document = folder / DOCUMENT
    return Results(tables[0], tables[1], (read_document(document),) if document.exists() else ())


def _within(directory: pathlib.Path, folders: Iterable[pathlib.Path]) -> bool:
    return any(folder in directory.parents for folder in folders)


def _row(path: pathlib.Path, place: Mapping[str, Any]) -> dict[str, Any]:
    config = read_json(path / "config.json")
    summary = read_json(path / "summary.json") if (path / "summary.json").exists() else {"status": "running"}
    try:
        here = config["environments"][-1]
        experiment = _flat(config["experiment"])
        results = {f"{at}.{name}": value for at in ("final", "best") for name, value in (summary.get(at) or {}).items()}
        cost = {name: summary.get(name) for name in ("steps", "diverged_step", "parameters", "seconds")}
        return {
            "path": str(path),
            **place,
            "digest": config["digest"],
            "status": summary["status"],
            **experiment,
            **results,
            **cost,
            "images_per_second": summary.get("images_per_second"),
            "members": here["members"],
            "backend": here["backend"],
            "device": here["devices"][0],
            "devices": len(here["devices"]),
            "threads": here["threads"],
            "code_path": json.dumps(here["code_path"]),
            "revision": here["revision"],
            **{f"version.{name}": version for name, version in here["packages"].items()},
        }
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(f"the record of {path} is damaged: {type(error).__name__}: {error}.") from error


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested fields under the names that flags give them."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
