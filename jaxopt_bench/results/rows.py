"""Run directories read as rows of the two tables. No code of theirs is run: what they say is text and numbers."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from jaxopt_bench.config import flattened
from jaxopt_bench.errors import UserError
from jaxopt_bench.results.columns import (
    COST,
    LINES,
    PARTS,
    PLACE,
    REACHED,
    VERSION,
    all_fit,
    column,
    curve_types,
    experiment_types,
    fits,
    hyperparameter_types,
    in_order,
    run_types,
)
from jaxopt_bench.runs import read_json, read_records

BATCH = 8 << 20
"""Bytes of metrics that are read at once: enough for Polars to be fast, few enough not to be seen in memory."""


def runs_table(places: Mapping[pathlib.Path, Mapping[str, Any]]) -> pl.DataFrame:
    """Reads a row for each run.

    Args:
      places: for each run's directory the columns of `PLACE` that are known.

    Raises:
      UserError: naming the file, where one is damaged.
    """
    rows = [_row(path, place) for path, place in places.items()]
    found = dict.fromkeys([*run_types(), *(name for row in rows for name in row)])
    firm = {**run_types(), **{name: pl.String for name in found if name.startswith(VERSION)}}
    columns = []
    for name in in_order([*found]):
        values = [row.get(name) for row in rows]
        if name in firm:
            _check(name, values, firm[name], list(places))
        columns.append(column(name, values, firm.get(name, hyperparameter_types().get(name))))
    return pl.DataFrame(columns)


def curves_table(paths: Sequence[pathlib.Path]) -> pl.DataFrame:
    """Reads a row for each line of the runs' metrics; last lines torn by a crash are left out.

    Raises:
      UserError: naming the file and the line, where one is damaged.
    """
    tables = [_lines(batch) for batch in _batches(paths)]
    return pl.concat([pl.DataFrame(schema=curve_types()), *tables], rechunk=True)


def _row(path: pathlib.Path, place: Mapping[str, Any]) -> dict[str, Any]:
    config, summary = path / "config.json", path / "summary.json"
    placed = {name: place.get(name) for name in PLACE}
    return {"path": str(path), **placed, **_configured(config, read_json(config)), **_summarised(summary)}


def _configured(path: pathlib.Path, config: Any) -> dict[str, Any]:
    """Returns what `config.json` says of a run."""
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
        }
        versions = {VERSION + name: version for name, version in here["packages"].items()}
        fields = flattened(config["experiment"])
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {type(error).__name__}: {error}.") from error
    own = experiment_types()
    return {n: value for n, value in fields.items() if n in own or n.startswith(PARTS)} | known | versions


def _summarised(path: pathlib.Path) -> dict[str, Any]:
    """Returns what `summary.json` says of a run; there is none while it is under way for the first time."""
    if not path.exists():
        return {"status": "running"}
    summary = read_json(path)
    try:
        reached = {f"{at}.{name}": value for at in ("final", "best") for name, value in (summary.get(at) or {}).items()}
        values = {"status": summary["status"], **{name: summary.get(name) for name in COST}}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {type(error).__name__}: {error}.") from error
    return values | {name: reached.get(name) for name in REACHED}


def _check(name: str, values: Sequence[Any], kind: Any, paths: Sequence[pathlib.Path]) -> None:
    """Raises the error that names the first file of which a value does not fit its column."""
    needed = name in ("digest", "status")
    if all_fit(values, kind) and not (needed and None in values):
        return
    for path, value in zip(paths, values, strict=True):
        if not fits(value, kind) or (needed and value is None):
            file = "summary.json" if name == "status" or name in {**REACHED, **COST} else "config.json"
            raise UserError(f"{path / file} is damaged: {name} is {value!r}; accepted: {kind}.")


def _batches(paths: Sequence[pathlib.Path]) -> Iterator[list[tuple[pathlib.Path, bytes]]]:
    """Yields runs with the whole lines of their metrics, several at once."""
    batch: list[tuple[pathlib.Path, bytes]] = []
    size = 0
    for path in paths:
        try:
            text = (path / "metrics.jsonl").read_bytes()
        except FileNotFoundError:
            continue
        whole = text[: text.rfind(b"\n") + 1]  # what follows the last newline was not finished
        batch.append((path, whole))
        size += len(whole)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if size:
        yield batch


def _lines(batch: Sequence[tuple[pathlib.Path, bytes]]) -> pl.DataFrame:
    """Returns the lines of some runs.

    Polars reads them together; where it stumbles, run by run; and at last the reader does that names a damaged line.
    """
    text = b"".join(whole for _, whole in batch)
    counts = [whole.count(b"\n") for _, whole in batch]
    try:
        lines = pl.read_ndjson(text, schema=LINES) if text else pl.DataFrame(schema=LINES)
    except pl.exceptions.PolarsError:
        lines = pl.DataFrame(schema=LINES)
    if len(lines) != sum(counts) or any(
        lines[n].has_nulls() for n in ("step", "split")
    ):  # it skips empty lines and takes any object
        if len(batch) > 1:
            return pl.concat([_lines([run]) for run in batch])
        lines = _slow_lines(batch[0][0] / "metrics.jsonl")
        counts = [len(lines)]
    paths = pl.Series("path", [str(path) for path, _ in batch], pl.String)
    return lines.insert_column(0, paths.gather(np.repeat(np.arange(len(batch)), counts)))


def _slow_lines(path: pathlib.Path) -> pl.DataFrame:
    records = read_records(path)
    for number, record in enumerate(records, start=1):
        for name, kind in LINES.items():
            if not fits(record.get(name), kind):
                raise UserError(f"{path}, line {number} is damaged: {name} is {record[name]!r}; accepted: {kind}.")
    return pl.DataFrame([column(name, [record.get(name) for record in records], kind) for name, kind in LINES.items()])
