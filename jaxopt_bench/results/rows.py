"""Reads run directories as rows of the two tables. It reads only text and numbers, and runs no code of the runs."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import flat_fields, unpack_workload
from jaxopt_bench.files import read_regular
from jaxopt_bench.results.columns import (
    COST,
    PARTS,
    RESULT_COLUMNS,
    STUDY_COLUMNS,
    VERSION,
    ColumnType,
    Types,
    all_fit,
    column,
    curve_types,
    experiment_types,
    fits,
    hyperparameter_types,
    in_order,
    is_result_column,
    metric_columns,
    run_types,
)
from jaxopt_bench.results.metrics import metric_names, metrics_from_json
from jaxopt_bench.runs import SPLITS, read_metrics
from jaxopt_bench.runs.load import check_complete, check_identity, check_steps
from jaxopt_bench.strict_json import check_object, read_json
from jaxopt_bench.study import StudyRun

TOLERANCE = 1e-9
"""Tolerated relative difference between two recorded values of the same number."""

BATCH = 8 << 20
"""Bytes of metrics that are read together: enough for Polars to be fast, and few compared with the memory."""


def runs_table(runs: Mapping[pathlib.Path, StudyRun | None]) -> pl.DataFrame:
    """Reads a row for each run.

    Args:
      runs: the description of each run by its study, by the run's directory; None for a run that belongs to no study.

    Raises:
      UserError: if a file is damaged, missing, or belongs to another run; the message names it.
    """
    rows = [_row(path, said) for path, said in runs.items()]
    found = dict.fromkeys([*run_types(), *(name for row in rows for name in row)])
    firm = {
        **{name: pl.String for name in found if name.startswith(VERSION)},
        **{name: pl.Float64 for name in found if is_result_column(name)},
        **run_types(),
    }
    columns = []
    for name in in_order([*found]):
        values = [row.get(name) for row in rows]
        if name in firm:
            _check(name, values, firm[name], list(runs))
        columns.append(column(name, values, firm.get(name, hyperparameter_types().get(name))))
    return pl.DataFrame(columns)


def curves_table(metrics: Mapping[pathlib.Path, Sequence[str]]) -> pl.DataFrame:
    """Reads a row for each line of the runs' metrics. A last line that is incomplete because of a crash is left out.

    Args:
      metrics: the names of the metrics of each run, by its directory.

    Raises:
      UserError: if a line is damaged; the message names the file and the line.
    """
    names = dict.fromkeys(name for own in metrics.values() for name in own)
    types = curve_types(names)
    lines = {name: kind for name, kind in types.items() if name != "path"}
    tables = [_lines(batch, lines) for batch in _batches([*metrics])]
    return pl.concat([pl.DataFrame(schema=types), *tables], rechunk=True)


def check_agreement(runs: pl.DataFrame, curves: pl.DataFrame) -> None:
    """Checks that the results of runs agree with their metrics.

    Args:
      runs: the table of runs; see `runs_table`.
      curves: the lines of their metrics.

    Raises:
      UserError: if a run's metrics end too early or too late, or its summary has other values; the message names it.
    """
    last = curves.group_by("path").agg(pl.col("step").max().alias("measured"))
    ends = (
        runs.filter(pl.col("status") != "running").select("path", "status", "steps").join(last, on="path", how="left")
    )
    whole = pl.col("status").is_in(["completed", "stopped"])
    wrong = ends.filter(whole & pl.col("measured").ne_missing(pl.col("steps")))
    for row in pl.concat([wrong, ends.filter(pl.col("measured") > pl.col("steps"))]).iter_rows(named=True):
        check_steps(pathlib.Path(row["path"]), row["status"], row["steps"], row["measured"])
    metrics = metric_columns(curves.columns)
    for split in SPLITS:
        lines = curves.filter(pl.col("split") == split).select("path", "step", *metrics)
        lines = lines.unique(["path", "step"], keep="last")
        for at in ("final", "best"):
            named = [name for name in metrics if f"{at}.{split}_{name}" in runs.columns]
            columns = {name: f"{at}.{name}" for name in ("step", *(f"{split}_{name}" for name in named))}
            both = runs.select("path", **columns).join(lines, on=["path", "step"], how="inner")
            for name in named:
                said, measured = pl.col(f"{split}_{name}"), pl.col(name)
                differs = ((said - measured).abs() > TOLERANCE * said.abs()).fill_null(value=True)
                for row in both.filter(said.is_not_null() & differs).head(1).iter_rows(named=True):
                    raise UserError(
                        f"{row['path']} holds files of two runs: at step {row['step']:,} the {split} {name} is "
                        f"{row[name]} in metrics.jsonl and {row[f'{split}_{name}']} in summary.json. Expected the same "
                        "value. Restore the file that was replaced, or train the run again."
                    )


def _row(path: pathlib.Path, said: StudyRun | None) -> dict[str, Any]:
    check_complete(path)
    file = path / "config.json"
    config, summary = read_json(file), _read_summary(path / "summary.json")
    configured = _configured(file, config)
    row = {
        "path": str(path),
        **(said.columns if said else dict.fromkeys(STUDY_COLUMNS)),
        **configured,
        **_summarised(path / "summary.json", summary, metric_names(configured["metrics"])),
    }
    try:
        check_identity(path, config, summary, said.identity if said else None)
    except UserError:
        for name, kind in run_types().items():  # the error for a value of a wrong type explains more
            _check(name, [row.get(name)], kind, [path])
        raise
    return row


def _configured(path: pathlib.Path, config: Any) -> dict[str, Any]:
    """Returns the values of a run's row from its `config.json`."""
    try:
        here = config["environments"][-1]
        known = {
            "digest": config["digest"],
            "members": here["members"],
            "backend": here["backend"],
            "device": here["devices"][0],
            "devices": len(here["devices"]),
            "threads": here["threads"],
            "code_path": json.dumps(here["code_path"]),
            "revision": here["revision"],
            "environments": len(config["environments"]),
            "inner_rules": json.dumps(config["inner_rules"]) if config.get("inner_rules") else None,
        }
        versions = {VERSION + name: version for name, version in here["packages"].items()}
        experiment = config["experiment"]
        fields, own = flat_fields(experiment), experiment_types()
        of_problem = flat_fields({"problem": unpack_workload(experiment)["problem"]})
        metrics = config["metrics"]
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {type(error).__name__}: {error}.") from error
    metrics_from_json(metrics, f"{path}: metrics")
    chosen = {n: value for n, value in fields.items() if n in own or n.startswith(PARTS)}
    return of_problem | chosen | known | {"metrics": json.dumps(metrics)} | versions


def _read_summary(path: pathlib.Path) -> dict[str, Any] | None:
    """Returns the content of `summary.json`; None if there is none, as while a run is trained for the first time."""
    return check_object(str(path), read_json(path), {}) if path.exists() else None


def _summarised(path: pathlib.Path, summary: Mapping[str, Any] | None, metrics: Sequence[str]) -> dict[str, Any]:
    """Returns the values of a run's row from its `summary.json`; `metrics` are the names of its metrics."""
    names = [f"{at}.{split}_{name}" for at in ("final", "best") for split in SPLITS for name in metrics]
    if summary is None:
        return {"status": "running", **dict.fromkeys(names)}
    try:
        reached = {f"{at}.{name}": value for at in ("final", "best") for name, value in (summary.get(at) or {}).items()}
        values = {"status": summary["status"], **{name: summary.get(name) for name in COST}}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {type(error).__name__}: {error}.") from error
    return values | {name: reached.get(name) for name in [*RESULT_COLUMNS, *names]}


def _check(name: str, values: Sequence[object], kind: ColumnType, paths: Sequence[pathlib.Path]) -> None:
    """Raises an error that names the first file with a value that does not fit its column."""
    needed = name in ("digest", "status")
    if all_fit(values, kind) and not (needed and None in values):
        return
    for path, value in zip(paths, values, strict=True):
        if not fits(value, kind) or (needed and value is None):
            file = "summary.json" if name == "status" or name in COST or is_result_column(name) else "config.json"
            raise UserError(f"{path / file} is damaged: {name} is {value!r}. Expected: {kind}.")


def _batches(paths: Sequence[pathlib.Path]) -> Iterator[list[tuple[pathlib.Path, bytes]]]:
    """Yields batches of runs, each run with the complete lines of its metrics."""
    batch: list[tuple[pathlib.Path, bytes]] = []
    size = 0
    for path in paths:
        try:
            text = read_regular(path / "metrics.jsonl")
        except FileNotFoundError:
            continue
        whole = text[: text.rfind(b"\n") + 1]  # text after the last newline is incomplete
        batch.append((path, whole))
        size += len(whole)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if size:
        yield batch


def _lines(batch: Sequence[tuple[pathlib.Path, bytes]], types: Types) -> pl.DataFrame:
    """Returns the lines of some runs.

    Polars reads them together. If this fails, Polars reads each run alone. If that fails too, `read_metrics` reads the
    run, and names the damaged line.
    """
    text = b"".join(whole for _, whole in batch)
    counts = [whole.count(b"\n") for _, whole in batch]
    try:
        lines = pl.read_ndjson(text, schema=types) if text else pl.DataFrame(schema=types)
    except pl.exceptions.PolarsError:
        lines = pl.DataFrame(schema=types)
    if len(lines) != sum(counts) or any(
        lines[n].has_nulls() for n in ("step", "split")
    ):  # Polars skips empty lines and accepts any object
        if len(batch) > 1:
            return pl.concat([_lines([run], types) for run in batch])
        lines = _slow_lines(batch[0][0] / "metrics.jsonl", types)
        counts = [len(lines)]
    paths = pl.Series("path", [str(path) for path, _ in batch], pl.String)
    return lines.insert_column(0, paths.gather(np.repeat(np.arange(len(batch)), counts)))


def _slow_lines(path: pathlib.Path, types: Types) -> pl.DataFrame:
    records = read_metrics(path)
    for number, record in enumerate(records, start=1):
        for name, kind in types.items():
            if not fits(record.get(name), kind):
                raise UserError(f"{path}, line {number} is damaged: {name} is {record[name]!r}. Expected: {kind}.")
    return pl.DataFrame([column(name, [record.get(name) for record in records], kind) for name, kind in types.items()])
