"""The table of the results of single test examples."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np
import polars as pl

from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.results.columns import Types
from jaxopt_bench.results.metrics import metrics_from_text
from jaxopt_bench.runs.examples import load_examples

EXAMPLE_TYPES: Types = {"path": pl.String, "step": pl.Int64, "values": pl.List(pl.Float32)}
"""The columns: the run, the step at which the test split was evaluated, and the contribution of each test example to
the headline metric; see `Metric.contributions`."""

TOLERANCE = 1e-5
"""Tolerated relative difference between the mean of float32 numbers and the metric that training recorded."""


def examples_table(metrics: Mapping[pathlib.Path, str]) -> pl.DataFrame:
    """Reads a row for each run and each step at which the results for its test examples were recorded.

    Args:
      metrics: the metrics of each run as JSON text, by its directory.

    Raises:
      UserError: if a file is damaged; the message names it.
    """
    rows = [
        (str(path), step, values.tolist())
        for path, text in metrics.items()
        for step, values in sorted(load_examples(path, metrics_from_text(text)[0].name).items())
    ]
    return pl.DataFrame(rows, schema=dict(EXAMPLE_TYPES), orient="row")


def check_examples(runs: pl.DataFrame, examples: pl.DataFrame) -> None:
    """Checks that the results for single test examples agree with the results of their runs.

    Args:
      runs: the table of runs.
      examples: the table of the examples.

    Raises:
      UserError: if a run with results for test examples is not in `runs`, or if the mean of its examples differs from
        its test result; the message names the run.
    """
    columns = ["metrics", *(name for at in ("final", "best") if (name := f"{at}.step") in runs.columns)]
    rows = {row["path"]: row for row in runs.iter_rows(named=True)} if len(examples) else {}
    for path, step, values in examples.iter_rows():
        row = rows.get(path)
        if row is None:
            raise UserError(f"{shortened(path)} has results of test examples, but is not one of the runs.")
        headline = metrics_from_text(row[columns[0]])[0]
        said = [row.get(f"{at.partition('.')[0]}.test_{headline.name}") for at in columns[1:] if row[at] == step]
        if headline.resampling != "examples" or not said or said[0] is None:
            continue
        mean = float(np.mean(values, dtype=np.float64)) if values else float("nan")
        if not abs(mean - said[0]) <= TOLERANCE * max(abs(said[0]), 1e-3):
            raise UserError(
                f"{path} holds files of two runs: its test {headline.words} at step {step:,} is {said[0]}, and its "
                f"{len(values):,} test examples have the mean {mean}. Expected the same value. Restore the file that "
                "was replaced, or train the run again."
            )
